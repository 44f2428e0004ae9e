"""The data of figures: the PGR table's rows with model sizes, and metrics from the store.

Owns the conversion of results to plain rows. Values of the table and of the store keep their names;
names of pairs, sizes and order are added. It draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from w2s_ray.report.statistics.eval_sets import READERS
from w2s_ray.report.table import PgrTable, Row, SeedRow
from w2s_ray.store import Cell, Record, Store
from w2s_ray.store.damage import none_if_damaged

if TYPE_CHECKING:
    import pyarrow as pa

    from w2s_ray.report.results import Results

XAxis = Literal["parameters", "flops"]


@dataclass(frozen=True)
class FigureData:
    """The data of all figures of a sweep."""

    results: Results
    sweep: str
    cells: tuple[Cell, ...]
    """Without controls."""
    records: Mapping[str, Record]
    """Run id -> its latest record, for the runs of the sweep's cells."""
    models: tuple[str, ...]
    """Model labels, smallest first."""
    methods: tuple[str, ...]
    sizes: Mapping[str, float]
    """Model label -> its parameters, without adapters; models of unknown size are left out."""

    @property
    def store(self) -> Store:
        return self.results.store

    @cached_property
    def table(self) -> PgrTable:
        return self.results.table(self.sweep)

    def x_of(self, run: str | None, label: str, *, x: XAxis) -> float | None:
        """The size of a run's model, or the FLOPs of its training."""
        if x == "parameters":
            return self.sizes.get(label)
        return figure(self.records.get(run or ""), "training_flops")

    def metrics(self, runs: Iterable[str]) -> Iterator[tuple[str, int, str, float]]:
        """Run, step, metric and value of the metrics on validation rows and of the oracle stop."""
        records = (self.records.get(run) for run in runs)
        kept = [record.id for record in records if record and "metrics.parquet" in record.bytes]
        with ThreadPoolExecutor(READERS) as readers:
            for run, table in zip(kept, readers.map(self._metrics, kept), strict=True):
                for row in table.to_pylist() if table is not None else ():
                    if row["metric"].startswith(("validation/", "oracle/")):
                        yield run, row["step"], row["metric"], row["value"]

    def _metrics(self, run: str) -> pa.Table | None:
        return none_if_damaged(lambda: self.store.metrics(run))


def load_figure_data(results: Results, sweep: str) -> FigureData:
    """Read what figures need of a sweep.

    Raises:
        StoreError: no such sweep.
    """
    every = results.store.manifests.latest(sweep).cells
    cells = tuple(cell for cell in every if not cell.control)
    run_ids = {run for cell in every for run in (*cell.runs, *cell.studies)}
    records = {record.id: record for record in results.store.latest(run_ids)}
    labels = dict.fromkeys(label for cell in cells for label in (cell.weak, cell.strong))
    sizes = _sizes(every, records)
    return FigureData(
        results=results,
        sweep=sweep,
        cells=cells,
        records=records,
        models=tuple(sorted(labels, key=lambda label: sizes.get(label, float("inf")))),
        methods=tuple(dict.fromkeys(cell.method for cell in cells)),
        sizes=sizes,
    )


def _sizes(cells: Iterable[Cell], records: Mapping[str, Record]) -> dict[str, float]:
    """Model label -> the parameters of the base model, the same for every way of training it.

    Labels of one base model have one size. It is the largest of its fits' sizes without adapters,
    since a probe on stored activations counts its head alone.
    """
    bases: dict[str, set[str]] = {}
    sizes: dict[str, float] = {}
    for cell in cells:
        used = (
            (cell.weak, cell.supervisor),
            (cell.strong, cell.ceiling),
            (cell.strong, cell.student),
        )
        for label, run in used:
            record = records.get(run or "")
            size = _base_parameters(record)
            if record is not None and size is not None:
                base = str(record.recipe.get("model"))
                bases.setdefault(label, set()).add(base)
                sizes[base] = max(size, sizes.get(base, 0.0))
    return {label: max(sizes[base] for base in found) for label, found in bases.items()}


def _base_parameters(record: Record | None) -> float | None:
    """Parameters of a fit's model without its adapters."""
    every, trained = figure(record, "parameters"), figure(record, "trained_parameters")
    training = (record.recipe.get("training") or {}) if record else {}
    has_adapters = (training.get("tuning") or {}).get("kind") == "lora"
    return every - trained if has_adapters and every and trained else every


def figure(record: Record | None, name: str) -> float | None:
    """A value of a run's summary, if it is a number."""
    value = record.summary.get(name) if record else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def table_rows(data: FigureData, *, x: XAxis) -> list[dict[str, Any]]:
    """The PGR table's rows, each with the sizes of its three models.

    `weak_x`, `student_x` and `ceiling_x` are the base models' parameters, or FLOPs of the runs' own
    training, means over the row's seeds. `runs` is a text, `pair` the name of the pair of models.
    """
    seeds: dict[tuple[str, ...], list[SeedRow]] = {}
    for seed in data.table.by_seed:
        if None not in (seed.weak_accuracy, seed.student_accuracy, seed.ceiling_accuracy):
            seeds.setdefault((seed.task, seed.weak, seed.strong, seed.method), []).append(seed)

    def mean(ids: Iterable[str | None], label: str) -> float | None:
        found = [data.x_of(id_, label, x=x) for id_ in ids]
        known = [value for value in found if value is not None]
        return fmean(known) if known and len(known) == len(found) else None

    def row_of(row: Row) -> dict[str, Any]:
        group = seeds.get((row.task, row.weak, row.strong, row.method), [])
        return {
            **asdict(row),
            "missing": "; ".join(f"seed {each.seed}: {each.why}" for each in row.missing),
            "runs": " ".join(row.runs),
            "pair": pair(row.weak, row.strong),
            "weak_x": mean((seed.supervisor for seed in group), row.weak),
            "student_x": mean((seed.student for seed in group), row.strong),
            "ceiling_x": mean((seed.ceiling for seed in group), row.strong),
        }

    return [row_of(row) for row in data.table.rows]


def pair(weak: str, strong: str) -> str:
    """A pair's name in the form of the table."""
    return f"{weak} → {strong}"


def by_size(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[str]:
    """Names of the pairs in `rows`, sorted by the supervisor's size, then by the student's."""
    found = {(row["weak"], row["strong"]) for row in rows}
    ordered = sorted(found, key=lambda each: (models.index(each[0]), models.index(each[1])))
    return [pair(weak, strong) for weak, strong in ordered]
