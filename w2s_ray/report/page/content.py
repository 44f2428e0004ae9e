"""What the page shows of a store: its sweeps and their runs, as values that JSON knows.

Owns the choice: which runs belong to a sweep and in which roles, and what of a record a reader
needs. Every figure comes from where it is made (the table, savings, figures), and none is computed
here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from w2s_ray.report.compare import compare
from w2s_ray.report.figures import Figure, figures_of
from w2s_ray.report.figures.theme import config
from w2s_ray.report.page.curves import POINTS, curves
from w2s_ray.report.page.packed import packed
from w2s_ray.report.render import ROW_COLUMNS
from w2s_ray.report.results import Results
from w2s_ray.report.savings import savings
from w2s_ray.report.speeds import speeds
from w2s_ray.report.table_rows import PgrTable
from w2s_ray.store import Cell, Record, Store, StoreError, utc_now

_ROLES = ("supervisor", "ceiling", "student", "study")

_PLAIN = "naive"
"""The method that others are compared with: as everywhere, the student simply learns the labels."""

_OF_ONE_ATTEMPT = "attempt"
"""Key of an environment that names the attempt itself, so that no two runs would have the same."""


def page_content(results: Results, sweeps: Sequence[str] | None = None) -> dict[str, Any]:
    """What the page shows of the named sweeps, or of every sweep in the store.

    Raises:
        StoreError: no such sweep, or none at all.
    """
    store = results.store
    names = store.manifests.sweeps() if sweeps is None else sweeps
    if not names:
        raise StoreError(f"there is no sweep in {store.uri}; run one, or name another store")
    shown = [_sweep(results, name) for name in names]
    ids = {run["id"] for sweep in shown for run in sweep["runs"]}
    runs, environments = _runs(store, ids)
    return {
        "made": {
            "at": utc_now(),
            "version": version("w2s_ray"),
            "store": store.uri,
            "points": POINTS,
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


def _sweep(results: Results, name: str) -> dict[str, Any]:
    """One sweep: its table, figures and savings, and which runs it is made of."""
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
        "rows": rows,
        "by_seed": [asdict(row) for row in table.by_seed],
        "by_method": [asdict(row) for row in table.by_method],
        "comparisons": _comparisons(table, store),
        "savings": savings(store, sweep=name).lines(),
        "speeds": [speed.line for speed in speeds(store.latest(roles))],
        "figures": [_figure(figure) for figure in figures_of(results, name).values()],
        "runs": [{"id": id_, "roles": list(of_run)} for id_, of_run in roles.items()],
    }


def _comparisons(table: PgrTable, store: Store) -> list[dict[str, Any]]:
    """Each method against the plain one, or the first where none is called so."""
    methods = list(dict.fromkeys(row.method for row in table.rows))
    if len(methods) < 2:
        return []
    against = _PLAIN if _PLAIN in methods else methods[0]
    return [asdict(comparison) for comparison in compare(table, store, against=against)]


def _figure(figure: Figure) -> dict[str, Any]:
    """A figure's words, its specification, and apart from that the rows that it draws."""
    spec = figure.spec()
    data = {name: packed(rows) for name, rows in spec.pop("datasets").items()}
    words = {"name": figure.name, "title": figure.title, "caption": figure.caption}
    return {**words, "spec": spec, "data": data}


def _roles(cells: Iterable[Cell], store: Store) -> dict[str, dict[str, None]]:
    """Run id -> its roles in the sweep, trials included, in the cells' order."""
    roles: dict[str, dict[str, None]] = {}
    for cell in cells:
        for role in _ROLES:
            id_ = getattr(cell, role)
            if id_ is not None:
                roles.setdefault(id_, {})[role] = None
    for study in [id_ for id_, of_run in roles.items() if "study" in of_run]:
        for trial in store.trials(study):
            for fit in trial["fits"]:
                roles.setdefault(fit, {})["trial"] = None
    return roles


def _runs(
    store: Store, ids: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Run id -> what is shown of it, of runs that were tried; and the environments they name.

    Many runs share an environment, so a run holds its place in the list of different ones.
    """
    found = {record.id: record for record in store.latest(ids)}
    files = store.run_files()
    of_runs = curves(store, [id_ for id_, record in found.items() if record.status == "done"])
    places: dict[str, int] = {}
    runs = {}
    for id_, record in found.items():
        environment = {k: v for k, v in record.environment.items() if k != _OF_ONE_ATTEMPT}
        told = json.dumps(environment, sort_keys=True)
        runs[id_] = {
            **record.model_dump(mode="json", exclude={"id", "environment"}),
            "environment": places.setdefault(told, len(places)),
            "curves": of_runs.get(id_, {}),
            "tried": _tried(store, id_, files[id_]),
            "trials": store.trials(id_) if record.kind == "study" else [],
        }
    return runs, [json.loads(told) for told in places]


def _tried(store: Store, id_: str, files: Iterable[str]) -> list[dict[str, Any]]:
    """Attempts that ended without a result, oldest first."""
    if not any(name.startswith("attempt-") for name in files):
        return []
    return [_attempt(record) for record in store.attempts(id_)]


def _attempt(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", include={"status", "cause", "reason", "ended_at"})
