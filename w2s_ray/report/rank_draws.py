"""Bootstrap draws of mean ranks over rows, from joint draws of all methods, and their cache.

Owns the ranks of measured and of drawn accuracies, and the counts of clear wins. Seeds and test
examples are resampled; the rows, that is tasks and pairs, are fixed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from w2s_ray.report.statistics import Group, Interval, interval, row_draws
from w2s_ray.store import Record, Store, StoreError
from w2s_ray.store.tables import from_rows, schema

TABLE = "ranks-1"
"""Name of the cached table; change its number when the figures of the same rows change."""
_DIGITS = 12
"""Accuracies are rounded to this many digits, so that rounding errors don't break ties."""
_SCHEMA = schema(("key answer", pa.string()))
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankDraws:
    """What draws of the accuracies of M methods say about their ranks."""

    intervals: tuple[Interval, ...]
    """Of each method's mean rank."""
    p_best: tuple[float, ...]


@dataclass(frozen=True)
class RowDrawsSummary:
    """Figures from draws over seeds and examples."""

    ranks: RankDraws
    clear_wins: tuple[tuple[int, ...], ...]
    """[M][M]: rows in which the first method is clearly better than the second."""


def ranks_of(accuracies_RM: np.ndarray) -> np.ndarray:
    """The rank of each method in each row, [R, M]: 1 = the highest; ties share their mean rank."""
    from scipy.stats import rankdata

    return rankdata(-np.round(accuracies_RM, _DIGITS), axis=1)


def summarized(draws_BM: np.ndarray, *, mean_rank_M: np.ndarray) -> RankDraws:
    """Intervals, and shares of draws in which a method is best; ties share a draw.

    Drawn accuracies have the noise of the measurement twice, so their ranks are nearer to the
    middle than the measured ones. An interval therefore contains the percentiles of the draws, and
    those of the draws moved to the measured mean rank. It is for the mean rank that the experiment
    would have on average if it were repeated.
    """
    methods = draws_BM.shape[1]
    best_BM = draws_BM == draws_BM.min(axis=1, keepdims=True)
    p_best_M = (best_BM / best_BM.sum(axis=1, keepdims=True)).mean(axis=0)
    moved_BM = np.clip(draws_BM - draws_BM.mean(axis=0) + mean_rank_M, 1, methods)
    bounds = ((interval(draws_BM[:, m]), interval(moved_BM[:, m])) for m in range(methods))
    return RankDraws(
        tuple(Interval(min(a.low, b.low), max(a.high, b.high)) for a, b in bounds),
        tuple(map(float, p_best_M)),
    )


def row_summary(
    rows: Sequence[Sequence[Group]],
    mean_rank_M: np.ndarray,
    *,
    store: Store,
    records: Mapping[str, Record],
) -> RowDrawsSummary | str:
    """The figures of R rows of M methods each, or why there are none.

    Args:
        rows: the runs of each method in each row, all of a row over the same seeds.
        mean_rank_M: the measured mean ranks.
        store: the store with the runs' predictions.
        records: has every run of `rows`.
    """
    named = "\n".join(" ".join(group.key for group in row) for row in rows)
    key = hashlib.sha256(named.encode()).hexdigest()[:32]
    cached = _read_cache(store)
    if key in cached:
        return _parsed(json.loads(cached[key]))
    drawn = {
        group: draws if isinstance(draws, str) else draws.student.astype(np.float32)
        for group, draws in row_draws(store, {g for row in rows for g in row}, records)
    }
    reason = next((found for found in drawn.values() if isinstance(found, str)), None)
    if reason is not None:
        return f"no interval: {reason}"
    found = summary_of([np.stack([drawn[group] for group in row]) for row in rows], mean_rank_M)
    _write_cache(store, cached | {key: json.dumps(_plain(found))})
    return found


def summary_of(rows: Sequence[np.ndarray], mean_rank_M: np.ndarray) -> RowDrawsSummary:
    """The figures of rows, from the joint draws [M, B] of each."""
    methods = len(mean_rank_M)
    total_BM = np.zeros((rows[0].shape[1], methods))
    clear_MM = np.zeros((methods, methods), np.int64)
    for accuracy_MB in rows:
        total_BM += ranks_of(accuracy_MB.T)
        for one in range(methods):
            difference_MB = accuracy_MB[one] - accuracy_MB
            low_M = np.array([interval(difference_B).low for difference_B in difference_MB])
            clear_MM[one] += low_M > 0
    ranks = summarized(total_BM / len(rows), mean_rank_M=mean_rank_M)
    return RowDrawsSummary(ranks, tuple(tuple(map(int, row)) for row in clear_MM))


def _plain(found: RowDrawsSummary) -> dict[str, object]:
    return {
        "intervals": found.ranks.intervals,
        "p_best": found.ranks.p_best,
        "clear_wins": found.clear_wins,
    }


def _parsed(plain: Mapping[str, list]) -> RowDrawsSummary:
    bounds = tuple(Interval(*bounds) for bounds in plain["intervals"])
    return RowDrawsSummary(
        RankDraws(bounds, tuple(plain["p_best"])), tuple(map(tuple, plain["clear_wins"]))
    )


def _read_cache(store: Store) -> dict[str, str]:
    table = store.cache.read(TABLE)
    if table is None or not table.schema.remove_metadata().equals(_SCHEMA):
        return {}
    return dict(zip(table["key"].to_pylist(), table["answer"].to_pylist(), strict=True))


def _write_cache(store: Store, found: Mapping[str, str]) -> None:
    """Write the figures to the store, if it is writable."""
    rows = [{"key": key, "answer": answer} for key, answer in found.items()]
    try:
        store.cache.write(TABLE, from_rows(rows, _SCHEMA))
    except (OSError, StoreError) as error:
        _log.debug("draws of ranks are not cached: %s", error)
