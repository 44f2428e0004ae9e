"""Comparisons of two methods over the tasks and pairs that both have.

Owns which rows are compared, over which seeds, and which rows are left out and counted. Both
figures of a row are over the same seeds and test examples, so effects that they share cancel.
`report.differences` computes intervals, `report.signed_rank` p values. It renders nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from w2s_ray.errors import InputError
from w2s_ray.report.common_rows import Place, place_of
from w2s_ray.report.comparison import Comparison, Quantity
from w2s_ray.report.controls import beats, named
from w2s_ray.report.differences import (
    DifferenceIntervals,
    RowPairs,
    freedom_of_mean,
    intervals,
    intervals_over_tasks,
)
from w2s_ray.report.objectives import RowObjective, counted
from w2s_ray.report.pgr import pgr
from w2s_ray.report.row_groups import group_of
from w2s_ray.report.signed_rank import holm, signed_rank
from w2s_ray.report.statistics import Bootstrap, Group, RowIntervals
from w2s_ray.report.statistics.new_tasks import Over
from w2s_ray.report.table_rows import PgrTable, SeedRow
from w2s_ray.report.tuning import differences, stops_early
from w2s_ray.store import Record, Store

Gaps = Mapping[Group, RowIntervals | str]
"""Runs of a row -> the row's intervals, or why there are none."""


def compare(
    table: PgrTable, store: Store, *, against: str | None = "naive", over_tasks: bool = False
) -> tuple[Comparison, ...]:
    """Every method of each sweep in `table` against one, or (None) against each of the others.

    Controls are no methods; `against` may be one. Rows are the tasks and pairs that both methods
    have; means are over the seeds complete in both. `over_tasks`: intervals for new tasks, from
    resampled tasks.

    Raises:
        InputError: no sweep has the method `against`.
    """
    methods = {row.method for row in table.rows}
    if against is not None and table.rows and against not in methods:
        raise InputError(
            f"no method {against!r} to compare with; there are {', '.join(sorted(methods))}"
        )
    method_pairs = list(_method_pairs(table, against))
    groups = {group for methods in method_pairs for pair in methods.pairs for group in pair.groups}
    records = {r.id: r for r in store.latest({run for group in groups for run in group.runs})}
    gaps = Bootstrap(store, records).rows((), of_seeds=groups)
    differences = [
        _Difference(methods, quantity, gaps)
        for methods in method_pairs
        for quantity in ("pgr", "student_accuracy")
    ]
    if over_tasks:
        found = [each.over_tasks() for each in differences]
    else:
        found = intervals([each.rows for each in differences], store=store, records=records)
    not_beaten = _unbeaten(table, store)
    return _with_holm(
        [
            each.comparison(within, records, not_beaten)
            for each, within in zip(differences, found, strict=True)
        ]
    )


def _unbeaten(table: PgrTable, store: Store) -> dict[tuple[str, str], str]:
    """(sweep, method) -> the controls that it doesn't beat over the rows of both, in words."""
    pairs = [
        _method_pair(sweep, method, control)
        for sweep in dict.fromkeys(row.sweep for row in table.rows if row.control)
        for method in _methods(table, sweep, controls=False).values()
        for control in _methods(table, sweep, controls=True).values()
    ]
    compared = [_Difference(pair, "student_accuracy", {}) for pair in pairs if pair.pairs]
    runs = {run for each in compared for pair in each.methods.pairs for run in pair.runs}
    records = {record.id: record for record in store.latest(runs)} if runs else {}
    found = intervals([each.rows for each in compared], store=store, records=records)
    texts: dict[tuple[str, str], list[str]] = {}
    for each, within in zip(compared, found, strict=True):
        mean = fmean(difference for _, difference in each.by_pair)
        low, high = (within.mean.low, within.mean.high) if within.mean else (None, None)
        if not beats(mean, low):
            place = each.methods.sweep, each.methods.method
            texts.setdefault(place, []).append(named(each.methods.against, mean, low, high))
    return {place: ", ".join(of_method) for place, of_method in texts.items()}


@dataclass(frozen=True)
class _Side:
    """One method at one place, over the compared seeds."""

    seeds: tuple[SeedRow, ...]

    @property
    def group(self) -> Group:
        return group_of(self.seeds)

    @property
    def student_accuracy(self) -> float:
        return fmean(row.student_accuracy or 0.0 for row in self.seeds)

    @property
    def gap(self) -> float:
        """Ceiling minus supervisor."""
        return fmean(
            (row.ceiling_accuracy or 0.0) - (row.weak_accuracy or 0.0) for row in self.seeds
        )

    def pgr(self, gaps: Gaps) -> float | None:
        """PGR of the means; None if the gap may not be above 0."""
        found = gaps[self.group]
        return pgr(
            fmean(row.weak_accuracy or 0.0 for row in self.seeds),
            student=self.student_accuracy,
            ceiling=fmean(row.ceiling_accuracy or 0.0 for row in self.seeds),
            gap_within=None if isinstance(found, str) else (found.gap.low, found.gap.high),
        ).value


@dataclass(frozen=True)
class _Pair:
    """Two methods at one place, over the same seeds."""

    ours: _Side
    theirs: _Side

    @property
    def groups(self) -> tuple[Group, Group]:
        return self.ours.group, self.theirs.group

    @property
    def runs(self) -> set[str]:
        return {run for group in self.groups for run in group.runs}

    @property
    def task(self) -> str:
        return self.ours.seeds[0].task

    def by_seed(self, quantity: Quantity) -> Mapping[int, float]:
        """The difference for each seed; for PGR, every seed is taken to have the mean gap."""
        gap = 1.0 if quantity == "student_accuracy" else self.theirs.gap
        return {
            one.seed: ((one.student_accuracy or 0.0) - (other.student_accuracy or 0.0)) / gap
            for one, other in zip(self.ours.seeds, self.theirs.seeds, strict=True)
        }

    def difference(self, quantity: Quantity, gaps: Gaps) -> float | None:
        if quantity == "student_accuracy":
            return self.ours.student_accuracy - self.theirs.student_accuracy
        one, other = self.ours.pgr(gaps), self.theirs.pgr(gaps)
        return None if one is None or other is None else one - other


@dataclass(frozen=True)
class _MethodPair:
    """A sweep's method and the method that it is compared with."""

    sweep: str
    method: str
    against: str
    objective: RowObjective
    against_objective: RowObjective
    trials: int | None
    against_trials: int | None
    pairs: tuple[_Pair, ...]
    left_out: int
    missing: int

    def students(self, records: Mapping[str, Record]) -> list[tuple[Record, Record]]:
        """The compared students, seed by seed: the method's and the other's."""
        trios = (
            (one, other)
            for pair in self.pairs
            for one, other in zip(*(group.trios for group in pair.groups), strict=True)
        )
        return [(records[one.student], records[other.student]) for one, other in trios]


def _method_pairs(table: PgrTable, against: str | None) -> Iterator[_MethodPair]:
    for sweep in dict.fromkeys(row.sweep for row in table.rows):
        methods = _methods(table, sweep, controls=False)
        others = methods if against is None else methods | _methods(table, sweep, controls=True)
        for other in methods if against is None else {against} & others.keys():
            for name in methods:
                if name != other:
                    yield _method_pair(sweep, methods[name], others[other])


@dataclass(frozen=True)
class _Method:
    """A method's places, and those left out because ground truth chose a setting."""

    name: str
    objective: RowObjective
    trials: int | None
    complete: Mapping[Place, Mapping[int, SeedRow]]
    """Compared place -> its complete seeds."""
    left_out: frozenset[Place]
    """Places left out."""


def _methods(table: PgrTable, sweep: str, *, controls: bool) -> dict[str, _Method]:
    """The sweep's methods, or its controls, by name."""
    found = {}
    of_sweep = (row for row in table.rows if row.sweep == sweep and bool(row.control) == controls)
    for name in dict.fromkeys(row.method for row in of_sweep):
        rows = [row for row in table.rows if (row.sweep, row.method) == (sweep, name)]
        kept = counted(rows, by=lambda row: row.objective)
        complete: dict[Place, dict[int, SeedRow]] = {place_of(row): {} for row in kept}
        for seed in table.by_seed:
            if (seed.sweep, seed.method) == (sweep, name) and seed.is_complete:
                complete.get(place_of(seed), {})[seed.seed] = seed
        left_out = frozenset(map(place_of, rows)) - complete.keys()
        trials = max((row.trials for row in kept if row.trials is not None), default=None)
        found[name] = _Method(name, kept[0].objective, trials, complete, left_out)
    return found


def _method_pair(sweep: str, ours: _Method, theirs: _Method) -> _MethodPair:
    left_out = ours.left_out | theirs.left_out
    places = [place for place in {**theirs.complete, **ours.complete} if place not in left_out]
    pairs = []
    for place in places:
        one, other = ours.complete.get(place, {}), theirs.complete.get(place, {})
        common = sorted(one.keys() & other.keys())
        if common:
            sides = (_Side(tuple(side[seed] for seed in common)) for side in (one, other))
            pairs.append(_Pair(*sides))
    return _MethodPair(
        sweep=sweep,
        method=ours.name,
        against=theirs.name,
        objective=ours.objective,
        against_objective=theirs.objective,
        trials=ours.trials,
        against_trials=theirs.trials,
        pairs=tuple(pairs),
        left_out=len(left_out),
        missing=len(places) - len(pairs),
    )


@dataclass(frozen=True)
class _Difference:
    """The difference between two methods in one quantity."""

    methods: _MethodPair
    quantity: Quantity
    gaps: Gaps

    @property
    def by_pair(self) -> list[tuple[_Pair, float]]:
        """Each pair whose two sides have the quantity, with the difference."""
        found = ((pair, pair.difference(self.quantity, self.gaps)) for pair in self.methods.pairs)
        return [(pair, difference) for pair, difference in found if difference is not None]

    @property
    def rows(self) -> RowPairs:
        """The rows for the bootstrap, with the degrees of freedom of their mean."""
        pairs = [pair for pair, _ in self.by_pair]
        scatter = [pair.by_seed(self.quantity) for pair in pairs]
        freedom = freedom_of_mean([pair.task for pair in pairs], scatter)
        return RowPairs(
            self.quantity,
            tuple(
                (replace(ours, freedom=freedom), replace(theirs, freedom=freedom))
                for ours, theirs in (pair.groups for pair in pairs)
            ),
        )

    def over_tasks(self) -> DifferenceIntervals:
        """The intervals of its mean and median for new tasks."""
        values = [difference for _, difference in self.by_pair]
        return intervals_over_tasks(values, [pair.task for pair, _ in self.by_pair])

    def comparison(
        self,
        within: DifferenceIntervals,
        records: Mapping[str, Record],
        not_beaten: Mapping[tuple[str, str], str],
    ) -> Comparison:
        """The comparison with the given intervals, without Holm's correction.

        `not_beaten`: (sweep, method) -> the controls that it doesn't beat.
        """
        methods, found = self.methods, self.by_pair
        values = [difference for _, difference in found]
        test = signed_rank(values)
        of_mean, of_median = within.mean, within.median
        seeds = min((len(pair.ours.seeds) for pair, _ in found), default=0)
        return Comparison(
            sweep=methods.sweep,
            method=methods.method,
            against=methods.against,
            quantity=self.quantity,
            objective=methods.objective,
            against_objective=methods.against_objective,
            trials=methods.trials,
            against_trials=methods.against_trials,
            differs=differences(methods.students(records), other=methods.against),
            stops_early=stops_early(methods.students(records)),
            mean=fmean(values) if values else None,
            mean_low=of_mean.low if of_mean else None,
            mean_high=of_mean.high if of_mean else None,
            median=median(values) if values else None,
            median_low=of_median.low if of_median else None,
            median_high=of_median.high if of_median else None,
            no_interval=within.reason,
            intervals_over=_over(within, seeds=seeds),
            p=test.p,
            p_holm=None,
            no_p=test.reason,
            unbeaten=not_beaten.get((methods.sweep, methods.method)),
            against_unbeaten=not_beaten.get((methods.sweep, methods.against)),
            rows=len(values),
            tasks=len({pair.task for pair, _ in found}),
            seeds=seeds,
            without_pgr=len(methods.pairs) - len(values),
            left_out=methods.left_out,
            missing=methods.missing,
        )


def _over(within: DifferenceIntervals, *, seeds: int) -> Over | None:
    """What the intervals cover; None if there are none."""
    if within.mean is None and within.median is None:
        return None
    if within.over_tasks:
        return "tasks"
    return "seeds and examples" if seeds > 1 else "examples"


def _with_holm(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Add Holm's correction over all methods compared with one method in one quantity."""
    families: dict[tuple[str, str, str], list[Comparison]] = {}
    for one in comparisons:
        if one.p is not None:
            families.setdefault((one.sweep, one.against, one.quantity), []).append(one)
    corrected = {}
    for family in families.values():
        p_values = holm([one.p for one in family if one.p is not None])
        corrected |= {_name(one): p for one, p in zip(family, p_values, strict=True)}
    return tuple(replace(one, p_holm=corrected.get(_name(one))) for one in comparisons)


def _name(one: Comparison) -> tuple[str, str, str, str]:
    return one.sweep, one.method, one.against, one.quantity
