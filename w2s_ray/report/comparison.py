"""A comparison of two methods as a value, with the type and meaning of every column.

Comparisons are computed in `report.compare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from w2s_ray.report.columns import column
from w2s_ray.store import Objective

Quantity = Literal["pgr", "student_accuracy"]


@dataclass(frozen=True)
class Comparison:
    """The difference between two methods' rows in one quantity: `method` minus `against`."""

    sweep: str = column("the sweep that has both methods")
    method: str = column("the method")
    against: str = column("the method that it is compared with")
    quantity: Quantity = column("what is compared: pgr or student_accuracy")
    objective: Objective = column("what chose the method's settings")
    against_objective: Objective = column("what chose the other's settings")
    mean: float | None = column(
        "mean over rows (tasks and pairs) of the method's figure minus the other's"
    )
    mean_low: float | None = column(
        "lower bound of the mean's 95 % bootstrap interval, these rows given: over test "
        "examples, and over seeds where there are several"
    )
    mean_high: float | None = column("its upper bound")
    median: float | None = column("median over rows of the same differences")
    median_low: float | None = column("lower bound of the median's 95 % bootstrap interval")
    median_high: float | None = column("its upper bound")
    no_interval: str | None = column("why there are no bounds")
    p: float | None = column(
        "of Wilcoxon's signed-rank test over rows, two-sided; it takes rows as independent, "
        "and is too small where many rows share a task"
    )
    p_holm: float | None = column(
        "the same by Holm's correction for all methods compared with this one in this quantity"
    )
    no_p: str | None = column("why there is no p")
    rows: int = column("tasks and pairs that are compared")
    tasks: int = column("different tasks among them")
    seeds: int = column("fewest seeds that a row is over")
    without_pgr: int = column("rows left out for want of a gap to recover; 0 for accuracies")
    left_out: int = column(
        "rows left out since their own ground truth chose a setting, beside others"
    )
    missing: int = column("rows left out since no seed is complete in both methods")
