"""Confidence intervals by a bootstrap over seeds and paired test examples.

Owns resampling, the intervals, and their cache. PGR itself is defined in `report.pgr`.
"""

from w2s_ray.report.statistics.bootstrap import Bootstrap, median_interval, row_draws
from w2s_ray.report.statistics.draws import Draws, RowDraws, RowIntervals, accuracy_draws
from w2s_ray.report.statistics.groups import Group, MedianIntervals, MedianOf, Trio
from w2s_ray.report.statistics.intervals import LEVEL, Interval, interval
from w2s_ray.report.statistics.resampling import DRAWS

__all__ = [
    "DRAWS",
    "LEVEL",
    "Bootstrap",
    "Draws",
    "Group",
    "Interval",
    "MedianIntervals",
    "MedianOf",
    "RowDraws",
    "RowIntervals",
    "Trio",
    "accuracy_draws",
    "interval",
    "median_interval",
    "row_draws",
]
