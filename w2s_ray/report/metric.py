"""The figure that a table or grid is about: the student's accuracy, its gain, or PGR.

Owns the texts of these figures. PGRs over small gaps are in parentheses, and grey on a terminal.
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


def text(row: Figures, metric: Metric) -> str:
    """The row's figure, with its interval in brackets."""
    match metric:
        case "accuracy":
            return percent(row.student_accuracy, low=row.student_low, high=row.student_high)
        case "gain":
            return percent(row.gain, low=row.gain_low, high=row.gain_high, signed=True)
        case "pgr":
            shown = number(row.pgr, low=row.pgr_low, high=row.pgr_high)
            return Grey(f"({shown})") if row.pgr_caution else shown
