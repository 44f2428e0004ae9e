"""The content of the page: a store's sweeps and their runs, as JSON values.

Owns the choice of values: the runs of a sweep with their roles, and the shown parts of a record.
The table, savings and figures are computed in their own modules, and nothing is computed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from w2s_ray.report import rank_sheets
from w2s_ray.report.compare import compare
from w2s_ray.report.figures import Figure, figures_of
from w2s_ray.report.figures.theme import config
from w2s_ray.report.page.curves import POINTS, curves
from w2s_ray.report.page.data import data_section
from w2s_ray.report.page.packed import packed
from w2s_ray.report.page.texts import Texts
from w2s_ray.report.rank import rank
from w2s_ray.report.ranking import Ranking
from w2s_ray.report.results import Results
from w2s_ray.report.row_predictions import ROLES, CellRows, cell_rows, texts_of
from w2s_ray.report.savings import savings
from w2s_ray.report.sealed import is_sealed, looks_text
from w2s_ray.report.speeds import speeds
from w2s_ray.report.sweep_runs import sweep_runs
from w2s_ray.report.table_columns import ROW_COLUMNS
from w2s_ray.report.table_rows import PgrTable
from w2s_ray.status.spending import SpendingReader
from w2s_ray.store import Record, Store, StoreError, utc_now
from w2s_ray.store.damage import none_if_damaged

_PLAIN = "naive"
"""The method that others are compared with: plain training on the weak labels."""

_ATTEMPT_KEY = "attempt"
"""Key of an environment that is unique to an attempt, and is left out of comparisons."""


def page_content(
    results: Results, sweeps: Sequence[str] | None = None, *, has_texts: bool = True
) -> dict[str, Any]:
    """The page's content for the named sweeps, or for every sweep in the store.

    If not `has_texts`, it has no text of any row.

    Raises:
        StoreError: no such sweep, or no sweep at all.
    """
    store = results.store
    names = every_sweep(store) if sweeps is None else sweeps
    texts = Texts(allowed=has_texts)
    shown = [_sweep(results, name, texts) for name in names]
    ids = {run["id"] for sweep in shown for run in sweep["runs"]}
    records = {record.id: record for record in store.latest(ids)}
    for sweep in shown:
        known = (records[run["id"]] for run in sweep["runs"] if run["id"] in records)
        sweep["speeds"] = [speed.line for speed in speeds(known)]
    runs, environments = _runs(store, records)
    return {
        "made": {
            "at": utc_now(),
            "version": version("w2s_ray"),
            "store": store.uri,
            "points": POINTS,
            "texts": has_texts,
        },
        "themes": {"light": config("light"), "dark": config("dark")},
        "columns": [
            {
                "name": column.heading,
                "number": column.is_number,
                "field": column.field or column.heading,
            }
            for column in ROW_COLUMNS
        ],
        "sweeps": shown,
        "texts": texts.all,
        "runs": runs,
        "environments": environments,
    }


def every_sweep(store: Store) -> list[str]:
    """The sweeps in a store.

    Raises:
        StoreError: there is none.
    """
    names = store.manifests.sweeps()
    if not names:
        raise StoreError(f"there is no sweep in {store.uri}; run one, or name another store")
    return names


def _sweep(results: Results, name: str, texts: Texts) -> dict[str, Any]:
    """One sweep: its table, figures, test rows, savings, runs and data."""
    store = results.store
    manifest, runs = store.manifests.latest(name), sweep_runs(store, name)
    spending = SpendingReader(store).of(runs.fits, runs.studies)
    reused = [id_ for id_ in runs.roles if runs.is_reused(id_)]
    table = results.table(name)
    rankings = rank(table, store)
    rows = [asdict(row) for row in table.rows]
    for row in rows:
        del row["runs"]
    return {
        "name": name,
        "text": manifest.sweep_text,
        "started_at": runs.started_at,
        "device_seconds": spending.device_seconds,
        "reused_seconds": sum(spending.of_runs.get(id_, 0.0) for id_ in reused),
        "looks": looks_text(store, name) if is_sealed(store, name) else None,
        "rows": rows,
        "by_seed": [asdict(row) for row in table.by_seed],
        "by_method": [asdict(row) for row in table.by_method],
        "comparisons": _comparisons(table, store),
        "ranks": _ranks(rankings),
        "savings": savings(store, sweep=name).lines(),
        "figures": [
            _figure(figure) for figure in figures_of(results, name, rankings=rankings).values()
        ],
        "test_rows": _test_rows(store, cell_rows(store, manifest.cells), texts),
        "runs": [
            {"id": id_, "roles": list(roles), "reused": id_ in set(reused)}
            for id_, roles in runs.roles.items()
        ],
        "data": data_section(store, manifest, texts=texts.allowed),
    }


def _ranks(rankings: Sequence[Ranking]) -> dict[str, Any] | None:
    """The ranking of the methods as `w2s rank` prints it; None if nothing is ranked."""
    sheets = rank_sheets.sheets(rankings)
    if not sheets:
        return None
    (sheet,) = sheets
    return {**asdict(sheet), "numbers": sorted(sheet.numbers)}


def _test_rows(store: Store, cells: Sequence[CellRows], texts: Texts) -> dict[str, Any]:
    """The test rows of all cells, and for each cell the number of rows of each pattern."""
    wanted: dict[str, set[str]] = {}
    for cell in cells if texts.allowed else ():
        wanted.setdefault(cell.split, set()).update(row.example_id for row in cell.rows)
    read = {
        split: none_if_damaged(lambda split=split, ids=ids: texts_of(store, split, ids)) or {}
        for split, ids in wanted.items()
    }
    rows = [
        {
            **_place(cell),
            "example": row.example_id,
            "text": texts.place(read.get(cell.split, {}).get(row.example_id)),
            "truth": row.truth if texts.allowed or cell.has_classes else None,
            "difference": row.difference,
            "pattern": _pattern(row.right),
            **{
                role: value if texts.allowed or cell.has_classes else None
                for role, value in zip(ROLES, row.predicted, strict=True)
            },
        }
        for cell in cells
        for row in cell.rows
    ]
    counts = [
        {**_place(cell), "pattern": _pattern(pattern), "count": count}
        for cell in cells
        for pattern, count in cell.counts.items()
        if count
    ]
    return {"rows": packed(rows), "counts": packed(counts)}


def _place(cell: CellRows) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in ("task", "weak", "strong", "method")}


def _pattern(right: Sequence[bool]) -> str:
    """Right and wrong of the three models, such as `011`."""
    return "".join(str(int(each)) for each in right)


def _comparisons(table: PgrTable, store: Store) -> list[dict[str, Any]]:
    """Each method compared with `naive`, or with the first method if there is no `naive`."""
    methods = list(dict.fromkeys(row.method for row in table.rows if not row.control))
    if len(methods) < 2:
        return []
    against = _PLAIN if _PLAIN in methods else methods[0]
    return [asdict(comparison) for comparison in compare(table, store, against=against)]


def _figure(figure: Figure) -> dict[str, Any]:
    """A figure's texts, its specification, and its rows as separate data."""
    spec = figure.spec()
    data = {name: packed(rows) for name, rows in spec.pop("datasets").items()}
    texts = {"name": figure.name, "title": figure.title, "caption": figure.caption}
    return {**texts, "spec": spec, "data": data}


def _runs(
    store: Store, records: Mapping[str, Record]
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Run id -> its shown values, for runs with a record; and the list of their environments.

    Many runs share an environment, so a run has the index of its environment in the list.
    """
    files = store.run_files()
    of_runs = curves(store, [id_ for id_, record in records.items() if record.status == "done"])
    places: dict[str, int] = {}
    runs = {}
    for id_, record in records.items():
        environment = {k: v for k, v in record.environment.items() if k != _ATTEMPT_KEY}
        key = json.dumps(environment, sort_keys=True)
        runs[id_] = {
            **record.model_dump(mode="json", exclude={"id", "environment"}),
            "environment": places.setdefault(key, len(places)),
            "curves": of_runs.get(id_, {}),
            "tried": _attempts(store, id_, files[id_]),
            "trials": store.trials(id_) if record.kind == "study" else [],
        }
    return runs, [json.loads(key) for key in places]


def _attempts(store: Store, id_: str, files: Iterable[str]) -> list[dict[str, Any]]:
    """Attempts that ended without a result, oldest first."""
    if not any(name.startswith("attempt-") for name in files):
        return []
    return [_attempt(record) for record in store.attempts(id_)]


def _attempt(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", include={"status", "cause", "reason", "ended_at"})
