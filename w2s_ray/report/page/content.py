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

from w2s_ray.report.compare import compare
from w2s_ray.report.figures import Figure, figures_of
from w2s_ray.report.figures.theme import config
from w2s_ray.report.page.curves import POINTS, curves
from w2s_ray.report.page.data import data_section
from w2s_ray.report.page.packed import packed
from w2s_ray.report.results import Results
from w2s_ray.report.savings import savings
from w2s_ray.report.sealed import is_sealed, looks_text
from w2s_ray.report.speeds import speeds
from w2s_ray.report.table_columns import ROW_COLUMNS
from w2s_ray.report.table_rows import PgrTable
from w2s_ray.store import Cell, Record, Store, StoreError, utc_now

_ROLES = ("supervisor", "ceiling", "student")

_PLAIN = "naive"
"""The method that others are compared with: plain training on the weak labels."""

_ATTEMPT_KEY = "attempt"
"""Key of an environment that is unique to an attempt, and is left out of comparisons."""


def page_content(
    results: Results, sweeps: Sequence[str] | None = None, *, texts: bool = True
) -> dict[str, Any]:
    """The page's content for the named sweeps, or for every sweep in the store.

    Without `texts` it has no text of any row.

    Raises:
        StoreError: no such sweep, or no sweep at all.
    """
    store = results.store
    names = store.manifests.sweeps() if sweeps is None else sweeps
    if not names:
        raise StoreError(f"there is no sweep in {store.uri}; run one, or name another store")
    shown = [_sweep(results, name, texts=texts) for name in names]
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
            "texts": texts,
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
        "runs": runs,
        "environments": environments,
    }


def _sweep(results: Results, name: str, *, texts: bool) -> dict[str, Any]:
    """One sweep: its table, figures, savings, runs and data."""
    store = results.store
    manifest = store.manifests.latest(name)
    table, roles = results.table(name), _roles(manifest.cells, store)
    rows = [asdict(row) for row in table.rows]
    for row in rows:
        del row["runs"]
    return {
        "name": name,
        "text": manifest.sweep_text,
        "started_at": min(m.created_at for m in store.manifests.all(name)),
        "looks": looks_text(store, name) if is_sealed(store, name) else None,
        "rows": rows,
        "by_seed": [asdict(row) for row in table.by_seed],
        "by_method": [asdict(row) for row in table.by_method],
        "comparisons": _comparisons(table, store),
        "savings": savings(store, sweep=name).lines(),
        "figures": [_figure(figure) for figure in figures_of(results, name).values()],
        "data": data_section(store, manifest, texts=texts),
        "runs": [{"id": id_, "roles": list(of_run)} for id_, of_run in roles.items()],
    }


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


def _roles(cells: Iterable[Cell], store: Store) -> dict[str, dict[str, None]]:
    """Run id -> its roles in the sweep, trials included, in the cells' order."""
    roles: dict[str, dict[str, None]] = {}
    for cell in cells:
        for role in _ROLES:
            id_ = getattr(cell, role)
            if id_ is not None:
                roles.setdefault(id_, {})[role] = None
        for study in cell.studies:
            roles.setdefault(study, {})["study"] = None
    for study in [id_ for id_, of_run in roles.items() if "study" in of_run]:
        for trial in store.trials(study):
            for fit in trial["fits"]:
                roles.setdefault(fit, {})["trial"] = None
    return roles


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
