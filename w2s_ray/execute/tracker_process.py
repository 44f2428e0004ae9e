"""The driver's side of trackers: it starts the tracker actor, prints its errors, and ends it.

Owns how long the end of a sweep waits for a tracker: as long as the tracker makes progress. It
sends no metrics itself.
"""

from __future__ import annotations

import os
import time
from typing import Any

import ray
import ray.exceptions
from rich.text import Text

from w2s_ray.config import Sweep
from w2s_ray.execute.cluster import on_this_node
from w2s_ray.plain_console import PlainConsole
from w2s_ray.trackers.tracker_actor import TrackerActor

PATIENCE_S = {"tensorboard": 20.0, "mlflow": 20.0, "wandb": 90.0}
"""How long a tracker may make no progress before the sweep ends without it. Weights & Biases
uploads its backlog at the end."""
REPLY_S = 20.0
"""Time limit for a reply of the tracker actor."""
POLL_S = 0.2
VARIABLE_PREFIXES = ("MLFLOW_", "WANDB_", "NETRC")
"""Prefixes of the environment variables that trackers read."""


class Tracking:
    """The trackers of one sweep; `tracker_actor` is None where there are none."""

    def __init__(self, sweep: Sweep, console: PlainConsole) -> None:
        self._console = console
        self._warned: set[str] = set()
        self._errors: Any = None
        """A call to the actor in progress."""
        self.tracker_actor: Any = None
        if sweep.trackers.chosen:
            variables = {k: v for k, v in os.environ.items() if k.startswith(VARIABLE_PREFIXES)}
            actor = ray.remote(num_cpus=0, **on_this_node())(TrackerActor)
            self.tracker_actor = actor.remote(
                sweep.trackers, sweep=sweep.name, folder=os.getcwd(), environment=variables
            )

    def poll(self) -> None:
        """Print new errors, once for each tracker; never waits."""
        if self.tracker_actor is None:
            return
        if self._errors is None:
            self._errors = self.tracker_actor.errors.remote()
        if ray.wait([self._errors], timeout=0)[0]:
            errors, self._errors = self._errors, None
            self._print_errors(errors)

    def finish(self) -> None:
        """Wait until trackers have written everything, as long as they make progress."""
        if self.tracker_actor is None:
            return
        self.tracker_actor.close.remote()
        try:
            self._wait()
        except ray.exceptions.RayError as error:
            self._warn("trackers", f"their process has ended ({type(error).__name__})")
        else:
            self._print_errors(self.tracker_actor.errors.remote())

    def close(self) -> None:
        """End the tracker actor at once."""
        if self.tracker_actor is not None:
            ray.kill(self.tracker_actor)

    def _wait(self) -> None:
        since: dict[str, tuple[int, float]] = {}
        while True:
            backlog: Any = ray.get(self.tracker_actor.backlog.remote(), timeout=REPLY_S)
            now = time.monotonic()
            for name, waiting in backlog.items():
                before, at = since.get(name, (None, now))
                since[name] = (waiting, at if waiting == before else now)
            stuck = {name for name in backlog if now - since[name][1] > PATIENCE_S[name]}
            if backlog.keys() <= stuck:
                for name in stuck:
                    self._warn(name, "it makes no progress; it lacks the last metrics")
                return
            time.sleep(POLL_S)

    def _print_errors(self, call: Any) -> None:
        try:
            errors: Any = ray.get(call, timeout=REPLY_S)
        except ray.exceptions.RayError as error:
            errors = {"trackers": f"their process has ended ({type(error).__name__})"}
        for name, error in errors.items():
            self._warn(name, f"{error}; it gets no more metrics of this run")

    def _warn(self, name: str, error: str) -> None:
        if name in self._warned:
            return
        self._warned.add(name)
        self._console.warn(
            Text.assemble((f"tracker {name}", "yellow"), f": {error}; results are not affected")
        )
