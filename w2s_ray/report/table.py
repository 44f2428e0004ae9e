"""The PGR table: from a sweep's cells and the records of their runs to rows.

Owns what a row averages, what label it carries and why a seed is missing. A mean is over the seeds
for which supervisor, student and ceiling are all there, and a row's PGR is that of the means. It
knows nothing of how rows are shown, and nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import TypeVar

from w2s_ray.report.cell import ORACLE_STOPPED, accuracy, missing_runs, objective
from w2s_ray.report.pgr import pgr
from w2s_ray.store import Cell, Objective, Record, Store

V = TypeVar("V")


@dataclass(frozen=True)
class SeedRow:
    """One cell: a task, a pair, a method and a seed."""

    sweep: str
    task: str
    weak: str
    strong: str
    method: str
    seed: int
    objective: Objective
    weak_accuracy: float | None
    student_accuracy: float | None
    ceiling_accuracy: float | None
    pgr: float | None
    oracle_stopped_student: float | None
    """The student's accuracy, had ground truth chosen when it stops, which is not the method's
    result. None where it was not noted."""
    oracle_stopped_pgr: float | None
    """PGR of that student, with supervisor and ceiling as they are reported."""
    reason: str | None
    """Why there is no PGR: what is missing, or that there is no gap."""
    supervisor: str
    student: str | None
    ceiling: str

    @property
    def is_complete(self) -> bool:
        return None not in (self.weak_accuracy, self.student_accuracy, self.ceiling_accuracy)


@dataclass(frozen=True)
class Missing:
    """A seed that a row's means leave out."""

    seed: int
    why: str


@dataclass(frozen=True)
class Row:
    """A task, a pair and a method: means over the complete seeds."""

    sweep: str
    task: str
    weak: str
    strong: str
    method: str
    objective: Objective
    """What chose the settings; `oracle` also where the cell's own ground truth did so otherwise."""
    weak_accuracy: float | None
    student_accuracy: float | None
    ceiling_accuracy: float | None
    pgr: float | None
    """PGR of the three means."""
    oracle_stopped_student: float | None
    """Mean accuracy of the students, had ground truth chosen when they stop, which is not the
    method's result. None unless every seed of the mean has it."""
    oracle_stopped_pgr: float | None
    """PGR of that mean, with supervisor and ceiling as they are reported."""
    reason: str | None
    """Why there is no PGR."""
    seeds: int
    """Seeds that the means are over."""
    of_seeds: int
    """Seeds that the sweep asks for."""
    student_sd: float | None
    """Sample standard deviation of the student's accuracy over seeds; None with fewer than two."""
    pgr_sd: float | None
    """The same for the PGR of each seed, over the seeds that have one."""
    missing: tuple[Missing, ...]
    runs: tuple[str, ...]
    """Ids of the runs that the means are over."""


@dataclass(frozen=True)
class MethodRow:
    """A method over all tasks and pairs of a sweep."""

    sweep: str
    method: str
    objective: Objective
    median_pgr: float | None
    cells: int
    """Rows that the median is over."""
    undefined: int
    """Rows without a gap to recover."""
    missing: int
    """Rows without a complete seed."""
    left_out: int
    """Rows whose own ground truth chose the setting, beside rows for which it did not."""


@dataclass(frozen=True)
class PgrTable:
    """Everything that a sweep says about PGR."""

    rows: tuple[Row, ...]
    by_seed: tuple[SeedRow, ...]
    by_method: tuple[MethodRow, ...]


def pgr_table(store: Store, *, sweep: str | None = None) -> PgrTable:
    """The table of one sweep's latest manifest, or of every sweep's.

    Raises:
        StoreError: no store, or no such sweep.
    """
    store.check_readable()
    names = store.sweep_names() if sweep is None else [sweep]
    return table_of({name: store.latest_manifest(name).cells for name in names}, store)


def table_of(cells: Mapping[str, Sequence[Cell]], store: Store) -> PgrTable:
    """The table of some sweeps' cells (by the sweep's name), with what `store` knows of them."""
    wanted = {
        id_
        for of_sweep in cells.values()
        for cell in of_sweep
        for id_ in (cell.supervisor, cell.ceiling, cell.student, cell.study)
        if id_
    }
    records = {record.id: record for record in store.latest(wanted)}
    tables = [tabulate(of_sweep, records, sweep=name) for name, of_sweep in cells.items()]
    return PgrTable(
        rows=tuple(row for table in tables for row in table.rows),
        by_seed=tuple(row for table in tables for row in table.by_seed),
        by_method=tuple(row for table in tables for row in table.by_method),
    )


def tabulate(cells: Sequence[Cell], records: Mapping[str, Record], *, sweep: str) -> PgrTable:
    """The table of `cells`, in their order; `records` say how each run stands."""
    by_seed = tuple(_seed_row(cell, records, sweep=sweep) for cell in cells)
    rows = tuple(
        _row(group)
        for group in _grouped(by_seed, by=lambda row: (row.task, row.weak, row.strong, row.method))
    )
    by_method = tuple(_method_row(group) for group in _grouped(rows, by=lambda row: row.method))
    return PgrTable(rows, by_seed, by_method)


def _seed_row(cell: Cell, records: Mapping[str, Record], *, sweep: str) -> SeedRow:
    weak = accuracy(records.get(cell.supervisor))
    student = accuracy(records.get(cell.student or ""))
    ceiling = accuracy(records.get(cell.ceiling))
    stopped = accuracy(records.get(cell.student or ""), figure=ORACLE_STOPPED)
    if weak is None or student is None or ceiling is None:
        value, reason = None, missing_runs(cell, records)
    else:
        found = pgr(weak, student=student, ceiling=ceiling)
        value, reason = found.value, found.reason
    return SeedRow(
        sweep=sweep,
        **cell.model_dump(include={"task", "weak", "strong", "method", "seed"}),
        objective=objective(cell, records),
        weak_accuracy=weak,
        student_accuracy=student,
        ceiling_accuracy=ceiling,
        pgr=value,
        oracle_stopped_student=stopped,
        oracle_stopped_pgr=_pgr_or_none(weak, stopped, ceiling),
        reason=reason,
        supervisor=cell.supervisor,
        student=cell.student,
        ceiling=cell.ceiling,
    )


def _row(group: Sequence[SeedRow]) -> Row:
    """One row from the seeds of a task, pair and method."""
    first, complete = group[0], [row for row in group if row.is_complete]
    # is_complete: none of the three is None
    weak = _mean([row.weak_accuracy for row in complete if row.weak_accuracy is not None])
    students = [row.student_accuracy for row in complete if row.student_accuracy is not None]
    student = _mean(students)
    ceiling = _mean([row.ceiling_accuracy for row in complete if row.ceiling_accuracy is not None])
    noted = [s for row in complete if (s := row.oracle_stopped_student) is not None]
    stopped = _mean(noted) if len(noted) == len(complete) else None
    per_seed = [row.pgr for row in complete if row.pgr is not None]
    missing = tuple(Missing(row.seed, row.reason or "") for row in group if not row.is_complete)
    if weak is not None and student is not None and ceiling is not None:
        found = pgr(weak, student=student, ceiling=ceiling)
        value, reason = found.value, found.reason
    else:
        value, reason = None, _summed_up(missing)
    labels = {row.objective for row in group}
    return Row(
        sweep=first.sweep,
        task=first.task,
        weak=first.weak,
        strong=first.strong,
        method=first.method,
        objective="oracle" if "oracle" in labels else first.objective,
        weak_accuracy=weak,
        student_accuracy=student,
        ceiling_accuracy=ceiling,
        pgr=value,
        oracle_stopped_student=stopped,
        oracle_stopped_pgr=_pgr_or_none(weak, stopped, ceiling),
        reason=reason,
        seeds=len(complete),
        of_seeds=len(group),
        student_sd=stdev(students) if len(students) > 1 else None,
        pgr_sd=stdev(per_seed) if len(per_seed) > 1 else None,
        missing=missing,
        runs=tuple(
            dict.fromkeys(
                id_ for row in complete for id_ in (row.supervisor, row.student, row.ceiling) if id_
            )
        ),
    )


def _pgr_or_none(weak: float | None, student: float | None, ceiling: float | None) -> float | None:
    """PGR where all three are known and there is a gap."""
    if weak is None or student is None or ceiling is None:
        return None
    return pgr(weak, student=student, ceiling=ceiling).value


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _method_row(rows: Sequence[Row]) -> MethodRow:
    """A method's median. Rows that saw their own ground truth count only where all rows did."""
    counted = [row for row in rows if row.objective != "oracle"] or rows
    values = [row.pgr for row in counted if row.pgr is not None]
    return MethodRow(
        sweep=rows[0].sweep,
        method=rows[0].method,
        objective=counted[0].objective,
        median_pgr=median(values) if values else None,
        cells=len(values),
        undefined=sum(row.pgr is None and row.seeds > 0 for row in counted),
        missing=sum(row.seeds == 0 for row in counted),
        left_out=len(rows) - len(counted),
    )


def _summed_up(missing: Sequence[Missing]) -> str:
    """Why no seed is complete: the reasons, each once."""
    return "; ".join(dict.fromkeys(seed.why for seed in missing))


def _grouped(rows: Iterable[V], *, by: Callable[[V], Hashable]) -> list[list[V]]:
    """Rows of equal keys together, in the order of first appearance."""
    groups: dict[Hashable, list[V]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return list(groups.values())
