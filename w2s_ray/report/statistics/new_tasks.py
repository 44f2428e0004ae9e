"""Intervals for a claim about new tasks: the tasks are drawn too.

Owns the resampling of tasks. Tasks are the outermost level: figures of a task have the noise of its
own seeds and examples in them, so that resampling whole tasks covers all three, and nothing within
a task is drawn again. It reads no store.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from w2s_ray.report.statistics.intervals import LEVEL, Interval, interval
from w2s_ray.report.statistics.resampling import DRAWS, task_counts

Over = Literal["seeds and examples", "examples", "tasks"]
"""What an interval over rows covers."""
ONE_TASK = "one task shows no spread over tasks"
"""Why there is no interval for new tasks."""


def mean_draws(figures_RM: np.ndarray, tasks: Sequence[str], *, draws: int = DRAWS) -> np.ndarray:
    """Draws [B, M] of the mean over R rows of each of M figures; `tasks`: the task of each row.

    Raises:
        ValueError: fewer than two tasks.
    """
    counts_BR, widening = _counts(tasks, draws)
    drawn_BM = counts_BR @ figures_RM / counts_BR.sum(axis=1, keepdims=True)
    mean_M = figures_RM.mean(axis=0)
    return mean_M + widening * (drawn_BM - mean_M)


def mean_interval(figures: Sequence[float], tasks: Sequence[str]) -> Interval | None:
    """The interval of the mean over rows; None with one task."""
    if len(set(tasks)) < 2:
        return None
    return interval(mean_draws(np.array(figures)[:, None], tasks)[:, 0])


def median_interval(figures: Sequence[float], tasks: Sequence[str]) -> Interval | None:
    """The interval of the median over rows; None with one task."""
    if len(set(tasks)) < 2:
        return None
    counts_BR, widening = _counts(tasks, DRAWS)
    order_R = np.argsort(figures)
    sorted_R = np.array(figures)[order_R]
    up_to_BR = np.cumsum(counts_BR[:, order_R], axis=1)
    drawn_B = up_to_BR[:, -1]
    # With n drawn rows, the median is the mean of the rows number (n - 1) // 2 and n // 2 in order.
    middle_B = [
        sorted_R[(up_to_BR <= at_B[:, None]).sum(axis=1)]
        for at_B in ((drawn_B - 1) // 2, drawn_B // 2)
    ]
    median = float(np.median(sorted_R))
    return interval(median + widening * ((middle_B[0] + middle_B[1]) / 2 - median))


def _counts(tasks: Sequence[str], draws: int) -> tuple[np.ndarray, float]:
    """How often each row is drawn [B, R], and the factor by which deviations are widened.

    T of T tasks with replacement have only (T − 1)/T of the variance, and percentiles of draws are
    those of a normal distribution where Student's t with T − 1 degrees of freedom is right. The
    factor √(T/(T − 1)) t/z corrects both, as in Hesterberg's expanded percentile interval (2015,
    arXiv 1411.5279), but of the deviations: few tasks have no draws far enough in the tails.
    """
    from scipy.special import ndtri, stdtrit

    names = sorted(set(tasks))
    count = len(names)
    if count < 2:
        raise ValueError(f"{ONE_TASK}; there is only {', '.join(names) or 'none'}")
    of_row = np.searchsorted(names, tasks)
    counts_BR = task_counts(names, draws=draws)[:, of_row]
    upper = (1 + LEVEL) / 2
    widening = math.sqrt(count / (count - 1)) * stdtrit(count - 1, upper) / ndtri(upper)
    return counts_BR, float(widening)
