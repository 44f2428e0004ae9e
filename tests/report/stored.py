"""Stores whose runs have predictions of a chosen accuracy."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from tests.store.builders import a_cell, a_manifest, a_recipe, a_record
from w2s_ray.store import Cell, Store

EXAMPLES = 400


def write_split(store: Store, task: str, *, examples: int = EXAMPLES) -> None:
    """A split of test rows alone, half of each class."""
    ids = [f"{task}-{i}" for i in range(examples)]
    rows = {
        "example_id": ids,
        "part": ["test"] * examples,
        "text": ids,
        "label": pa.array([i % 2 for i in range(examples)], pa.int8()),
        "group": pa.nulls(examples, pa.string()),
    }
    store.splits.write(f"split-{task}", pa.table(rows), {})


def write_run(store: Store, id_: str, *, task: str, right: float, **about: str | None) -> None:
    """A run that is right on a share `right` of its task's test rows, chosen by its id."""
    order = np.random.default_rng(zlib.crc32(id_.encode())).permutation(EXAMPLES)
    correct = order < round(right * EXAMPLES)
    labels = np.arange(EXAMPLES) % 2
    probability = np.where(correct, labels, 1 - labels) * 0.8 + 0.1
    predictions = pa.table(
        {
            "example_id": [f"{task}-{i}" for i in range(EXAMPLES)],
            "part": ["test"] * EXAMPLES,
            "probability": probability,
        }
    )
    record = a_record(
        id=id_,
        accuracy=float(correct.mean()),
        recipe=a_recipe(split=f"split-{task}"),
        about={"task": task, **about},
    )
    store.write_run(record, predictions=predictions)


def cells_of(
    *, tasks: Iterable[str], methods: Iterable[str], seeds: int = 2, **changes
) -> list[Cell]:
    """One pair of models on each task, with each method."""
    return [
        a_cell(task=task, method=method, seed=seed, **changes)
        for task in tasks
        for method in methods
        for seed in range(seeds)
    ]


def write_sweep(
    store: Store,
    cells: Iterable[Cell],
    *,
    students: Mapping[tuple[str, str], float],
    weak: float = 0.6,
    ceiling: float = 0.9,
    name: str = "sweep",
) -> None:
    """A manifest, its runs and their splits; `students`: (task, method) -> share right."""
    cells = list(cells)
    store.manifests.write(a_manifest(*cells, name=name))
    for cell in cells:
        write_split(store, cell.task)
        write_run(store, cell.supervisor, task=cell.task, right=weak)
        write_run(store, cell.ceiling, task=cell.task, right=ceiling)
        if cell.student is not None and (cell.task, cell.method) in students:
            right = students[cell.task, cell.method]
            write_run(store, cell.student, task=cell.task, right=right)
