from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.store.builders import a_cell, a_manifest, a_recipe, a_record, some_rows
from w2s_ray.report import open_results, scores
from w2s_ray.report.scores import RELIABILITY, SCORES
from w2s_ray.store import Store, StoreError
from w2s_ray.store.table_cache import TableCache
from w2s_ray.store.tables import column_meanings

CELL = a_cell()
TEST = {"b": 1, "c": 0}
"""The test rows of `some_rows`, with their classes."""


def predictions(**of_example: float) -> pa.Table:
    """P(class 1) of test examples, after one of another part."""
    return pa.table(
        {
            "example_id": ["a", *of_example],
            "part": ["validation", *["test"] * len(of_example)],
            "probability": [0.5, *of_example.values()],
        }
    )


def write(store: Store, id_: str, *, labels: str = "ground_truth", **of_example: float) -> None:
    about = {"task": "sciq", "model": "tiny"}
    if labels != "ground_truth":
        about |= {"method": "naive", "weak": "small"}
    record = a_record(
        id=id_,
        about=about,
        recipe=a_recipe(
            labels={"source": [labels] if labels != "ground_truth" else labels}, seed=3
        ),
    )
    store.write_run(record, predictions=predictions(**of_example))


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store.open(tmp_path)
    store.splits.write("split-1", some_rows(), {})
    write(store, CELL.supervisor, b=0.8, c=0.6)  # right, wrong
    write(store, CELL.ceiling, b=0.9, c=0.1)
    assert CELL.student is not None
    write(store, CELL.student, labels=CELL.supervisor, c=0.3, b=0.7)  # another order
    write(store, "trial", b=0.2, c=0.3)
    store.write_run(a_record("study", kind="study"))
    store.manifests.write(a_manifest(CELL))
    return store


def test_figures_do_not_depend_on_the_order_of_test_rows(store):
    rows = {row["run_id"]: row for row in scores.scores(store).to_pylist()}
    assert rows.keys() == {CELL.supervisor, CELL.ceiling, CELL.student, "trial"}
    student = rows[CELL.student]
    assert student == {
        "run_id": CELL.student,
        "task": "sciq",
        "model": "tiny",
        "method": "naive",
        "seed": 3,
        "supervisor": CELL.supervisor,
        "n": 2,
        "accuracy": 1.0,
        "auc": 1.0,
        "log_loss": pytest.approx(0.35667494),  # -ln 0.7
        "ece": pytest.approx(0.3),
        "agreement": 0.5,
        "agreement_where_right": 1.0,
        "agreement_where_wrong": 0.0,
        # supervisor b .8, c .6; student b .7, c .3; classes b 1, c 0
        "capa": pytest.approx((0.54 - 0.54) / 0.46),
        "error_correlation": None,
        "misfit": pytest.approx((0.1**2 + 0.3**2) / 2),
        "misfit_gain": pytest.approx((0.04 + 0.36 - 0.09 - 0.09) / 2),
        "misfit_nats": pytest.approx(
            (
                0.7 * np.log(0.7 / 0.8)
                + 0.3 * np.log(0.3 / 0.2)
                + 0.3 * np.log(0.3 / 0.6)
                + 0.7 * np.log(0.7 / 0.4)
            )
            / 2
        ),
        "misfit_nats_gain": pytest.approx(
            (-np.log(0.8) - np.log(0.4) + np.log(0.7) + np.log(0.7)) / 2
        ),
        "uncertain": 0.5,
        "blind_spots": 0.0,
    }
    assert rows[CELL.supervisor]["accuracy"] == 0.5
    assert rows[CELL.supervisor]["auc"] == 1.0
    taught = {name: row["agreement"] for name, row in rows.items() if row["supervisor"]}
    assert taught == {CELL.student: 0.5}
    assert all(rows[id_]["agreement"] is None for id_ in (CELL.supervisor, CELL.ceiling, "trial"))


def test_a_sweeps_scores_have_the_runs_of_its_cells(store):
    ids = scores.scores(store, sweep="sweep")["run_id"].to_pylist()
    assert ids == sorted({CELL.supervisor, CELL.ceiling, CELL.student})
    with pytest.raises(StoreError, match="no sweep 'other'"):
        scores.scores(store, sweep="other")


def test_computed_scores_are_cached_and_new_ones_are_added(store):
    before = scores.scores(store)
    for id_ in before["run_id"].to_pylist():
        store.files.remove(f"runs/{id_}/predictions.parquet")
    assert scores.scores(store).equals(before)
    write(store, "later", b=0.9, c=0.8)
    after = scores.scores(store)
    assert set(after["run_id"].to_pylist()) == {*before["run_id"].to_pylist(), "later"}


def test_scores_work_with_a_read_only_store(store, monkeypatch):
    def refused(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(TableCache, "write", refused)
    assert len(scores.scores(store)) == 4


def test_a_fit_without_a_prediction_for_each_test_row_has_no_scores(store):
    write(store, "half", b=0.9)
    store.write_run(a_record(id="none"))
    assert not {"half", "none"} & set(scores.scores(store)["run_id"].to_pylist())
    with pytest.raises(
        StoreError, match="run half has no prediction for some test rows; delete its folder"
    ):
        scores.reliability(store, "half")
    with pytest.raises(StoreError, match="run none has no predictions"):
        scores.reliability(store, "none")


def test_a_student_has_no_agreement_with_a_supervisor_without_all_predictions(store):
    write(store, "weak", b=0.9)
    write(store, "student", labels="weak", b=0.9, c=0.1)
    rows = {row["run_id"]: row for row in scores.scores(store).to_pylist()}
    assert (rows["student"]["accuracy"], rows["student"]["agreement"]) == (1.0, None)


def test_reliability_bins_one_run(store):
    table = scores.reliability(store, CELL.supervisor)
    filled = [row for row in table.to_pylist() if row["count"]]
    assert filled == [
        {
            "low": pytest.approx(8 / 15),
            "high": pytest.approx(9 / 15),
            "count": 1,
            "confidence": pytest.approx(0.6),
            "accuracy": 0.0,
        },
        {
            "low": pytest.approx(11 / 15),
            "high": pytest.approx(12 / 15),
            "count": 1,
            "confidence": pytest.approx(0.8),
            "accuracy": 1.0,
        },
    ]


def test_frames_and_sql_have_the_documented_columns(store):
    results = open_results(store.uri)
    frame = results.scores("sweep")
    assert list(frame.columns) == SCORES.names
    assert frame["ece"].notna().all()
    assert list(results.reliability(CELL.supervisor[:8]).columns) == RELIABILITY.names
    best = results.query("select model, max(auc) a from scores where agreement > 0.4 group by all")
    assert best.values.tolist() == [["tiny", 1.0]]
    assert all(column_meanings(SCORES).values())
    assert all(column_meanings(RELIABILITY).values())
