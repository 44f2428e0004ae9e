"""A ranking of a sweep's methods as values, with the type and meaning of every column.

Rankings are computed in `report.rank`.
"""

from __future__ import annotations

from dataclasses import dataclass

from w2s_ray.report.columns import column
from w2s_ray.report.objectives import RowObjective
from w2s_ray.report.statistics.new_tasks import Over


@dataclass(frozen=True)
class MethodRank:
    """A method among all ranked methods of its sweep."""

    sweep: str = column("the sweep's name")
    method: str = column("how the student is trained")
    objective: RowObjective = column("the objective that chose the method's settings")
    mean_rank: float = column(
        "mean over rows (tasks and pairs) of the method's rank by student accuracy: 1 = highest; "
        "equal accuracies share the mean of their ranks"
    )
    mean_rank_low: float | None = column("lower bound of the mean rank's 95 % bootstrap interval")
    mean_rank_high: float | None = column("upper bound of the mean rank's 95 % bootstrap interval")
    p_best: float | None = column(
        "probability of being best: share of bootstrap draws with the lowest mean rank of all"
    )
    intervals_over: Over | None = column(
        "what the bootstrap resamples: seeds and examples, examples alone, or whole tasks"
    )
    no_interval: str | None = column("why there are no bounds")
    best_rows: float = column("number of rows with the highest accuracy; equal ones share a row")
    rows: int = column("number of ranked rows: those that all ranked methods have")
    tasks: int = column("number of different tasks among them")
    seeds: int = column("smallest number of seeds of a row")
    methods: int = column("number of ranked methods")
    critical_difference: float = column(
        "smallest significant difference of two mean ranks at 5 % by Nemenyi's test, with tasks as "
        "the independent blocks"
    )
    friedman_p: float | None = column(
        "p value of Friedman's test that all methods are equal, over the mean ranks of tasks"
    )
    no_friedman: str | None = column("why there is no friedman_p")
    left_out: int = column(
        "rows left out because ground truth of the cell itself, or of its task and strong model, "
        "chose a setting of some method"
    )
    missing: int = column("rows left out because no seed is complete in all ranked methods")


@dataclass(frozen=True)
class PairwiseWins:
    """Two ranked methods of a sweep, row by row."""

    sweep: str = column("the sweep's name")
    method: str = column("a method")
    against: str = column("another method")
    wins: int = column("rows (tasks and pairs) in which the method has the higher student accuracy")
    ties: int = column("rows of equal accuracy")
    losses: int = column("rows in which the other method has the higher accuracy")
    clear_wins: int | None = column(
        "rows in which the 95 % bootstrap interval of the difference, over seeds and examples, "
        "lies above 0; null without draws"
    )
    clear_losses: int | None = column("rows in which that interval lies below 0")


@dataclass(frozen=True)
class Ranking:
    """The ranking of one sweep's methods, best first."""

    sweep: str
    methods: tuple[MethodRank, ...]
    wins: tuple[PairwiseWins, ...]
    """Each ordered pair of methods."""
    excluded: tuple[tuple[str, str], ...] = ()
    """Methods that are not ranked, and why."""
    reason: str | None = None
    """Why nothing is ranked."""
