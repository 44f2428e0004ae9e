"""Activations of a frozen model in the store: computed by one fit, read by all others.

Owns their names, which cover all that decides the numbers, and what a fit does whose activations
are missing: it computes them, or waits while another fit does. That is decided by a lease, which
ends with its holder. How activations are computed is decided in `learn/activations`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from w2s_ray.config import Execution
from w2s_ray.data.cache import cache_folder
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.learn.activations import Activations
from w2s_ray.learn.contract import LeaveRequested, StopRequested
from w2s_ray.learn.group import Group
from w2s_ray.store import Store
from w2s_ray.store.leases import Leases

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter

VERSION = 1
"""Incremented whenever the same model's activations of the same rows change."""
POLL_S = 0.5
"""Time between two looks at the store, and between two reports of a fit that computes or waits."""
LONGEST_WAIT_S = 3600.0
"""How long a fit waits for another one's activations before it computes its own, where
`execution.stall_s` is null."""
ARRAY = "activations"

Make = Callable[[list[str], Callable[[], None]], Iterable[tuple[str, Activations]]]
"""Parts, and what is called before each forward pass -> the parts with their activations."""


def stored_activations(
    store: Store,
    what: Mapping[str, Any],
    parts: Iterable[str],
    make: Make,
    *,
    execution: Execution,
    total_steps: int = 0,
    control: Reporter | None = None,
) -> dict[str, Activations]:
    """Part -> its activations: read from the store, or else made and stored.

    `what` is all that decides the numbers, besides the part. All workers of a fit call it alike.

    Raises:
        StopRequested, LeaveRequested: by a command of `control`, while it waits or computes.
    """
    group = Group.of(execution)
    report = _Report(control, total_steps, obeys=group.workers == 1)
    names = {part: digest([VERSION, what, part])[: 2 * ID_LENGTH] for part in parts}
    lease_name = f"activations-{digest([VERSION, what])[:ID_LENGTH]}"
    leases, began = Leases(store.files), time.monotonic()
    limit_s = execution.stall_s or LONGEST_WAIT_S
    found: dict[str, Activations] = {}

    def missing() -> list[str]:
        """Parts that a worker lacks, after another look at the store."""
        for part in names.keys() - found.keys():
            there = _read(store, names[part])
            if there is not None:
                found[part] = there
        lacking = group.any_of([part not in found for part in names])
        return [part for part, lacks in zip(names, lacking, strict=True) if lacks]

    while missing():
        lease = leases.acquire(lease_name) if group.rank == 0 else None
        if group.agree(lease is None and time.monotonic() - began < limit_s):
            report()
            time.sleep(POLL_S)
            continue
        with lease or nullcontext():
            for part, made in make(missing(), report):
                found[part] = made
                if group.rank == 0:
                    _write(store, names[part], made, about={**what, "part": part})
    return {part: found[part] for part in names}


class _Report:
    """Called often: reports a fit that has not begun its steps, and ends it by command.

    A fit with several workers gets commands once it trains, since all of them must obey together.
    """

    def __init__(self, control: Reporter | None, total_steps: int, *, obeys: bool) -> None:
        self._control, self._total_steps, self._obeys = control, total_steps, obeys
        self._next = 0.0

    def __call__(self) -> None:
        if self._control is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + POLL_S
        self._control.step(0, self._total_steps)
        match self._control.next_command() if self._obeys else "go":
            case "stop":
                raise StopRequested(0, self._total_steps)
            case "leave":
                raise LeaveRequested(0, self._total_steps)
            case _:
                pass


def _read(store: Store, name: str) -> Activations | None:
    stored = store.activations.fetch(name, cache_folder() / "activations")
    if stored is None:
        return None
    try:
        return Activations(load_file(stored.path)[ARRAY], int(stored.about["parameters"]))
    except (FileNotFoundError, SafetensorError, KeyError):
        return None  # removed since it was checked, or of another version


def _write(store: Store, name: str, made: Activations, *, about: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="w2s-activations-") as folder:
        file = Path(folder) / f"{ARRAY}.safetensors"
        save_file({ARRAY: made.values_ND}, file)
        rows, width = made.values_ND.shape
        shape = {"rows": rows, "width": width, "parameters": made.parameters}
        store.activations.add(name, file, {**about, **shape})
