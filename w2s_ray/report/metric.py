"""The figure that a table or grid is about: the student's accuracy, its gain, or PGR.

Owns the texts of these figures. PGRs over small gaps are in parentheses, and grey on a terminal;
so are estimates without an interval, marked ≈. An interval of one seed says so in its brackets.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from w2s_ray.report.layout import Grey
from w2s_ray.report.sheet import number, percent

Metric = Literal["accuracy", "gain", "pgr"]
METRICS: tuple[Metric, ...] = get_args(Metric)
LABELS: dict[Metric, str] = {
    "accuracy": "student's accuracy in %",
    "gain": "gain in points",
    "pgr": "PGR",
}


class Figures(Protocol):
    """A row with the three figures and their intervals."""

    @property
    def student_accuracy(self) -> float | None: ...
    @property
    def student_low(self) -> float | None: ...
    @property
    def student_high(self) -> float | None: ...
    @property
    def gain(self) -> float | None: ...
    @property
    def gain_low(self) -> float | None: ...
    @property
    def gain_high(self) -> float | None: ...
    @property
    def pgr(self) -> float | None: ...
    @property
    def pgr_low(self) -> float | None: ...
    @property
    def pgr_high(self) -> float | None: ...
    @property
    def pgr_caution(self) -> str | None: ...
    @property
    def pgr_estimate(self) -> float | None: ...
    @property
    def is_of_one_seed(self) -> bool: ...


ONE_SEED = "1 seed"
"""In the brackets of an interval that is about the runs of one seed alone."""


def text(row: Figures, metric: Metric) -> str:
    """The row's figure, with its interval in brackets."""
    about = ONE_SEED if row.is_of_one_seed else None
    match metric:
        case "accuracy":
            return percent(
                row.student_accuracy, low=row.student_low, high=row.student_high, about=about
            )
        case "gain":
            return percent(row.gain, low=row.gain_low, high=row.gain_high, signed=True, about=about)
        case "pgr" if row.pgr is None and row.pgr_estimate is not None:
            return Grey(f"≈{number(row.pgr_estimate)}")
        case "pgr":
            shown = number(row.pgr, low=row.pgr_low, high=row.pgr_high, about=about)
            return Grey(f"({shown})") if row.pgr_caution else shown
