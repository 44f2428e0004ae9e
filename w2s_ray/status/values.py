"""The status of a sweep at one moment, as values.

Owns the fields of `w2s status --format json`: every value is valid JSON. Seconds are durations,
never points in time, so that the clocks of two machines aren't compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Why = Literal["driver", "start", "nodes", "room", "turn", "supervisor", "study", "lease", "retry"]
"""What a run waits for: any driver; the start of Ray or of its worker; nodes that the cluster is
starting; free resources; a slot among the concurrent studies; its supervisor; its study, or one
whose settings it starts with; another driver's lease; its next attempt."""


@dataclass(frozen=True)
class Driver:
    """A `w2s run` of this sweep that has not ended cleanly."""

    host: str
    pid: int
    alive: bool
    """Whether its heartbeat continues; otherwise it was killed, or its machine is gone."""
    said_s: float
    """Seconds since its last heartbeat, by the two machines' clocks."""
    running_s: float
    """Seconds from its start to its last heartbeat."""
    phase: str
    nodes: str | None = None
    """The nodes that it waits for, as text."""
    nodes_s: float | None = None
    """Seconds that it has waited for them."""
    budget: str | None = None
    """The spent part of its budget, as text; None without a budget."""


@dataclass(frozen=True)
class Running:
    """A running fit."""

    run: str
    description: str
    task: str | None
    model: str | None
    role: str | None
    method: str | None
    seed: int | None
    study: str | None
    """The study of its trial."""
    trial: int | None
    place: str
    """Machine and GPUs."""
    for_s: float
    """Seconds since its present attempt started."""
    step: int | None
    """None before its first step."""
    steps: int | None
    fetched: str | None
    """The progress of its model's download, while it is downloaded."""


@dataclass(frozen=True)
class Waiting:
    """A run that has not started, and why."""

    run: str | None
    """None for a run whose recipe is not known before a study has ended."""
    description: str
    why: Why
    of: str | None
    """The run that it waits for, if it waits for one."""
    reason: str
    """The reason as text."""


@dataclass(frozen=True)
class Blocked:
    """A run that depends on a failed one."""

    run: str | None
    description: str
    by: str
    failed_run: str
    """The name of the failed run."""


@dataclass(frozen=True)
class Failed:
    """A run that failed in all its attempts."""

    run: str
    description: str
    cause: str | None
    reason: str | None
    attempts: int
    """Number of its attempts."""
    retries: dict[str, int]
    """Cause of failure -> number of earlier attempts with it."""


@dataclass(frozen=True)
class StudySeen:
    """A study and its trials."""

    run: str
    description: str
    state: Literal["done", "running", "waiting", "failed", "blocked"]
    trials: int
    """Its planned number of trials."""
    complete: int
    pruned: int
    failed: int
    repeats: int
    """How many of these have the result of an equal earlier trial."""
    running: int
    metric: str
    best: float | None
    """The best objective of a complete trial so far, in the study's `metric`."""


@dataclass(frozen=True)
class Remaining:
    """What is left to do, estimated from finished fits of the sweep."""

    fits: int
    """Fits left to train at most: trials may be pruned or repeat others."""
    device_seconds: float
    """Seconds times devices."""
    flops: float
    """Training FLOPs."""
    seconds: float | None
    """Wall-clock time, with the present number of concurrent fits; None without a driver."""
    from_fits: int
    """Finished fits that the estimate comes from."""
    guessed: int
    """Fits left to train whose model has no finished fit: estimated by the mean of all."""


@dataclass(frozen=True)
class Status:
    """The status of a sweep."""

    sweep: str
    store: str
    state: Literal["untouched", "running", "complete", "failed", "unfinished"]
    """untouched: nothing has run. failed: all that is left has failed or is blocked. unfinished:
    runs are left, and no driver is alive."""
    total: int
    """Planned runs: fits, studies, and those that are planned after a study."""
    done: int
    drivers: tuple[Driver, ...]
    running: tuple[Running, ...]
    waiting: tuple[Waiting, ...]
    blocked: tuple[Blocked, ...]
    failed: tuple[Failed, ...]
    studies: tuple[StudySeen, ...]
    retried: dict[str, int]
    """Cause of failure -> number of retries for it."""
    left: Remaining | None
    """None where nothing is left, or no fit has finished yet."""
    low_contrast: tuple[str, ...] = ()
    """The done supervisors whose weak labels lie close together, with the figures."""

    @property
    def under_way(self) -> bool:
        """Whether a driver is alive."""
        return any(driver.alive for driver in self.drivers)
