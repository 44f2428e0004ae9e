"""`w2s data` in every format, over data, over the store, and beside the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.support import loaded_by, make_task
from w2s_ray.cli import app
from w2s_ray.config import parse_sweep
from w2s_ray.prepare import materialize, plan_sweep, write_manifest
from w2s_ray.report import open_results
from w2s_ray.report.page import page_content, to_html
from w2s_ray.store import Record, Store

SWEEPS = Path(__file__).parents[2] / "sweeps"
OWN = """\
name: own
task: {{name: words, path: {folder}/task.csv, columns: {{text: text, label: label}},
       train: 128, validation: 32, test: 64}}
models: [{{name: "embedded:xs", label: xs}}, {{name: "embedded:s", label: s}}]
seeds: [0, 1]
methods: {{naive: {{}}}}
training: {{max_tokens: 12}}
store: {folder}/results
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def own(tmp_path) -> Path:
    make_task(tmp_path / "task.csv")
    path = tmp_path / "own.yaml"
    path.write_text(OWN.format(folder=tmp_path))
    return path


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def as_json(*arguments: str | Path) -> dict[str, Any]:
    return json.loads(run(*arguments, "--format", "json"))


def test_the_quickstart_is_shown_with_the_tokens_of_a_model():
    text = run(SWEEPS / "quickstart.yaml", "--tokens", "--model", "s", "--rows", "2")
    assert "embedded: classes, split 242da20393497d997ee4, from the task's data" in text
    assert "xs, s, m, l" in text
    assert "first rows of each class, as s reads them" in text
    assert text.count("supervisor half, row:") == text.count("    tokens: ") == 4
    for name in ("majority", "length alone", "bag of words"):
        assert name in text


def test_classes_of_features_are_counted(tmp_path):
    path = tmp_path / "digits.yaml"
    path.write_text(
        "name: digits\ntask: {name: digits, train: 400, validation: 40, test: 200}\n"
        'models: [{name: "pixels:2", label: p2}, {name: "pixels:8", label: p8}]\n'
        "methods: {naive: {}}\n"
    )
    text = run(path)
    assert "class 9" in text
    assert "majority" in text
    assert "bag of words" not in text
    assert "tokens of" not in text
    assert "0 rows with the same image or id as a training row" in text


def test_an_own_file_in_every_format_without_writing_a_store(own):
    (task,) = as_json(own)["tasks"]
    assert {part["part"]: part["rows"] for part in task["parts"]} == {
        "supervisor_half": 64,
        "student_half": 64,
        "validation": 32,
        "test": 64,
    }
    assert task["lengths"][0]["models"] == ["xs", "s"]
    assert task["lengths"][0]["limit"] == 12
    assert 0.2 < task["lengths"][0]["truncated"] < 0.4
    assert "only their ends are read" in task["remarks"][0]
    markdown = run(own, "--format", "markdown")
    assert markdown.startswith("## words: classes, split ")
    assert "| student half | 64 | 32 (50.0 %) | 32 (50.0 %) | 64 |" in markdown
    assert "read from its end only" in run(own, "--rows", "5")
    assert "supervisor half, row:" not in run(own, "--rows", "0")
    assert not (own.parent / "results").exists()


def test_texts_cannot_change_the_terminal_or_the_markdown(own):
    path = own.parent / "task.csv"
    path.write_text(path.read_text().replace("w1 ", "\x1b[31m <b>|# "))
    for format in ("table", "markdown"):
        text = run(own, "--rows", "30", "--format", format)
        assert "\x1b" not in text
        assert r"\x1b[31m <b>|# " in text
    blocks = [line for line in text.splitlines() if "<b>" in line]
    assert blocks
    assert all(line.startswith("    ") for line in blocks)


def in_store(path: Path, *, p: float = 0.5) -> Store:
    """The sweep's rows in its store, and supervisors that predict values close to `p`."""
    text = path.read_text()
    sweep = parse_sweep(text)
    store = Store.open(sweep.store)
    plan = plan_sweep(sweep, store=store)
    materialize(plan, store)
    write_manifest(plan, store, text)
    for fit in plan.fits.values():
        if "student" in fit.roles:
            continue
        rows = store.splits.rows(fit.recipe.split)
        at = [p + 0.02 * (i % 2) for i in range(len(rows))]
        predictions = {
            "example_id": rows["example_id"].to_pylist(),
            "part": rows["part"].to_pylist(),
            "probability": at,
        }
        figures = {"student_half_spread": 0.01, "student_half_class_1": 0.5}
        record = Record(
            id=fit.id,
            kind="fit",
            status="done",
            recipe=fit.recipe.model_dump(mode="json"),
            about={
                "task": fit.task,
                "model": fit.source.name,
                "roles": list(fit.roles),
                "location": fit.source.location,
                "revision": None,
            },
            summary={"test_accuracy": 0.5, **figures},
            started_at="2026-01-01T00:00:00+00:00",
            ended_at="2026-01-01T00:00:01+00:00",
            seconds=1.0,
            identity_version=1,
        )
        store.write_run(record, predictions=pa.table(predictions))
    return store


def test_weak_labels_of_done_supervisors_are_shown_with_the_remark(own):
    in_store(own)
    (labels,) = as_json(own)["tasks"][0]["weak_labels"]
    assert (labels["model"], labels["fits"], labels["class_1"]) == ("xs", 2, 0.5)
    assert labels["spread"] == 0.01
    assert labels["distance"] == pytest.approx(0.01)
    remark = "xs: weak labels lie close together (standard deviation 0.01, 50% class 1)"
    assert remark in run(own)
    status = CliRunner().invoke(app, ["status", str(own)])
    assert "weak labels lie close together: xs on words (standard deviation 0.01" in status.stdout


def test_without_the_tasks_file_the_rows_of_the_store_are_shown(own):
    before = as_json(own)["tasks"][0]
    in_store(own)
    (own.parent / "task.csv").unlink()
    after = as_json(own)["tasks"][0]
    assert after["from_store"]
    same = before.keys() - {"from_store", "weak_labels"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


def test_a_task_that_is_nowhere_is_named_below_the_others(own):
    text = own.read_text().replace("task: {", "tasks: [{").replace("test: 64}", "test: 64},")
    text = text.replace("models:", "  {name: sciq, train: 20, validation: 4, test: 8}]\nmodels:")
    own.write_text(text)
    assert "task sciq is neither on this machine nor in the store: " in run(own)
    found = as_json(own)
    assert [task["task"] for task in found["tasks"]] == ["words"]
    assert [task["task"] for task in found["missing"]] == ["sciq"]
    assert "sciq" not in run(own, "--task", "words")


def test_a_sweep_that_was_ever_sealed_shows_no_test_labels(own):
    own.write_text(own.read_text() + "seal: true\n")
    in_store(own)
    own.write_text(own.read_text().replace("seal: true\n", ""))
    (task,) = as_json(own)["tasks"]
    assert task["sealed"]
    assert task["parts"][3]["classes"] is None
    assert "measured on 32 validation rows (the test is sealed)" in run(own)
    store = Store.open(own.parent / "results")
    assert store.looks.count("own") == 0
    content = page_content(open_results(store.uri))
    (entry,) = content["sweeps"][0]["data"]
    assert (entry["sealed"], entry["measured_on"]) == (True, "validation")
    assert entry["parts"][3]["classes"] is None


def test_the_page_has_the_same_data_and_no_texts_where_they_are_left_out(own):
    store = in_store(own)
    shutil.move(own.parent / "task.csv", own.parent / "moved.csv")
    (task,) = as_json(own, "--rows", "2")["tasks"]
    content = page_content(open_results(store.uri))
    (entry,) = content["sweeps"][0]["data"]
    assert json.loads(json.dumps(entry)) == task
    text = task["rows"][0]["texts"][0]["text"]
    assert text in to_html(content)
    bare = page_content(open_results(store.uri), has_texts=False)
    assert len(bare["sweeps"][0]["data"][0]["rows"]) == 0
    assert text not in to_html(bare)
    out = own.parent / "page.html"
    arguments = ["report", str(own), "--no-texts", "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert text not in out.read_text()


def test_it_starts_without_torch_and_ray(own):
    assert loaded_by(["data", str(own)], "torch", "transformers", "ray", "duckdb") == []
