"""Carrying out one planned fit to its end, whatever happens on the way.

Owns the watch over a fit: admission to the floor, attempts until one ends with a record, retries by
cause, the end of one that stalls, waiting for one that somebody else trains. The caller is the
driver or a trial; the fit runs on a host. It knows nothing of the order of runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
import ray.exceptions

from w2s_ray.execute.causes import FINAL, Stalled
from w2s_ray.execute.cluster import alive_nodes
from w2s_ray.execute.fits.carrier import Carrier
from w2s_ray.execute.fits.floor import Ask
from w2s_ray.execute.fits.hosts import Layout
from w2s_ray.execute.tries import Elsewhere, settled
from w2s_ray.plan import PlannedFit
from w2s_ray.spec import FitRecipe
from w2s_ray.store import Record, Store

NODE_NEWS_S = 20.0
"""How long Ray may take to learn that a node is gone: by default five checks, 3 s apart."""
GLANCE_S = 5.0
"""Longest wait for news of a running fit."""

Tell = Callable[[Mapping[str, Any]], None]


def carry(
    carrier: Carrier, fit: PlannedFit, *, party: str, rank: int = 0, tell: Tell | None = None
) -> Record:
    """Train `fit` unless the store has it, and return its record, done or failed.

    `tell` is called with each of its evaluations, once and in order, those of a fit that was done
    before as well. If it raises, the fit is asked to stop.
    """
    return _Watch(carrier, fit, party, rank, tell).through()


class _Watch:
    """The watch over one fit."""

    def __init__(
        self, carrier: Carrier, fit: PlannedFit, party: str, rank: int, tell: Tell | None
    ) -> None:
        self.carrier = carrier
        self.fit = fit
        self.ask = Ask(fit.id, party, Layout.of(fit, carrier), rank)
        self.tell = tell
        self.told = 0
        self.store = carrier.open_store()
        self.nodes: set[str] = set()
        """Those that were there when the newest attempt began."""

    def through(self) -> Record:
        """Attempts until the fit is settled, with every evaluation of one that is done told."""
        record = settled(
            self.fit,
            store=self.store,
            retries=self.fit.execution.retries,
            attempt=self._attempt,
            failed=self._placed_right,
        )
        if record.status == "done":
            self._tell_the_rest(record)
        return record

    def _placed_right(self, failed: Record) -> Record:
        """The failure, with its cause corrected where the fit's process died with its node."""
        if failed.cause == "worker_died" and self._node_is_gone():
            return failed.model_copy(update={"cause": "node_lost"})
        return failed

    def _node_is_gone(self) -> bool:
        """Whether the fit's process died with its node, which Ray learns a moment later.

        A host that had not begun has no known node.
        """
        node = ray.get(self.carrier.board.where.remote(self.fit.id))
        deadline = time.monotonic() + NODE_NEWS_S
        while len(self.nodes) > 1 and time.monotonic() < deadline:
            gone = self.nodes - alive_nodes()
            if node in gone or (node is None and gone):
                return True
            time.sleep(0.5)
        return False

    def _attempt(self) -> Record | Elsewhere:
        """One attempt, on a host of its own for as long as it takes."""
        floor, board = self.carrier.floor, self.carrier.board
        self.nodes = alive_nodes()
        host: Any = ray.get(floor.admit.remote(self.ask))
        lives = False
        try:
            ray.get(board.begun.remote(self.fit.id))
            ended = self._watched(host.run.remote(self.fit, self.carrier))
            lives = isinstance(ended, Elsewhere) or ended.cause in FINAL
            return ended
        except ray.exceptions.RayTaskError as error:
            lives = type(error.cause).__name__ == "Stopped"
            raise
        except SystemExit:  # Tune has pruned the trial
            board.stop.remote(self.fit.id)
            lives = True
            raise
        finally:
            floor.leave.remote(self.fit.id, host_lives=lives)
            self.carrier.say_ended(self.fit)

    def _watched(self, running: Any) -> Record | Elsewhere:
        """What the attempt gives, with its evaluations told and its silence noticed."""
        news: Any = None
        while True:
            if news is None and self.tell is not None:
                board = self.carrier.board
                news = board.evaluations.remote(self.fit.id, self.told, GLANCE_S)
            ended, _ = ray.wait([running, *([news] if news else [])], timeout=GLANCE_S)
            if news is not None and news in ended:
                told: Any = ray.get(news)
                self._tell(told)
                news = None
            if running in ended:
                return ray.get(running)
            self._refuse_silence()

    def _refuse_silence(self) -> None:
        """Raise where the fit has made no progress for longer than it may."""
        limit_s = self.fit.execution.stall_s
        if limit_s is not None:
            quiet_s: Any = ray.get(self.carrier.board.quiet_s.remote(self.fit.id))
            if quiet_s > limit_s:
                raise Stalled(quiet_s)

    def _tell(self, evaluations: list[Mapping[str, Any]]) -> None:
        for evaluation in evaluations:
            self.told = evaluation["evaluations"]
            assert self.tell is not None
            self.tell(evaluation)

    def _tell_the_rest(self, record: Record) -> None:
        """Tell those evaluations of a fit that is done that were not told while it ran."""
        setup_s = float(record.summary.get("setup_seconds") or 0.0)
        self.carrier.say_ended(self.fit, seconds=record.seconds - setup_s)
        if self.tell is not None:
            every = evaluations_of(self.store, record)
            self._tell([e for e in every if e["evaluations"] > self.told])


def evaluations_of(store: Store, record: Record) -> list[dict[str, Any]]:
    """The evaluations of a fit that is done, as they were told while it ran."""
    table = store.metrics(record.id)
    columns = [table.column(name).to_pylist() for name in ("step", "metric", "value")]
    by_step: dict[int, dict[str, Any]] = {}
    for step, metric, value in zip(*columns, strict=True):
        if metric.startswith("validation/"):
            by_step.setdefault(step, {"step": step})[metric.removeprefix("validation/")] = value
    total = FitRecipe.model_validate(record.recipe).training.evaluations
    return [
        {**evaluation, "evaluations": number, "of_evaluations": total}
        for number, (_, evaluation) in enumerate(sorted(by_step.items()), start=1)
    ]
