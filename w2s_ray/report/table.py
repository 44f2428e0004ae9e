"""The PGR table: from a sweep's cells and the records of their runs to rows.

Owns the means of a row, its objective, and the reasons for missing seeds. A mean is over the seeds
whose supervisor, student and ceiling are all done, and a row's PGR is computed from the means. It
renders nothing and computes no intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

from w2s_ray.fits.contrast import low_contrast
from w2s_ray.report import tuning
from w2s_ray.report.cell import (
    ORACLE_STOPPED,
    accuracy,
    cut_shots,
    missing_runs,
    objective,
    one_class,
    stopped_early,
    used_truth,
)
from w2s_ray.report.controls import Students, unbeaten
from w2s_ray.report.medians import medians
from w2s_ray.report.objectives import least_honest
from w2s_ray.report.pgr import SMALL_GAP, Pgr, pgr
from w2s_ray.report.sealed import with_test_accuracy
from w2s_ray.report.statistics import Bootstrap, Group, RowIntervals, Trio, few_seeds
from w2s_ray.report.table_cache import SweepCache
from w2s_ray.report.table_rows import (
    MethodRow,
    Missing,
    Over,
    PgrTable,
    Row,
    SeedRow,
    SeedRows,
    from_cache,
    to_cache,
)
from w2s_ray.store import Cell, Record, Store

V = TypeVar("V")

_Replicate = tuple[str, str, str, int]
"""What the cells of different methods share: task, weak and strong model, seed."""
NAIVE = "naive"
"""The method that others are compared with: plain training on the weak labels."""


def pgr_table(store: Store, *, sweep: str | None = None) -> PgrTable:
    """The table of one sweep's latest manifest, or of every sweep's.

    Raises:
        StoreError: no store, or no such sweep.
    """
    store.check_readable()
    names = store.manifests.sweeps() if sweep is None else [sweep]
    return table_of({name: store.manifests.latest(name).cells for name in names}, store)


def table_of(cells: Mapping[str, Sequence[Cell]], store: Store) -> PgrTable:
    """The table of several sweeps from their runs in `store`; `cells`: sweep -> its cells.

    Values that are not cached are computed: intervals from the runs' predictions, rows from their
    records.
    """
    store = store.snapshot()
    sweep_cache = SweepCache(store, "rows", shape=(Row, Missing, MethodRow))
    tables: dict[str, PgrTable] = {}
    for name, of_sweep in cells.items():
        if (cached := sweep_cache.find(of_sweep, partial(from_cache, sweep=name))) is not None:
            tables[name] = cached
    computed, final = _compute({n: cells[n] for n in cells if n not in tables}, store)
    for name, table in computed.items() if final else ():
        sweep_cache.add(cells[name], to_cache(table), runs=_run_ids(cells[name]))
    sweep_cache.save()
    tables |= computed

    @cache
    def by_seed() -> tuple[SeedRow, ...]:
        lacking = {name: cells[name] for name in cells if name not in computed}
        whole = computed | _compute(lacking, store)[0]
        return tuple(row for name in cells for row in whole[name].by_seed)

    return PgrTable(
        rows=tuple(row for name in cells for row in tables[name].rows),
        by_seed=SeedRows(by_seed),
        by_method=tuple(row for name in cells for row in tables[name].by_method),
    )


def _compute(cells: Mapping[str, Sequence[Cell]], store: Store) -> tuple[dict[str, PgrTable], bool]:
    """The table of each sweep, computed from its runs, and whether all intervals are final."""
    ids = {id_ for of_sweep in cells.values() for id_ in _run_ids(of_sweep)}
    records = {record.id: record for record in store.latest(ids)} if ids else {}
    records = with_test_accuracy(store, records)
    bootstrap = Bootstrap(store, records)
    tables = {
        name: tabulate(of_sweep, records, sweep=name, bootstrap=bootstrap)
        for name, of_sweep in cells.items()
    }
    return tables, not bootstrap.may_change


def _run_ids(cells: Sequence[Cell]) -> Iterator[str]:
    """The runs that the rows of these cells depend on."""
    for cell in cells:
        yield from (*cell.runs, *cell.studies)


def tabulate(
    cells: Sequence[Cell],
    records: Mapping[str, Record],
    *,
    sweep: str,
    bootstrap: Bootstrap | None = None,
) -> PgrTable:
    """The table of `cells`, in their order, controls last.

    `records` has the latest record of each run. Without a `bootstrap` there are no intervals.
    """
    seeds = [_seed(cell, records) for cell in sorted(cells, key=lambda cell: cell.control)]
    grouped = _grouped(seeds, by=_place)
    groups = [_group(of_row) for of_row in grouped]
    found = bootstrap.rows(filter(None, groups)) if bootstrap else {}
    naive = {_replicate(seed): seed for seed in seeds if seed.cell.method == NAIVE}
    not_beaten = unbeaten(list(map(_students, grouped)), bootstrap=bootstrap)
    rows = [
        _row(
            of_row,
            records,
            sweep=sweep,
            found=found.get(group) if group else None,
            naive=naive,
            not_beaten=each,
        )
        for of_row, group, each in zip(grouped, groups, not_beaten, strict=True)
    ]
    by_seed = SeedRows(lambda: _seed_rows(seeds, records, sweep=sweep, bootstrap=bootstrap))
    return PgrTable(tuple(rows), by_seed, medians(rows, groups, bootstrap=bootstrap))


class _Seed(NamedTuple):
    """A cell with the test accuracies of its runs."""

    cell: Cell
    weak: float | None
    student: float | None
    ceiling: float | None

    @property
    def is_complete(self) -> bool:
        return self.weak is not None and self.student is not None and self.ceiling is not None

    @property
    def trio(self) -> Trio:
        """The runs of a complete seed."""
        cell = self.cell
        return Trio(cell.supervisor or "", cell.student or "", cell.ceiling or "")


def _seed(cell: Cell, records: Mapping[str, Record]) -> _Seed:
    return _Seed(
        cell,
        accuracy(records.get(cell.supervisor or "")),
        accuracy(records.get(cell.student or "")),
        accuracy(records.get(cell.ceiling or "")),
    )


def _place(seed: _Seed) -> tuple[str, str, str, str]:
    cell = seed.cell
    return cell.task, cell.weak, cell.strong, cell.method


def _replicate(seed: _Seed) -> _Replicate:
    return seed.cell.task, seed.cell.weak, seed.cell.strong, seed.cell.seed


def _group(seeds: Iterable[_Seed]) -> Group | None:
    """The runs that a row's means are over; None if no seed is complete."""
    complete = [seed for seed in seeds if seed.is_complete]
    if not complete:
        return None
    return Group(tuple(seed.cell.seed for seed in complete), tuple(seed.trio for seed in complete))


def _students(seeds: Sequence[_Seed]) -> Students:
    """The complete seeds of a row."""
    cell = seeds[0].cell
    return Students(
        place=(cell.task, cell.weak, cell.strong),
        method=cell.method,
        is_control=cell.control,
        accuracies={
            s.cell.seed: s.student for s in seeds if s.is_complete and s.student is not None
        },
        trios={s.cell.seed: s.trio for s in seeds if s.is_complete},
    )


def _seed_rows(
    seeds: Sequence[_Seed],
    records: Mapping[str, Record],
    *,
    sweep: str,
    bootstrap: Bootstrap | None,
) -> tuple[SeedRow, ...]:
    groups = [_group([seed]) for seed in seeds]
    found = bootstrap.rows((), of_seeds=filter(None, groups)) if bootstrap else {}
    return tuple(
        _seed_row(seed, records, sweep=sweep, found=found.get(group) if group else None)
        for seed, group in zip(seeds, groups, strict=True)
    )


def _seed_row(
    seed: _Seed, records: Mapping[str, Record], *, sweep: str, found: RowIntervals | str | None
) -> SeedRow:
    cell = seed.cell
    stopped = accuracy(records.get(cell.student or ""), figure=ORACLE_STOPPED)
    value = _pgr(seed.weak, seed.student, seed.ceiling, found)
    return SeedRow(
        sweep=sweep,
        task=cell.task,
        weak=cell.weak,
        strong=cell.strong,
        method=cell.method,
        control=int(cell.control),
        seed=cell.seed,
        objective=objective(cell, records),
        weak_accuracy=seed.weak,
        student_accuracy=seed.student,
        ceiling_accuracy=seed.ceiling,
        gain=_gain(seed.weak, seed.student),
        pgr=value.value if value else None,
        pgr_caution=value.caution if value else None,
        **_bounds(found, ("student", "gain", "pgr")),
        oracle_stopped_student=stopped,
        oracle_stopped_pgr=_value(_pgr(seed.weak, stopped, seed.ceiling, found)),
        oracle_stopped_cut=int(stopped_early(records.get(cell.student or ""))),
        reason=value.reason if value else missing_runs(cell, records),
        no_intervals=found if isinstance(found, str) else None,
        supervisor=cell.supervisor,
        student=cell.student,
        ceiling=cell.ceiling,
    )


def _row(
    seeds: Sequence[_Seed],
    records: Mapping[str, Record],
    *,
    sweep: str,
    found: RowIntervals | str | None,
    naive: Mapping[_Replicate, _Seed],
    not_beaten: str | None,
) -> Row:
    """One row from the seeds of a task, pair and method.

    `naive`: task, pair and seed -> that cell of the method naive. `not_beaten`: the controls that
    the row doesn't beat.
    """
    first, complete = seeds[0].cell, [seed for seed in seeds if seed.is_complete]
    # is_complete: none of the three is None
    weak = _mean([seed.weak for seed in complete if seed.weak is not None])
    students = [seed.student for seed in complete if seed.student is not None]
    student = _mean(students)
    ceiling = _mean([seed.ceiling for seed in complete if seed.ceiling is not None])
    stopped = _mean_if_stopped(complete, records)
    per_seed = [_value(_pgr(*seed[1:], None)) for seed in complete]
    missing = tuple(
        Missing(seed.cell.seed, missing_runs(seed.cell, records))
        for seed in seeds
        if not seed.is_complete
    )
    value = _pgr(weak, student, ceiling, found)
    is_few = 1 < len(complete) <= few_seeds.FEW and _is_wide(weak, ceiling)
    return Row(
        sweep=sweep,
        task=first.task,
        weak=first.weak,
        strong=first.strong,
        method=first.method,
        control=int(first.control),
        objective=least_honest([objective(seed.cell, records) for seed in seeds]),
        weak_accuracy=weak,
        student_accuracy=student,
        ceiling_accuracy=ceiling,
        gain=_gain(weak, student),
        pgr=value.value if value else None,
        pgr_caution=value.caution if value else None,
        pgr_estimate=value.estimate if value and value.value is None and is_few else None,
        enough_seeds=_enough_seeds(complete, found),
        **_bounds(found, ("weak", "student", "ceiling", "gap", "gain", "pgr")),
        intervals_over=_over(len(complete)) if isinstance(found, RowIntervals) else None,
        no_intervals=found if isinstance(found, str) else None,
        oracle_stopped_student=stopped,
        oracle_stopped_pgr=_value(_pgr(weak, stopped, ceiling, found)),
        oracle_stopped_cut=sum(
            stopped_early(records.get(seed.cell.student or "")) for seed in complete
        ),
        reason=value.reason if value else _summed_up(missing),
        used_truth=used_truth(records.get(seed.cell.student or "") for seed in complete),
        cut_shots=cut_shots(records.get(seed.cell.student or "") for seed in complete),
        one_class=one_class([seed.cell for seed in complete], records),
        **_contrast(complete, records),
        **_tuned(complete, records, naive=naive),
        unbeaten=not_beaten,
        seeds=len(complete),
        of_seeds=len(seeds),
        student_sd=_sd(students),
        pgr_sd=_sd([pgr for pgr in per_seed if pgr is not None]),
        missing=missing,
        runs=tuple(dict.fromkeys(id_ for seed in complete for id_ in _runs(seed.cell))),
    )


def _is_wide(weak: float | None, ceiling: float | None) -> bool:
    """Whether the gap is at least 2 points, so that PGR doesn't divide by almost nothing."""
    return weak is not None and ceiling is not None and ceiling - weak >= SMALL_GAP


def _enough_seeds(complete: Sequence[_Seed], found: RowIntervals | str | None) -> int | None:
    """The number of seeds that would show the row's gap; None without a gap or several seeds."""
    gaps = [
        seed.ceiling - seed.weak
        for seed in complete
        if seed.ceiling is not None and seed.weak is not None
    ]
    spread, gap = _sd(gaps), _mean(gaps)
    if spread is None or gap is None or gap <= 0 or not isinstance(found, RowIntervals):
        return None
    return few_seeds.enough_seeds(
        gap=gap, sd=spread, low=found.gap.low, high=found.gap.high, seeds=len(gaps)
    )


def _tuned(
    complete: Sequence[_Seed],
    records: Mapping[str, Record],
    *,
    naive: Mapping[_Replicate, _Seed],
) -> dict[str, Any]:
    """How the students of a row's complete seeds were tuned, as columns."""
    cells = [seed.cell for seed in complete]
    students = [records.get(cell.student or "") for cell in cells]
    ceilings = [records.get(cell.ceiling or "") for cell in cells]
    others = [naive.get(_replicate(seed)) for seed in complete]
    plain = [records.get(other.cell.student or "") if other else None for other in others]
    trials = [found for cell in cells if (found := tuning.trials(cell, records)) is not None]
    return {
        "trials": max(trials, default=None),
        "early_stopping": next(filter(None, map(tuning.stopping, students)), None),
        "differs_from_ceiling": tuning.differences(
            list(zip(students, ceilings, strict=True)), other="ceiling"
        ),
        "differs_from_naive": tuning.differences(
            list(zip(students, plain, strict=True)), other=NAIVE
        ),
    }


def _contrast(complete: Sequence[_Seed], records: Mapping[str, Record]) -> dict[str, Any]:
    """How far apart the supervisor's labels of the student's rows lie, as columns."""
    supervisors = [records.get(seed.cell.supervisor or "") for seed in complete]
    spread, class_1 = (
        _mean_if_all([accuracy(each, figure=f"student_half_{name}") for each in supervisors])
        for name in ("spread", "class_1")
    )
    figures = low_contrast(spread, class_1)
    low = None if figures is None else f"weak labels lie close together ({figures})"
    return {"weak_label_spread": spread, "weak_label_class_1": class_1, "low_contrast": low}


def _runs(cell: Cell) -> Iterator[str]:
    yield from filter(None, (cell.supervisor, cell.student, cell.ceiling))


def _mean_if_stopped(complete: Iterable[_Seed], records: Mapping[str, Record]) -> float | None:
    """The students' mean accuracy if ground truth had stopped them; None unless all have it."""
    students = (records.get(seed.cell.student or "") for seed in complete)
    return _mean_if_all([accuracy(each, figure=ORACLE_STOPPED) for each in students])


def _pgr(
    weak: float | None,
    student: float | None,
    ceiling: float | None,
    found: RowIntervals | str | None,
) -> Pgr | None:
    """PGR if all three accuracies exist; the gap's interval, if there is one, must lie above 0."""
    if weak is None or student is None or ceiling is None:
        return None
    gap = (found.gap.low, found.gap.high) if isinstance(found, RowIntervals) else None
    return pgr(weak, student=student, ceiling=ceiling, gap_within=gap)


def _gain(weak: float | None, student: float | None) -> float | None:
    return None if weak is None or student is None else student - weak


def _value(found: Pgr | None) -> float | None:
    return None if found is None else found.value


def _bounds(found: RowIntervals | str | None, figures: Iterable[str]) -> dict[str, Any]:
    """The columns `FIGURE_low` and `FIGURE_high`."""
    bounds: dict[str, float | None] = {}
    for figure in figures:
        interval = getattr(found, figure) if isinstance(found, RowIntervals) else None
        bounds[f"{figure}_low"] = None if interval is None else interval.low
        bounds[f"{figure}_high"] = None if interval is None else interval.high
    return bounds


def _over(seeds: int) -> Over:
    return "seeds and examples" if seeds > 1 else "examples"


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _mean_if_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None


def _sd(values: Sequence[float]) -> float | None:
    """The sample standard deviation; `statistics.stdev` uses fractions and is 30 times slower."""
    if len(values) < 2:
        return None
    mean = fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _summed_up(missing: Sequence[Missing]) -> str:
    """Why no seed is complete: each reason once."""
    return "; ".join(dict.fromkeys(seed.why for seed in missing))


def _grouped(rows: Iterable[V], *, by: Callable[[V], Hashable]) -> list[list[V]]:
    """Rows of equal keys together, in the order of first appearance."""
    groups: dict[Hashable, list[V]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return list(groups.values())
