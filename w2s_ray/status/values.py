"""What there is to say of a sweep at one moment: the values, and nothing that finds them out.

Every value can be written as JSON as it stands. Seconds are durations, never moments, so that the
clocks of two machines don't mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Why = Literal["driver", "start", "nodes", "room", "turn", "supervisor", "study", "lease", "retry"]
"""What a run waits for: any driver; Ray's start, or its host's; nodes that the cluster is starting;
room on the cluster; a place among the studies at once; its supervisor; its study, or one that it
begins with; somebody else's claim; its next try."""


@dataclass(frozen=True)
class Driver:
    """A `w2s run` of this sweep that has not said goodbye."""

    host: str
    pid: int
    alive: bool
    """Whether it still says something; one that doesn't was killed, or its machine is gone."""
    said_s: float
    """Seconds since it last said something, by the two machines' clocks."""
    running_s: float
    """Seconds from its start to what it said last."""
    phase: str
    nodes: str | None = None
    """The nodes that it waits for, in words."""
    nodes_s: float | None = None
    """Seconds that it has waited for them."""
    budget: str | None = None
    """What of its budget is spent, in words; None without one."""


@dataclass(frozen=True)
class Running:
    """A fit under way."""

    run: str
    called: str
    task: str | None
    model: str | None
    role: str | None
    method: str | None
    seed: int | None
    study: str | None
    """The study that it is a trial's fit of."""
    trial: int | None
    place: str
    """Machine and GPUs."""
    for_s: float
    """Seconds since its present attempt began."""
    step: int | None
    """None before its first step."""
    steps: int | None


@dataclass(frozen=True)
class Waiting:
    """A run that is not under way, and why."""

    run: str | None
    """None for a refit, whose recipe is not known before its study has ended."""
    called: str
    why: Why
    of: str | None
    """The run that it waits for, if it waits for one."""
    said: str
    """Why, in words."""


@dataclass(frozen=True)
class Blocked:
    """A run that can't be had without one that failed."""

    run: str | None
    called: str
    by: str
    said: str
    """What the failed one is called."""


@dataclass(frozen=True)
class Failed:
    """A run that failed, as often as it may."""

    run: str
    called: str
    cause: str | None
    reason: str | None
    attempts: int
    """How often it was tried in all."""
    retries: dict[str, int]
    """Cause -> how many earlier attempts it ended."""


@dataclass(frozen=True)
class StudySeen:
    """A study and its trials."""

    run: str
    called: str
    state: Literal["done", "running", "waiting", "failed", "blocked"]
    trials: int
    """How many it will have at most."""
    complete: int
    pruned: int
    failed: int
    repeats: int
    """How many of these took the result of an equal earlier trial."""
    running: int
    metric: str
    best: float | None
    """The best objective of a complete trial so far, in the study's `metric`."""


@dataclass(frozen=True)
class Remaining:
    """What is still to do, estimated from what finished fits of the sweep took."""

    fits: int
    """Fits still to train at most: trials may be pruned or found done, and no fit may fail."""
    device_seconds: float
    """Seconds times devices."""
    flops: float
    """Training FLOPs."""
    seconds: float | None
    """By the clock, if the driver goes on with as many fits at once; None without a driver."""
    from_fits: int
    """Finished fits that the estimate comes from."""
    guessed: int
    """Fits still to train whose model has none finished: taken for the average of all."""


@dataclass(frozen=True)
class Status:
    """How far a sweep is."""

    sweep: str
    store: str
    state: Literal["untouched", "running", "complete", "failed", "unfinished"]
    """untouched: nothing was ever run. failed: what is left failed or is blocked. unfinished: there
    is something to do, and nobody does it."""
    total: int
    """Planned runs: fits, studies, and refits of studies that have not ended."""
    done: int
    drivers: tuple[Driver, ...]
    running: tuple[Running, ...]
    waiting: tuple[Waiting, ...]
    blocked: tuple[Blocked, ...]
    failed: tuple[Failed, ...]
    studies: tuple[StudySeen, ...]
    retried: dict[str, int]
    """Cause -> how often runs of the sweep were tried again for it."""
    left: Remaining | None
    """None where nothing is left, or no fit has finished yet."""

    @property
    def under_way(self) -> bool:
        """Whether a driver is at work."""
        return any(driver.alive for driver in self.drivers)
