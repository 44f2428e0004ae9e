"""Which controls a method's row does not beat, by the paired interval of the difference.

Owns the rule: the accuracy of the row's students minus that of the control's, over the seeds
complete in both and on the same test examples, must have a 95 % interval above 0. Without an
interval the difference itself must be above 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from w2s_ray.config.controls import PREFIX
from w2s_ray.report.common_rows import Place
from w2s_ray.report.differences import RowPairs, intervals
from w2s_ray.report.sheet import percent
from w2s_ray.report.statistics import Bootstrap, Group, Interval, Trio


@dataclass(frozen=True)
class Students:
    """A row's students, by seed; only complete seeds."""

    place: Place
    method: str
    is_control: bool
    accuracies: Mapping[int, float]
    trios: Mapping[int, Trio]

    def group(self, seeds: Sequence[int]) -> Group:
        return Group(tuple(seeds), tuple(self.trios[seed] for seed in seeds))


def unbeaten(rows: Sequence[Students], *, bootstrap: Bootstrap | None) -> list[str | None]:
    """For each row the controls that it doesn't beat, in words; None if it is one or beats all."""
    compared = [
        (at, control, seeds)
        for at, row in enumerate(rows)
        for control in rows
        if control.is_control and not row.is_control and control.place == row.place
        if (seeds := sorted(row.trios.keys() & control.trios.keys()))
    ]
    requests = [
        RowPairs("student_accuracy", ((rows[at].group(seeds), control.group(seeds)),))
        for at, control, seeds in compared
    ]
    within: Sequence[Interval | None] = [None] * len(requests)
    if bootstrap is not None and requests:
        found = intervals(requests, store=bootstrap.store, records=bootstrap.records)
        within = [each.mean for each in found]
    texts: dict[int, list[str]] = {}
    for (at, control, seeds), interval in zip(compared, within, strict=True):
        mean = fmean(rows[at].accuracies[seed] - control.accuracies[seed] for seed in seeds)
        low, high = (interval.low, interval.high) if interval else (None, None)
        if not beats(mean, low):
            texts.setdefault(at, []).append(named(control.method, mean, low, high))
    return [", ".join(texts[at]) if at in texts else None for at in range(len(rows))]


def beats(difference: float, low: float | None) -> bool:
    """Whether a difference in accuracy lies above 0; `low`: its interval's lower bound."""
    return (difference if low is None else low) > 0


def named(control: str, difference: float, low: float | None, high: float | None) -> str:
    """A control with the difference from it, in points."""
    return (
        f"{control.removeprefix(PREFIX)} ({percent(difference, low=low, high=high, signed=True)})"
    )
