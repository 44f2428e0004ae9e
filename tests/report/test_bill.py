"""The bill: counted and estimated device time, and the share of each cell."""

from __future__ import annotations

import pytest

from tests.config.test_identity import STUDENT
from tests.store.builders import a_manifest
from tests.support import w2s
from w2s_ray.report.bill import Bill, bill
from w2s_ray.report.cost_sheets import sheets
from w2s_ray.report.table import table_of
from w2s_ray.status.spending import Spending, SpendingReader
from w2s_ray.store import Cell, Record, Store

NOW = "2026-01-01T00:00:00Z"


def record(id_: str, *, status: str = "done", seconds: float = 10.0, workers: int = 1, **more):
    return Record(
        id=id_,
        kind=more.pop("kind", "fit"),
        status=status,  # pyright: ignore[reportArgumentType]
        recipe=STUDENT.model_dump(mode="json"),
        about={"model": more.pop("model", "m"), **more.pop("about", {})},
        summary={"test_accuracy": more.pop("accuracy", 0.5)},
        started_at=NOW,
        ended_at=NOW,
        seconds=seconds,
        device_seconds=seconds * workers,
        identity_version=1,
        **more,
    )


def put(store: Store, *records: Record) -> None:
    for each in records:
        if each.status == "done":
            store.write_run(each, metrics=None, predictions=None, weights=None)
        else:
            store.write_attempt(each)


def trial(number: int, state: str, fit: str, evaluations: int) -> dict:
    return {"number": number, "state": state, "fits": [fit], "intermediate": [0.5] * evaluations}


@pytest.fixture
def store(tmp_path) -> Store:
    found = Store.open(tmp_path / "results")
    put(
        found,
        record("weak", model="s", accuracy=0.5),
        record("strong", model="l", accuracy=0.9, seconds=40, workers=2),
        record("naive", model="l", accuracy=0.7, seconds=20),
        record("found", model="l", accuracy=0.8, seconds=20),
        record("naive", model="l", status="failed", seconds=5, cause="worker_died"),
        record("study", kind="study", seconds=100, workers=0),
        record("t0", model="l", seconds=16),
        record("t1", model="l", status="pruned", seconds=0),
    )
    found.write_trial("study", 0, trial(0, "complete", "t0", 8))
    found.write_trial("study", 1, trial(1, "pruned", "t1", 2))
    return found


def cell(method: str, student: str, study: str | None = None) -> Cell:
    runs = {"supervisor": "weak", "ceiling": "strong", "student": student, "study": study}
    return Cell(task="t", weak="s", strong="l", method=method, seed=0, **runs)


CELLS = [cell("naive", "naive"), cell("confidence", "found", "study")]
RUNS = {
    "weak": "supervisor",
    "strong": "ceiling",
    "between": "step",
    "naive": "student naive",
    "found": "student confidence",
}


def billed(store: Store) -> Bill:
    return bill(CELLS, table_of({"x": CELLS}, store), spending(store))


def spending(store: Store) -> Spending:
    return SpendingReader(store).of(RUNS, {"study": "confidence"})


def test_each_run_counts_once_with_its_failed_attempts(store):
    made = billed(store)
    found = {(row.role, row.model): row for row in made.spent}
    assert found["supervisor", "s"].device_seconds == 10
    assert found["ceiling", "l"].device_seconds == 80  # two workers
    assert found["student naive", "l"].failed_seconds == 5
    assert made.device_seconds == 10 + 80 + 20 + 5 + 20 + 16 + 4


def test_a_pruned_trial_counts_by_the_evaluations_that_it_reached(store):
    made = billed(store)
    (row,) = [row for row in made.spent if row.role == "trial confidence"]
    evaluations = STUDENT.training.evaluations
    assert (row.runs, row.pruned) == (1, 1)
    assert row.pruned_seconds == pytest.approx(16 / evaluations * 2)


def test_a_cell_counts_all_its_runs_and_pgr_is_per_their_hours(store):
    made = billed(store)
    naive, searched = made.cells
    assert (naive.student_seconds, naive.cell_seconds) == (25, 115)
    assert searched.cell_seconds == 10 + 80 + 20 + 16 + 4
    assert naive.pgr == pytest.approx(0.5)
    assert naive.pgr_per_hour == pytest.approx(0.5 / (115 / 3600))


def test_without_runs_there_is_no_bill(tmp_path):
    empty = Store.open(tmp_path / "nothing")
    made = billed(empty)
    assert (made.spent, made.device_seconds) == ((), 0)
    assert made.cells[0].pgr_per_hour is None


def test_intermediate_fits_between_supervisor_and_student_count(store):
    before = spending(store).device_seconds
    put(store, record("between", model="m", seconds=7))
    assert spending(store).device_seconds == before + 7
    assert billed(store).cells[0].cell_seconds == 115, "no cell names it"


def test_a_second_bill_reads_new_runs_only(store, monkeypatch):
    accounts = SpendingReader(store)
    first = accounts.of(RUNS, {"study": "confidence"}).device_seconds
    put(store, record("between", seconds=7), record("weak", status="failed", seconds=3))
    store.write_trial("study", 2, trial(2, "complete", "t2", 8))
    put(store, record("t2", model="l", seconds=11))
    read: list[str] = []
    records = Store.records
    monkeypatch.setattr(Store, "records", lambda s, ids: read.extend(ids) or records(s, ids))
    again = accounts.of(RUNS, {"study": "confidence"})
    # the pruned trial's two evaluations cost what one of the complete trials' did on average
    evaluations = STUDENT.training.evaluations
    guessed = (16 + 11) / 2 / evaluations * 2 - 16 / evaluations * 2
    assert again.device_seconds == pytest.approx(first + 7 + 3 + 11 + guessed)
    assert sorted(read) == ["between", "t2"]


def test_the_cost_table_has_each_rows_hours_and_pgr_per_hour(store):
    (sheet,) = sheets({"x": CELLS}, table_of({"x": CELLS}, store), store)
    naive, searched = (dict(zip(sheet.columns, line, strict=True)) for line in sheet.lines)
    assert naive["whole cell, h"] == f"{115 / 3600:.3g}"
    assert naive["PGR per device hour"] == f"{0.5 / (115 / 3600):.3g}"
    assert searched["whole cell, h"] == f"{(10 + 80 + 20 + 16 + 4) / 3600:.3g}"
    store.manifests.write(a_manifest(*CELLS, name="x"))
    ended = w2s("table", "--store", store.uri, "--cost", "--format", "markdown")
    assert f"| {naive['PGR per device hour']} |" in ended.stdout, ended.stderr
    refused = w2s("table", "--store", store.uri, "--cost", "--pivot")
    assert (refused.returncode, "give at most one of" in refused.stderr) == (2, True)
