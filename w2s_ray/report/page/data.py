"""The page's data section: what models see of each task of a sweep, from the store's rows.

Owns the choice of the texts that the page has: the first rows of each class, shortened, or none.
What the store doesn't have is replaced by a sentence.
"""

from __future__ import annotations

from typing import Any

from w2s_ray.data.overview import make_overview
from w2s_ray.data.overview.reader import Readers
from w2s_ray.errors import InputError
from w2s_ray.printable import passage
from w2s_ray.report.sealed import is_sealed
from w2s_ray.report.task_data import StoredTask, stored_rows, stored_tasks, task_json
from w2s_ray.report.weak_labels import WeakLabels, weak_labels
from w2s_ray.store import Manifest, Store

ROWS = 2
"""Rows of each class on the page."""
LONGEST_TEXT = 1_500
"""Longest text that the page has whole; of a longer one, the middle is left out."""


def data_section(store: Store, manifest: Manifest, *, texts: bool) -> list[dict[str, Any]]:
    """An entry for each task of a sweep; with `texts` it has rows."""
    tasks, sealed = stored_tasks(manifest.cells, store), is_sealed(store, manifest.name)
    weak, readers = weak_labels(manifest.cells, store), Readers()
    return [
        _task(
            name,
            tasks.get(name),
            store,
            [labels for labels in weak if labels.task == name],
            readers,
            sealed=sealed,
            texts=texts,
        )
        for name in dict.fromkeys(cell.task for cell in manifest.cells)
    ]


def _task(
    name: str,
    known: StoredTask | None,
    store: Store,
    weak: list[WeakLabels],
    readers: Readers,
    *,
    sealed: bool,
    texts: bool,
) -> dict[str, Any]:
    if known is None:
        return {"task": name, "missing": "no supervisor or ceiling of this task is done yet"}
    rows = stored_rows(store, name, known.fingerprint)
    if rows is None:
        return {"task": name, "missing": f"its rows (split {known.fingerprint}) are not readable"}
    try:
        found = make_overview(
            rows, models=known.models, sealed=sealed, shown=ROWS if texts else 0, readers=readers
        )
    except InputError as error:  # a damaged file of a model
        return {"task": name, "missing": str(error)}
    entry = task_json(found, weak)
    for row in entry["rows"]:
        for text in row["texts"]:
            text["text"] = passage(text["text"], most=LONGEST_TEXT)
    return entry
