"""The data of a sweep's tasks as the store has it: rows of splits, and the models that read them.

Owns which split a task of a sweep has (that of its fits' recipes), and the JSON form of an overview
with its weak labels. It reads no task's source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from w2s_ray.config import ModelSource, Training
from w2s_ray.data.descriptions import architecture_of
from w2s_ray.data.overview import ModelUse, TaskOverview, TaskRows
from w2s_ray.data.overview.sentences import measured, remarks, sentences
from w2s_ray.report.weak_labels import WeakLabels
from w2s_ray.store import Cell, Record, Store
from w2s_ray.store.damage import none_if_damaged


@dataclass(frozen=True)
class StoredTask:
    """A task of a sweep by its fits' records."""

    fingerprint: str
    models: tuple[ModelUse, ...]
    """The models of these fits whose location is recorded, in the cells' order."""


def stored_tasks(cells: Iterable[Cell], store: Store) -> dict[str, StoredTask]:
    """Task -> its split and models, for the tasks of which a fit is done."""
    cells = tuple(cells)
    ids = {id_ for cell in cells for id_ in cell.runs}
    records = {record.id: record for record in store.records(store.done(ids))} if ids else {}
    splits: dict[str, str] = {}
    uses: dict[str, dict[str, ModelUse]] = {}
    for cell in cells:
        for model, id_ in ((cell.weak, cell.supervisor), (cell.strong, cell.ceiling)):
            record = records.get(id_ or "")
            if record is None or not isinstance(record.recipe.get("split"), str):
                continue
            splits.setdefault(cell.task, record.recipe["split"])
            use = _use(model, record)
            if use is not None:
                uses.setdefault(cell.task, {}).setdefault(model, use)
    return {
        task: StoredTask(split, tuple(uses.get(task, {}).values()))
        for task, split in splits.items()
    }


def stored_rows(store: Store, task: str, fingerprint: str) -> TaskRows | None:
    """The rows of a split in the store; None where it is missing or damaged."""
    rows = store.splits.intact_rows(fingerprint)
    about = none_if_damaged(lambda: store.splits.about(fingerprint)) if rows is not None else None
    if rows is None or about is None:
        return None
    return TaskRows.of_table(rows, task=task, fingerprint=fingerprint, about=about)


def task_json(found: TaskOverview, weak: Sequence[WeakLabels]) -> dict[str, Any]:
    """An overview with its sentences and the weak labels of its supervisors, as JSON."""
    return {
        **asdict(found),
        "sentences": sentences(found),
        "measured": measured(found),
        "remarks": remarks(found),
        "weak_labels": [asdict(each) for each in weak],
    }


def positions_of(source: ModelSource) -> int | None:
    """Most tokens that a model's positions allow; None where there is no limit or it is unknown."""
    found = architecture_of(source)
    return None if isinstance(found, str) else found.longest


def _use(model: str, record: Record) -> ModelUse | None:
    """How a fit's model reads texts; None where the record doesn't have its location."""
    location, identity = record.about.get("location"), record.recipe.get("model")
    if not (isinstance(location, str) and location and isinstance(identity, str)):
        return None
    training: Mapping[str, Any] = record.recipe.get("training") or {}
    default = Training.model_fields
    revision = record.about.get("revision")
    source = ModelSource(name=model, location=location, revision=revision, identity=identity)
    return ModelUse(
        source=source,
        max_tokens=training.get("max_tokens", default["max_tokens"].default),
        answer_tokens=training.get("answer_tokens", default["answer_tokens"].default),
        positions=positions_of(source),
    )
