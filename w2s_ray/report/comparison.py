"""A comparison of two methods as a value, with the type and meaning of every column.

Comparisons are computed in `report.compare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from w2s_ray.report.columns import column
from w2s_ray.report.objectives import RowObjective
from w2s_ray.report.statistics.new_tasks import Over
from w2s_ray.report.tuning import StopsEarly

Quantity = Literal["pgr", "student_accuracy"]


@dataclass(frozen=True)
class Comparison:
    """The difference between two methods' rows in one quantity: `method` minus `against`."""

    sweep: str = column("the sweep that has both methods")
    method: str = column("the method")
    against: str = column("the method that it is compared with")
    quantity: Quantity = column("the compared quantity: pgr or student_accuracy")
    objective: RowObjective = column("the objective that chose the method's settings")
    against_objective: RowObjective = column("the objective that chose the other method's settings")
    trials: int | None = column(
        "number of trials of the study that chose the method's settings; 0 without a search"
    )
    against_trials: int | None = column("number of trials of the other method's study")
    differs: str | None = column(
        "settings of training and early stopping in which the compared students differ, with both "
        "values if they are the same in every row; null if none do"
    )
    stops_early: StopsEarly = column(
        "whose students can stop early: both, neither, method (this method's alone), against (the "
        "other's alone), or some (it differs between rows)"
    )
    mean: float | None = column(
        "mean over rows (tasks and pairs) of the method's figure minus the other's"
    )
    mean_low: float | None = column(
        "lower bound of the mean's 95 % bootstrap interval: for these rows, over test examples, "
        "and over seeds where there are several; or over tasks"
    )
    mean_high: float | None = column("upper bound of the mean's 95 % bootstrap interval")
    median: float | None = column("median over rows of the same differences")
    median_low: float | None = column("lower bound of the median's 95 % bootstrap interval")
    median_high: float | None = column("upper bound of the median's 95 % bootstrap interval")
    no_interval: str | None = column("why there are no bounds")
    intervals_over: Over | None = column(
        "what the bootstrap resamples: seeds and examples, examples alone, or whole tasks"
    )
    p: float | None = column(
        "p value of Wilcoxon's signed-rank test over rows, two-sided; the test assumes independent "
        "rows, and p is too small if many rows share a task"
    )
    p_holm: float | None = column(
        "p with Holm's correction for all methods that are compared with `against` in this quantity"
    )
    no_p: str | None = column("why there is no p")
    unbeaten: str | None = column(
        "controls that the method does not beat: over the rows of both, the mean difference in the "
        "student's accuracy, in points, with its 95 % interval, which does not lie above 0; null "
        "if there are none"
    )
    against_unbeaten: str | None = column("controls that `against` does not beat")
    rows: int = column("number of compared rows (a task and a pair each)")
    tasks: int = column("number of different tasks among them")
    seeds: int = column("smallest number of seeds of a row")
    without_pgr: int = column("rows left out because they have no PGR; 0 for accuracies")
    left_out: int = column(
        "rows left out because ground truth of the cell itself, or of its task and strong model, "
        "chose a setting, if other rows remain"
    )
    missing: int = column("rows left out because no seed is complete in both methods")
