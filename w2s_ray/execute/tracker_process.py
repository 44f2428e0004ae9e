"""The driver's side of trackers: the scribe's start, its warnings, its end.

Owns how long a sweep's end waits for a tracker: as long as it gets on. It tells nothing itself.
"""

from __future__ import annotations

import os
import time
from typing import Any

import ray
import ray.exceptions
from rich.text import Text

from w2s_ray.config import Sweep
from w2s_ray.execute.cluster import here
from w2s_ray.plain_console import PlainConsole
from w2s_ray.trackers.tracker_actor import TrackerActor

PATIENCE_S = {"tensorboard": 20.0, "mlflow": 20.0, "wandb": 90.0}
"""How long a tracker may get on with nothing before the sweep ends without it. Weights & Biases
sends at the end what it still has."""
ANSWER_S = 20.0
"""How long the scribe itself may take to answer."""
LOOK_S = 0.2
ITS_VARIABLES = ("MLFLOW_", "WANDB_", "NETRC")
"""Beginnings of the environment variables that trackers read."""


class Tracking:
    """The trackers of one sweep; `tracker_actor` is None where there are none."""

    def __init__(self, sweep: Sweep, console: PlainConsole) -> None:
        self._console = console
        self._warned: set[str] = set()
        self._asked: Any = None
        self.tracker_actor: Any = None
        if sweep.trackers.chosen:
            variables = {k: v for k, v in os.environ.items() if k.startswith(ITS_VARIABLES)}
            actor = ray.remote(num_cpus=0, **here())(TrackerActor)
            self.tracker_actor = actor.remote(
                sweep.trackers, sweep=sweep.name, folder=os.getcwd(), environment=variables
            )

    def look(self) -> None:
        """Warn of what has gone wrong, once for each tracker; never waits."""
        if self.tracker_actor is None:
            return
        if self._asked is None:
            self._asked = self.tracker_actor.troubles.remote()
        if ray.wait([self._asked], timeout=0)[0]:
            asked, self._asked = self._asked, None
            self._warn(asked)

    def finish(self) -> None:
        """Have trackers told the rest, as long as they get on."""
        if self.tracker_actor is None:
            return
        self.tracker_actor.close.remote()
        try:
            self._wait()
        except ray.exceptions.RayError as error:
            self._say("trackers", f"their process has ended ({type(error).__name__})")
        else:
            self._warn(self.tracker_actor.troubles.remote())

    def close(self) -> None:
        """End the scribe, whatever it has to tell."""
        if self.tracker_actor is not None:
            ray.kill(self.tracker_actor)

    def _wait(self) -> None:
        since: dict[str, tuple[int, float]] = {}
        while True:
            busy: Any = ray.get(self.tracker_actor.busy.remote(), timeout=ANSWER_S)
            now = time.monotonic()
            for name, waiting in busy.items():
                before, at = since.get(name, (None, now))
                since[name] = (waiting, at if waiting == before else now)
            late = {name for name in busy if now - since[name][1] > PATIENCE_S[name]}
            if busy.keys() <= late:
                for name in late:
                    self._say(name, "it doesn't get on; it lacks what came last")
                return
            time.sleep(LOOK_S)

    def _warn(self, asked: Any) -> None:
        try:
            troubles: Any = ray.get(asked, timeout=ANSWER_S)
        except ray.exceptions.RayError as error:
            troubles = {"trackers": f"their process has ended ({type(error).__name__})"}
        for name, trouble in troubles.items():
            self._say(name, f"{trouble}; it is told nothing more of this call")

    def _say(self, name: str, trouble: str) -> None:
        if name in self._warned:
            return
        self._warned.add(name)
        self._console.print(
            Text.assemble((f"tracker {name}", "yellow"), f": {trouble}; results are not affected"),
            soft_wrap=True,
        )
