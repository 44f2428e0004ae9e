"""The time of studies in which devices train nothing, measured on the last finished ones.

Processes of trials start, and a trial waits for its proposal; with fits of a second this is most of
a study's time. It depends on values alone.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from w2s_ray.store import Record

Interval = tuple[float, float]
LAST = 20
"""Studies that are measured. Earlier ones often waited for a model's first reading of the rows."""


def study_overhead(studies: Collection[Record], fits: Collection[Record], *, at_once: int) -> float:
    """Seconds in which one of `at_once` fits could have been trained, for each finished study.

    They are those while any study ran, less the seconds of the fits of the sweep in that time,
    since the end of the study before the `LAST` ones.
    """
    intervals = sorted(map(_interval, studies), key=lambda interval: interval[1])
    if not intervals:
        return 0.0
    since = intervals[-LAST - 1][1] if len(intervals) > LAST else float("-inf")
    spans = [(max(start, since), end) for start, end in _union(intervals) if end > since]
    whole = at_once * sum(end - start for start, end in spans)
    trained = sum(
        max(0.0, min(end, fit_end) - max(start, fit_start))
        for fit_start, fit_end in map(_interval, fits)
        for start, end in spans
    )
    return max(0.0, whole - trained) / min(len(intervals), LAST)


def _interval(record: Record) -> Interval:
    start, end = map(datetime.fromisoformat, (record.started_at, record.ended_at))
    return start.timestamp(), end.timestamp()


def _union(intervals: list[Interval]) -> list[Interval]:
    """The same instants as disjoint intervals, in order."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found
