"""The report of a fit that reads rows without training, and its end by command."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from w2s_ray.learn.contract import LeaveRequested, StopRequested

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter

REPORT_S = 0.5
"""Time between two reports."""


class PassReport:
    """Called before each forward pass: reports that the fit is alive, and ends it by command.

    A fit with several workers gets commands once it trains, since all of them must obey together.
    """

    def __init__(self, control: Reporter | None, total_steps: int, *, obeys: bool) -> None:
        self._control, self._total_steps, self._obeys = control, total_steps, obeys
        self._next = 0.0

    def __call__(self) -> None:
        if self._control is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REPORT_S
        self._control.step(0, self._total_steps)
        match self._control.next_command() if self._obeys else "go":
            case "stop":
                raise StopRequested(0, self._total_steps)
            case "leave":
                raise LeaveRequested(0, self._total_steps)
            case _:
                pass
