"""The rows of the PGR table, with the type and meaning of every column.

`report.table` computes them. `low` and `high` are bounds of 95 % bootstrap intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from w2s_ray.report.columns import column
from w2s_ray.report.objectives import RowObjective

if TYPE_CHECKING:
    from w2s_ray.short_table import ShortTable

Over = Literal["seeds and examples", "examples"]

_CONTROL = "1 if the method is a control, else 0; controls are in no median and no comparison"
_ORACLE_STOPPED = (
    "the student's test accuracy if ground truth had chosen when it stops; not the method's result"
)
_OBJECTIVE = (
    "the objective that chose the settings; transfer, same student: the search used ground truth "
    "of the same task and strong model with another supervisor; oracle: the cell's own ground "
    "truth affected the settings or the stopping point"
)


@dataclass(frozen=True)
class SeedRow:
    """One cell: a task, a pair, a method and a seed. Its bounds are over test examples."""

    sweep: str = column("the sweep's name")
    task: str = column("the task's name")
    weak: str = column("the supervisor's model")
    strong: str = column("the student's and the ceiling's model")
    method: str = column("how the student is trained")
    control: int = column(_CONTROL)
    seed: int = column("the seed of all three fits")
    objective: RowObjective = column(_OBJECTIVE)
    weak_accuracy: float | None = column("the supervisor's test accuracy")
    student_accuracy: float | None = column("the student's test accuracy")
    ceiling_accuracy: float | None = column("the ceiling's test accuracy")
    gain: float | None = column("student_accuracy minus weak_accuracy")
    pgr: float | None = column(
        "(student - weak) / (ceiling - weak) of this seed; null without a gap"
    )
    pgr_caution: str | None = column("why pgr says little: the gap is small")
    student_low: float | None = column(
        "lower bound of the 95 % bootstrap interval of student_accuracy"
    )
    student_high: float | None = column(
        "upper bound of the 95 % bootstrap interval of student_accuracy"
    )
    gain_low: float | None = column("lower bound of the 95 % bootstrap interval of gain")
    gain_high: float | None = column("upper bound of the 95 % bootstrap interval of gain")
    pgr_low: float | None = column("lower bound of the 95 % bootstrap interval of pgr")
    pgr_high: float | None = column("upper bound of the 95 % bootstrap interval of pgr")
    oracle_stopped_student: float | None = column(_ORACLE_STOPPED)
    oracle_stopped_pgr: float | None = column("PGR by oracle_stopped_student")
    oracle_stopped_cut: int = column(
        "1 if early stopping ended the student before its schedule, so that the evaluations after "
        "that, which may be better, are missing from oracle_stopped_student; else 0"
    )
    reason: str | None = column("why there is no PGR")
    no_intervals: str | None = column("why there are no bounds although the seed is complete")
    supervisor: str | None = column("id of the supervisor's fit; null while its study is not done")
    student: str | None = column("id of the student's fit; null while its study is not done")
    ceiling: str | None = column("id of the ceiling's fit; null while its study is not done")

    @property
    def is_complete(self) -> bool:
        return None not in (self.weak_accuracy, self.student_accuracy, self.ceiling_accuracy)

    @property
    def pgr_estimate(self) -> None:
        """Estimates without an interval are of means over seeds."""

    @property
    def is_of_one_seed(self) -> bool:
        """False: a seed's own row doesn't stand for others, so its cells needn't say it."""
        return False


@dataclass(frozen=True)
class Missing:
    """A seed that is left out of a row's means."""

    seed: int
    why: str


@dataclass(frozen=True)
class Row:
    """A task, a pair and a method: means over the complete seeds."""

    sweep: str = column("the sweep's name")
    task: str = column("the task's name")
    weak: str = column("the supervisor's model")
    strong: str = column("the student's and the ceiling's model")
    method: str = column("how the student is trained")
    control: int = column(_CONTROL)
    objective: RowObjective = column(_OBJECTIVE)
    weak_accuracy: float | None = column(
        "the supervisor's test accuracy; the mean over complete seeds"
    )
    student_accuracy: float | None = column(
        "the student's test accuracy; the mean over complete seeds"
    )
    ceiling_accuracy: float | None = column(
        "the ceiling's test accuracy; the mean over complete seeds"
    )
    gain: float | None = column("student_accuracy minus weak_accuracy")
    pgr: float | None = column(
        "(student - weak) / (ceiling - weak) of the means; null if the gap may not be above 0"
    )
    pgr_caution: str | None = column("why pgr says little: the gap is below 2 points")
    pgr_estimate: float | None = column(
        "pgr of the means where two or three seeds leave the interval of a gap of 2 points or more "
        "at 0, so that pgr is null: a point estimate without an interval, in no median; else null"
    )
    enough_seeds: int | None = column(
        "number of seeds at which the gap's interval would lie above 0 if gap and spread stay as "
        "they are; null without a positive gap and at least two seeds, and above 100"
    )
    weak_low: float | None = column("lower bound of the 95 % bootstrap interval of weak_accuracy")
    weak_high: float | None = column("upper bound of the 95 % bootstrap interval of weak_accuracy")
    student_low: float | None = column(
        "lower bound of the 95 % bootstrap interval of student_accuracy"
    )
    student_high: float | None = column(
        "upper bound of the 95 % bootstrap interval of student_accuracy"
    )
    ceiling_low: float | None = column(
        "lower bound of the 95 % bootstrap interval of ceiling_accuracy"
    )
    ceiling_high: float | None = column(
        "upper bound of the 95 % bootstrap interval of ceiling_accuracy"
    )
    gain_low: float | None = column("lower bound of the 95 % bootstrap interval of gain")
    gain_high: float | None = column("upper bound of the 95 % bootstrap interval of gain")
    gap_low: float | None = column(
        "lower bound of the 95 % bootstrap interval of ceiling minus supervisor"
    )
    gap_high: float | None = column(
        "upper bound of the 95 % bootstrap interval of ceiling minus supervisor"
    )
    pgr_low: float | None = column("lower bound of the 95 % bootstrap interval of pgr")
    pgr_high: float | None = column("upper bound of the 95 % bootstrap interval of pgr")
    intervals_over: Over | None = column(
        "what the bootstrap resamples: seeds and examples, or examples alone"
    )
    no_intervals: str | None = column("why there are no bounds although a seed is complete")
    oracle_stopped_student: float | None = column(_ORACLE_STOPPED)
    oracle_stopped_pgr: float | None = column("PGR by oracle_stopped_student")
    oracle_stopped_cut: int = column(
        "number of complete seeds whose student was ended by early stopping before its schedule; "
        "if above 0, the evaluations after that, which may be better, are missing from "
        "oracle_stopped_student"
    )
    reason: str | None = column("why there is no PGR")
    used_truth: str | None = column(
        "the rows whose ground truth a transform of the student's labels used (setting `truth`)"
    )
    cut_shots: str | None = column(
        "how many test prompts had fewer examples than `shots` because they were too long"
    )
    one_class: str | None = column(
        "the models that predict one class on all test rows, in words; null if none does"
    )
    weak_label_spread: float | None = column(
        "standard deviation of the supervisor's probability of class 1 over the student's rows; "
        "the mean over complete seeds. Null without two classes, and for fits of earlier versions"
    )
    weak_label_class_1: float | None = column(
        "share of the student's rows that the supervisor calls class 1; the same"
    )
    low_contrast: str | None = column(
        "set where weak_label_spread is below 0.1: these weak labels lie close together"
    )
    trials: int | None = column(
        "number of trials of the study that chose the method's settings; 0 without a search"
    )
    early_stopping: str | None = column(
        "the student's early stopping, its patience and metric; null without"
    )
    differs_from_ceiling: str | None = column(
        "settings of training and early stopping in which the student differs from its ceiling, "
        "with both values; null if none do"
    )
    differs_from_naive: str | None = column(
        "the same, in which the student differs from the student of the method naive; null if none "
        "do, or there is no such method"
    )
    unbeaten: str | None = column(
        "controls of the same task and pair that the student's accuracy does not beat, each with "
        "the difference in points and its 95 % interval, which does not lie above 0; null if there "
        "are none"
    )
    seeds: int = column("number of complete seeds, which the means are over")
    of_seeds: int = column("number of seeds in the sweep")
    student_sd: float | None = column(
        "sample standard deviation of the student's accuracy over seeds"
    )
    pgr_sd: float | None = column("sample standard deviation of PGR over seeds")
    missing: tuple[Missing, ...] = column("the seeds that are left out, and why", as_text=True)
    runs: tuple[str, ...] = column("ids of the runs that the means are over")

    @property
    def is_of_one_seed(self) -> bool:
        """Whether the intervals are about the runs of one seed alone."""
        return self.intervals_over == "examples"


@dataclass(frozen=True)
class MethodRow:
    """A method over all tasks and pairs of a sweep."""

    sweep: str = column("the sweep's name")
    method: str = column("how the student is trained")
    objective: RowObjective = column(_OBJECTIVE)
    median_pgr: float | None = column(
        "median of pgr over the tasks and pairs where every method of the sweep has one"
    )
    median_low: float | None = column(
        "lower bound of the 95 % bootstrap interval of median_pgr, for these tasks and pairs"
    )
    median_high: float | None = column(
        "upper bound of the 95 % bootstrap interval of median_pgr, for these tasks and pairs"
    )
    cells: int = column("number of rows that median_pgr is over, the same for every method")
    own_median_pgr: float | None = column(
        "median of pgr over all of the method's rows, which other methods may lack"
    )
    own_median_low: float | None = column(
        "lower bound of the 95 % bootstrap interval of own_median_pgr, for these tasks and pairs"
    )
    own_median_high: float | None = column(
        "upper bound of the 95 % bootstrap interval of own_median_pgr, for these tasks and pairs"
    )
    own_cells: int = column("number of rows that own_median_pgr is over")
    median_gain: float | None = column(
        "median of gain over the tasks and pairs where every method of the sweep is complete"
    )
    median_gain_low: float | None = column(
        "lower bound of the 95 % bootstrap interval of median_gain, for these tasks and pairs"
    )
    median_gain_high: float | None = column(
        "upper bound of the 95 % bootstrap interval of median_gain, for these tasks and pairs"
    )
    median_accuracy: float | None = column(
        "median of student_accuracy over the same tasks and pairs as median_gain"
    )
    median_accuracy_low: float | None = column(
        "lower bound of the 95 % bootstrap interval of median_accuracy, for these tasks and pairs"
    )
    median_accuracy_high: float | None = column(
        "upper bound of the 95 % bootstrap interval of median_accuracy, for these tasks and pairs"
    )
    complete_cells: int = column("number of rows that median_gain and median_accuracy are over")
    undefined: int = column("rows without a PGR because the gap may not be above 0")
    small_gaps: int = column("rows with a PGR and a gap below 2 points")
    missing: int = column("rows without a complete seed")
    left_out: int = column(
        "rows left out because ground truth of the cell itself, or of its task and strong model, "
        "chose a setting, if other rows remain"
    )
    intervals_over: Literal["seeds and examples", "examples", "tasks"] | None = column(
        "what the bootstrap resamples: seeds and examples, for these tasks and pairs; tasks, for "
        "new tasks (`w2s table --over-tasks`); null without intervals"
    )


class SeedRows(Sequence[SeedRow]):
    """Rows that are computed at the first access: there are many, and few commands use them."""

    def __init__(self, compute: Callable[[], tuple[SeedRow, ...]]) -> None:
        self._compute = compute

    @cached_property
    def _rows(self) -> tuple[SeedRow, ...]:
        return self._compute()

    @overload
    def __getitem__(self, index: int) -> SeedRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SeedRow, ...]: ...
    def __getitem__(self, index: int | slice) -> SeedRow | tuple[SeedRow, ...]:
        return self._rows[index]

    def __iter__(self) -> Iterator[SeedRow]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._rows == tuple(other)

    def __hash__(self) -> int:
        return hash(self._rows)


@dataclass(frozen=True, repr=False)
class PgrTable:
    """The PGR table of one or more sweeps: over seeds, by seed and by method.

    It shows itself as `w2s table` does, with accuracies in percent.
    """

    rows: tuple[Row, ...]
    by_seed: Sequence[SeedRow]
    by_method: tuple[MethodRow, ...]

    def __repr__(self) -> str:
        return "\n\n".join(table.text() for table in self._short_tables()) or "PgrTable: no rows"

    def _repr_html_(self) -> str:
        return "".join(table.html() for table in self._short_tables()) or "PgrTable: no rows"

    def _short_tables(self) -> list[ShortTable]:
        from w2s_ray.report.render import sheets

        return [sheet.short_table() for sheet in sheets(self)]


def to_cache(table: PgrTable) -> dict[str, Any]:
    """One sweep's rows as JSON values for `from_cache`, without the rows of single seeds."""
    return {
        "rows": [
            {**vars(row), "missing": [vars(one) for one in row.missing]} for row in table.rows
        ],
        "by_method": [vars(row) for row in table.by_method],
    }


def from_cache(cached: Mapping[str, Any], *, sweep: str) -> PgrTable:
    """The table of the values from `to_cache`, without the rows of single seeds."""
    rows = []
    for row in cached["rows"]:
        missing = tuple(Missing(**one) for one in row["missing"])
        rows.append(Row(**{**row, "sweep": sweep, "missing": missing, "runs": tuple(row["runs"])}))
    by_method = (MethodRow(**{**row, "sweep": sweep}) for row in cached["by_method"])
    return PgrTable(tuple(rows), (), tuple(by_method))
