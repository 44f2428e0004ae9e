"""What a comparison of two methods says, as a value and as columns.

Owns the meaning of every column. How they are computed stands in `report.compare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from w2s_ray.store import Objective

Quantity = Literal["pgr", "student_accuracy"]


@dataclass(frozen=True)
class Comparison:
    """How a method's rows differ from another's in one quantity: its own minus the other's.

    What each field means stands at the column of its name in `COMPARISONS`.
    """

    sweep: str
    method: str
    against: str
    quantity: Quantity
    objective: Objective
    against_objective: Objective
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    median: float | None
    median_low: float | None
    median_high: float | None
    no_interval: str | None
    p: float | None
    p_holm: float | None
    no_p: str | None
    rows: int
    tasks: int
    seeds: int
    without_pgr: int
    left_out: int
    missing: int


def _columns(kind: pa.DataType, **meanings: str) -> list[pa.Field]:
    return [
        pa.field(name, kind, metadata={"meaning": meaning}) for name, meaning in meanings.items()
    ]


COMPARISONS = pa.schema(
    [
        *_columns(
            pa.string(),
            sweep="the sweep that has both methods",
            method="the method",
            against="the method that it is compared with",
            quantity="what is compared: pgr or student_accuracy",
            objective="what chose the method's settings",
            against_objective="what chose the other's settings",
        ),
        *_columns(
            pa.float64(),
            mean="mean over rows (tasks and pairs) of the method's figure minus the other's",
            mean_low="lower bound of the mean's 95 % bootstrap interval, these rows given: over "
            "test examples, and over seeds where there are several",
            mean_high="its upper bound",
            median="median over rows of the same differences",
            median_low="lower bound of the median's 95 % bootstrap interval",
            median_high="its upper bound",
        ),
        *_columns(pa.string(), no_interval="why there are no bounds"),
        *_columns(
            pa.float64(),
            p="of Wilcoxon's signed-rank test over rows, two-sided; it takes rows as independent, "
            "and is too small where many rows share a task",
            p_holm="the same by Holm's correction for all methods compared with this one in this "
            "quantity",
        ),
        *_columns(pa.string(), no_p="why there is no p"),
        *_columns(
            pa.int64(),
            rows="tasks and pairs that are compared",
            tasks="different tasks among them",
            seeds="fewest seeds that a row is over",
            without_pgr="rows left out for want of a gap to recover; 0 for accuracies",
            left_out="rows left out since their own ground truth chose a setting, beside others",
            missing="rows left out since no seed is complete in both methods",
        ),
    ]
)
"""`comparisons`: one row per sweep, method, other method and quantity."""
