"""The test rows on which the three models of a cell differ most."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.figures.stores import Sweep, make_store
from w2s_ray.report import row_predictions
from w2s_ray.report.row_predictions import ROLES, cell_rows, texts_of
from w2s_ray.store import Store

SWEEP = Sweep(tasks=("sciq", "boolq"), seeds=(0, 1), pairs=(("small", "large"),), examples=120)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("rows"), SWEEP)


def test_each_pattern_has_the_rows_of_the_largest_difference(store):
    manifest = store.manifests.latest(SWEEP.name)
    found = cell_rows(store, manifest.cells)
    assert [(c.task, c.method) for c in found] == [
        (task, method) for task in SWEEP.tasks for method in SWEEP.methods
    ]
    first = found[0]
    cells = [c for c in manifest.cells if (c.task, c.method) == (first.task, first.method)]
    mean_RN = np.array(
        [
            np.mean(
                [
                    store.predictions(getattr(c, role))["probability"].to_numpy()[: SWEEP.examples]
                    for c in cells
                ],
                axis=0,
            )
            for role in ROLES
        ]
    )
    labels_N = np.arange(SWEEP.examples) % 2
    right_RN = (mean_RN > 0.5) == (labels_N == 1)
    difference_N = mean_RN.max(axis=0) - mean_RN.min(axis=0)
    assert sum(first.counts.values()) == SWEEP.examples
    for pattern, count in first.counts.items():
        with_it = [n for n in range(SWEEP.examples) if tuple(right_RN[:, n]) == pattern]
        assert len(with_it) == count
        largest = sorted(with_it, key=lambda n: -difference_N[n])
        chosen = [row for row in first.rows if row.right == pattern]
        assert {row.example_id for row in chosen} == {
            f"e{n}" for n in largest[: row_predictions.MOST_PER_PATTERN]
        }
        for row in chosen:
            n = int(row.example_id.removeprefix("e"))
            assert row.predicted == pytest.approx(mean_RN[:, n])
            assert row.difference == pytest.approx(difference_N[n])
            assert row.truth == str(labels_N[n])


def test_the_number_of_rows_of_a_sweep_is_bounded(store, monkeypatch):
    monkeypatch.setattr(row_predictions, "MOST_ROWS", 64)
    found = cell_rows(store, store.manifests.latest(SWEEP.name).cells)
    assert len(found) == 4
    assert all(len(cell.rows) <= 16 for cell in found)


def test_texts_are_those_of_the_split(store):
    assert texts_of(store, SWEEP.split("boolq"), ["e3"]) == {"e3": "boolq text 3"}
