# ruff: noqa: E501  # a case is a line
"""Damaged and hostile stores: a note or one line for each, the rest is shown, nothing runs."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.store.builders import a_record, an_id
from tests.support import sweep_text
from w2s_ray.cli import app
from w2s_ray.config import load_sweep
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.prepare import materialize, plan_sweep, withdraw_damaged, write_manifest
from w2s_ray.store import Store, StoreError
from w2s_ray.store.checkpoints import StoredCheckpoints

METHODS = "naive: {}\n  confidence: {loss: {kind: confidence}}"
STUDY = an_id("study")


@dataclass(frozen=True)
class Base:
    """A finished sweep that was never trained: its records have the ids of its plan."""

    folder: Path
    supervisor: str
    student: str
    split: str

    @property
    def sweep(self) -> Path:
        return self.folder / "sweep.yaml"

    @property
    def root(self) -> Path:
        return self.folder / "results"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    folder = tmp_path_factory.mktemp("stores")
    sweep_file = folder / "sweep.yaml"
    text = sweep_text(folder, methods=METHODS)
    sweep_file.write_text(text)
    sweep = load_sweep(sweep_file)
    store = Store.open(sweep.store)
    plan = plan_sweep(sweep, store=store)
    materialize(plan, store)
    write_manifest(plan, store, text)
    for number, fit in enumerate(plan.fits.values()):
        rows = store.splits.rows(fit.recipe.split).to_pylist()
        rows = [row for row in rows if row["part"] in ("validation", "test", "student_half")]
        wrong = np.random.default_rng(number).random(len(rows)) < (0.4, 0.2, 0.1)[number % 3]
        p = [abs(row["label"] - 0.8 * w - 0.1) for row, w in zip(rows, wrong, strict=True)]
        test = [w for row, w in zip(rows, wrong, strict=True) if row["part"] == "test"]
        columns = {name: [row[name] for row in rows] for name in ("example_id", "part")}
        predictions = pa.table({**columns, "probability": p})
        metrics = pa.table(
            {
                "run_id": [fit.id] * 2,
                "step": [4, 8],
                "metric": ["validation/accuracy"] * 2,
                "value": [0.6, 0.7],
            }
        )
        accuracy = 1 - float(np.mean(test))
        summary = {"test_accuracy": accuracy, "steps": 8, "parameters": 100 + number}
        record = outcome_record(fit, status="done", summary=summary)
        store.write_run(record, metrics=metrics, predictions=predictions)
    store.write_attempt(outcome_record(fit, status="failed", reason="once"))
    study = a_record("study", kind="study", accuracy=None, recipe={"scheduler": "none"})
    store.write_run(study)
    for number in range(2):
        store.write_trial(STUDY, number, {"settings": {}, "state": "complete", "value": 0.5})
    student = next(fit for fit in plan.fits.values() if fit.recipe.labels.runs)
    return Base(folder, student.recipe.labels.runs[0], student.id, student.recipe.split)


@dataclass(frozen=True)
class Copy:
    """A copy of the base store that a case may damage."""

    base: Base
    root: Path

    def path(self, of: str) -> Path:
        """`of` with names of the base in it."""
        named = {"STUDY": STUDY, **{k: getattr(self.base, k) for k in Base.__annotations__}}
        return self.root / of.format(**named)


Damage = Callable[[Path], None]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bit(path: Path) -> None:
    """Flip a bit of a column's data, or in the middle of a text."""
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    if path.suffix == ".parquet":
        column = pq.ParquetFile(path).metadata.row_group(0).column(2)
        place = column.data_page_offset + column.total_compressed_size // 2
    content[place] ^= 8
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(b"\x80\xff\x00" * 50)


def gone(path: Path) -> None:
    path.unlink()


def text(content: str) -> Damage:
    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    return write


def changed(**values: Any) -> Damage:
    """JSON with other values of some keys; `a__b` is b within a."""

    def write(path: Path) -> None:
        data = json.loads(path.read_text())
        data.pop("checksum", None)
        for key, value in values.items():
            inner, *names = data, *key.split("__")
            for name in names[:-1]:
                inner = inner[name]
            inner[names[-1]] = value
        path.write_text(json.dumps(data))

    return write


def columns(**arrays: Any) -> Damage:
    def write(path: Path) -> None:
        pq.write_table(pa.table(arrays), path)

    return write


def unpickles(path: Path) -> None:
    """A pickle that leaves a file behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(Planted(path.parent / "ran")))


class Planted:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


TABLE, COMPARE, STATUS, COMPACT = ["table"], ["compare"], ["status"], ["compact"]
PLAN, COST, RUN = ["plan", "SWEEP"], ["cost", "SWEEP"], ["run", "SWEEP"]
OF_SWEEP = ["status", "SWEEP"]
REPORT, FIGURES = ["report", "--out", "OUT/report.html"], ["figures", "--out", "OUT/figures"]
EXPLAIN = ["explain", "{supervisor}"]


def sql(query: str) -> list[str]:
    return ["query", query, "--format", "csv"]


RUNS, METRICS = sql("select count(*) from runs"), sql("select sum(value) from metrics")
PREDICTIONS = sql("select sum(probability) from predictions")
TRIALS, CELLS = sql("select count(*) from trials"), sql("select count(*) from cells")
SPLITS = sql("select max(text) from splits")
SCORES = sql("select count(*) from scores")
RECORD, WEAK = "runs/{supervisor}/record.json", "runs/{supervisor}/predictions.parquet"
CURVES, ROWS = "runs/{supervisor}/metrics.parquet", "splits/{split}/rows.parquet"
ABOUT, TRIAL = "splits/{split}/about.json", "runs/{STUDY}/trials/1.json"
NOT_RUN = "{supervisor} counts as not run; `w2s run` of its sweep runs it again"
NO_PREDICTIONS = "the predictions of run {supervisor} can't be used; restore the file from a copy"
NO_ROWS = "the rows of runs/{supervisor}/predictions.parquet are left out"
NO_SPLIT = "no fit can be trained or measured on split {split}"
NO_TRIAL = "trial 1 of study {STUDY} is left out"
NO_MANIFEST = "a manifest of sweep tiny is left out; `w2s run` of that sweep writes one"


@dataclass(frozen=True)
class Case:
    """What is damaged how, what each command then says, and what it shows all the same."""

    file: str
    damage: Damage
    commands: list[list[str]]
    says: str
    shows: str = ""
    code: int = 0
    name: str = field(default="", compare=False)


def case(
    file: str, damage: Damage, *commands: list[str], says: str, shows: str = "", code: int = 0
) -> Case:
    return Case(file, damage, list(commands), says, shows, code)


READ = (TABLE, COMPARE, STATUS, RUNS, PREDICTIONS, SCORES, REPORT, FIGURES)
CASES = [
    # records
    case(RECORD, cut, *READ, PLAN, COST, OF_SWEEP, says=NOT_RUN),
    case(RECORD, empty, TABLE, says=NOT_RUN, shows="b → c"),
    case(RECORD, noise, TABLE, STATUS, COMPACT, says=NOT_RUN),
    case(RECORD, bit, TABLE, PLAN, says=NOT_RUN),
    case(RECORD, text("[]"), TABLE, RUNS, says=NOT_RUN),
    case(RECORD, text("[" * 100_000), TABLE, says=NOT_RUN),
    case(RECORD, text('{{"id": 1e999}}'), TABLE, says=NOT_RUN),
    case(RECORD, changed(id="0" * 20), TABLE, RUNS, says=NOT_RUN),
    case(RECORD, changed(id="../../x"), TABLE, says=NOT_RUN),
    case(RECORD, changed(recipe__training__epochs=3), TABLE, COST, says="the run id in its folder name does not match its recipe"),
    case(RECORD, changed(recipe=5), TABLE, says=NOT_RUN),
    case(RECORD, changed(recipe__training=[1], identity_version=1), TABLE, RUNS, SCORES, FIGURES, says=NOT_RUN),
    case(RECORD, changed(recipe__labels="x", identity_version=1), TABLE, RUNS, says=NOT_RUN),
    case(RECORD, changed(recipe__labels__source=3, identity_version=1), TABLE, says=NOT_RUN),
    case(RECORD, changed(summary={"test_accuracy": [1]}), TABLE, says=NOT_RUN),
    case(RECORD, changed(started_at="yesterday"), TABLE, STATUS, says=NOT_RUN),
    case(RECORD, changed(bytes="many"), TABLE, says=NOT_RUN),
    case(RECORD, cut, EXPLAIN, says="has no record that can be read", code=2),
    case(RECORD, unpickles, TABLE, says=NOT_RUN),
    case("runs/{supervisor}/attempt-1.json", text("{{"), EXPLAIN, says="this attempt at run {supervisor} is not shown; restore the file", shows="recipe"),
    case("runs/stray.txt", text("x"), TABLE, STATUS, COST, OF_SWEEP, COMPACT, says="", shows=""),
    case("runs/a b/record.json", text("{}"), TABLE, STATUS, RUNS, says=""),
    # predictions
    *(case(WEAK, how, TABLE, COMPARE, SCORES, REPORT, FIGURES, says=NO_PREDICTIONS) for how in (cut, empty, noise)),
    *(case(WEAK, how, PREDICTIONS, says=NO_ROWS) for how in (cut, empty, noise, bit)),
    case(WEAK, bit, TABLE, COMPARE, SCORES, says=NO_PREDICTIONS),
    case(WEAK, cut, TABLE, says="no intervals: the predictions of run {supervisor} are damaged", shows="b → c"),
    case(WEAK, cut, COMPACT, says="run {supervisor} is left out of the catalog"),
    case(WEAK, columns(a=[1]), TABLE, SCORES, says=NO_PREDICTIONS),
    case(WEAK, columns(a=[1]), PREDICTIONS, says=NO_ROWS),
    case(WEAK, columns(example_id=["x"], part=["test"], probability=["high"]), TABLE, says=NO_PREDICTIONS),
    case(WEAK, columns(example_id=["x"], part=["test"], probability=["high"]), PREDICTIONS, says=NO_ROWS),
    case(WEAK, columns(example_id=["x"], part=["test"], probability=[None]), TABLE, says=NO_PREDICTIONS),
    case(WEAK, unpickles, TABLE, PREDICTIONS, says="predictions.parquet"),
    case(WEAK, gone, TABLE, says="run {supervisor} has no predictions"),
    # metrics
    *(case(CURVES, how, METRICS, REPORT, says="the rows of runs/{supervisor}/metrics.parquet are left out") for how in (cut, empty, noise, bit)),
    *(case("runs/{student}/metrics.parquet", how, FIGURES, says="the metrics of run {student} can't be used") for how in (cut, bit)),
    case(CURVES, cut, TABLE, COMPARE, STATUS, says=""),
    # splits
    *(case(ROWS, how, TABLE, COMPARE, SCORES, REPORT, FIGURES, says=NO_SPLIT) for how in (cut, empty, noise, bit, gone)),
    *(case(ROWS, how, SPLITS, says="the rows of splits/{split}/rows.parquet are left out") for how in (cut, bit)),
    case(ROWS, cut, RUN, says="`w2s run` of its sweep writes it again", shows="b → c"),
    case(ROWS, columns(example_id=[1]), TABLE, says=NO_SPLIT),
    case(ABOUT, cut, RUN, says=NO_SPLIT, shows="b → c"),
    case(ABOUT, text("[1]"), RUN, says=NO_SPLIT, shows="b → c"),
    case("splits/stray.txt", text("x"), TABLE, SPLITS, says=""),
    case("splits/x/y/about.json", text("{}"), TABLE, SPLITS, says=""),
    # trials
    *(case(TRIAL, how, TRIALS, says=NO_TRIAL) for how in (cut, empty, noise)),
    case(TRIAL, cut, TRIALS, says=NO_TRIAL, shows="\n1\n"),
    case(TRIAL, text("[]"), TRIALS, says=NO_TRIAL, shows="\n1\n"),
    case(TRIAL, text("7"), TRIALS, says=NO_TRIAL),
    case(TRIAL, text("[" * 100_000), TRIALS, says=NO_TRIAL),
    case(TRIAL, changed(number=0), TRIALS, says="its number is 0"),
    case(TRIAL, changed(number="one"), TRIALS, says=NO_TRIAL),
    case(TRIAL, changed(fits="x"), TRIALS, says=NO_TRIAL),
    case(TRIAL, changed(fits=[1]), TRIALS, says=NO_TRIAL),
    case(TRIAL, changed(settings=[1]), TRIALS, says=NO_TRIAL),
    case(TRIAL, changed(state=None), TRIALS, says=NO_TRIAL),
    case(TRIAL, changed(value="good"), TRIALS, says=NO_TRIAL),
    # sweeps
    case("sweeps/stray.txt", text("x"), TABLE, STATUS, CELLS, REPORT, says="stray.txt is damaged (not a manifest", shows=""),
    case("sweeps/tiny/notes.md", text("x"), TABLE, says="notes.md is damaged (not a manifest", shows="b → c"),
    case("sweeps/tiny/x/y.json", text("{}"), TABLE, says="y.json is damaged (not a manifest"),
    case("sweeps/tiny/zz.json", text("{"), TABLE, STATUS, RUN, says=NO_MANIFEST, shows=""),
    case("sweeps/tiny/zz.json", text("[" * 100_000), TABLE, says=NO_MANIFEST),
    case("sweeps/other/zz.json", text("{}"), TABLE, STATUS, says="a manifest of sweep other is left out"),
    case("sweeps/.hidden/zz.json", text("{}"), TABLE, says="a manifest of sweep .hidden is left out"),
    # the marker
    *(case("store.json", how, TABLE, RUN, PLAN, RUNS, says="store.json is damaged: it has no format", code=2) for how in (text("[]"), text("{"), empty, noise, text("3"), text("{}"))),
    case("store.json", text('{"format": "one"}'), TABLE, says="has format 'one'", code=2),
    case("store.json", text('{"format": 99}'), TABLE, says="this version reads up to 1", code=2),
    # what drivers leave
    case("work/live/x.json", noise, STATUS, OF_SWEEP, TABLE, says=""),
    case("work/claims/x.json", noise, STATUS, TABLE, says=""),
    # copies and derived values
    case("catalog/index.json", noise, TABLE, RUNS, COMPACT, says="the catalog is not used"),
    case("catalog/index.json", text('{"segments": [{"name": "../../x", "runs": 1, "sizes": {}, "splits": {}}]}'), TABLE, says="the catalog is not used"),
    case("catalog/index.json", text('{"retired": [{"name": "../../x", "at": "2020-01-01T00:00:00Z"}]}'), COMPACT, says="the catalog is not used"),
    case("catalog/segments/x", text("x"), COMPACT, TABLE, says=""),
    case("catalog/derived/intervals.parquet", noise, TABLE, says="is computed again"),
    case("catalog/derived/intervals.parquet", columns(key=[1]), TABLE, COMPARE, says=""),
    case("catalog/derived/rows.parquet", columns(catalog=["x"], key=[2], answer=[3], runs=[4]), TABLE, says=""),
    case("catalog/derived/scores-4.parquet", noise, SCORES, says="is computed again"),
    case("catalog/derived/scores-4.parquet", unpickles, SCORES, says="is computed again"),
]  # fmt: skip
RUNNER = CliRunner()


def title(case: Case) -> str:
    return f"{case.file}-{case.damage.__name__}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=title)
def test_damage_in_a_store_affects_only_the_damaged_part(
    base: Base, tmp_path: Path, case: Case
) -> None:
    for number, command in enumerate(case.commands):
        copy = Copy(base, tmp_path / f"results-{number}")
        shutil.copytree(base.root, copy.root)
        copy.path(case.file).parent.mkdir(parents=True, exist_ok=True)
        case.damage(copy.path(case.file))
        arguments = [
            a.replace("OUT", str(tmp_path)).replace("SWEEP", str(base.sweep)) for a in command
        ]
        arguments = [a.replace("{supervisor}", base.supervisor) for a in arguments]
        ended = RUNNER.invoke(app, [*arguments, "--store", str(copy.root)])
        stderr = ended.stderr
        details = f"{arguments}: {ended.output}"
        assert ended.exit_code == case.code, details
        assert "Traceback" not in stderr, details
        assert "Aborted" not in stderr, details
        expected = case.says
        for key in ("supervisor", "student", "split"):
            expected = expected.replace(f"{{{key}}}", getattr(base, key))
        expected = expected.replace("{STUDY}", STUDY)
        assert expected in ended.output, details
        assert case.shows in ended.stdout, details
        if case.code == 2:
            assert len([line for line in stderr.splitlines() if line.startswith("error: ")]) == 1
        assert all(len(line) < 1000 for line in stderr.splitlines()), details
        assert not list(copy.root.rglob("ran"))
    assert not (tmp_path / "x").exists()


NAMES = [
    "../../../../../../victim",
    "/tmp/w2s-victim",
    "a/../../../../../../victim",
    "..",
    "",
    "a//b",
    "./a",
    "a\0b",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_path_in_a_checkpoint_is_not_followed(tmp_path: Path, name: str) -> None:
    store, spool, met = Store.open(tmp_path / "store"), tmp_path / "spool", []
    victim = tmp_path / "victim"
    victim.write_text("precious")
    kept = StoredCheckpoints(store, "fit", "torch", every_s=0, spool=spool, on_damage=met.append)
    kept.save(1, lambda folder: (folder / "state").write_text("x") and None)
    kept.flush()
    store.files.write("work/fit/torch/step-1/rank-0.done", json.dumps({name: 8}).encode())
    kept._remove_own(lambda step: step != 1)
    assert kept.latest() is None
    assert [each.why for each in met] != []
    assert not any(spool.rglob("latest-*"))
    kept.close()
    assert victim.read_text() == "precious"
    assert not Path("/tmp/w2s-victim").exists()


@pytest.mark.parametrize("marker", [[1], {"a": "x"}, {"a": None}, "x", 3])
def test_a_marker_of_another_form_is_set_aside(tmp_path: Path, marker: Any, caplog) -> None:
    store = Store.open(tmp_path / "store")
    store.files.write("work/fit/torch/step-1/rank-0.done", json.dumps(marker).encode())
    kept = StoredCheckpoints(store, "fit", "torch", every_s=0, spool=tmp_path / "spool")
    assert kept.latest() is None
    assert "rank-0.done is damaged" in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_no_path_in_a_store_points_outside_it(tmp_path: Path, name: str) -> None:
    files = Store.open(tmp_path / "store").files
    if name:
        for act in (files.read, files.exists, files.locate, files.find, files.remove_folder):
            with pytest.raises(StoreError, match="not a relative path below its folder"):
                act(name)
    with pytest.raises(StoreError, match="not a relative path below its folder"):
        files.write(name, b"x")


def test_a_planted_key_is_left_out_and_fetched_nowhere(
    s3_store: str, tmp_path: Path, caplog
) -> None:
    store, run = Store.open(s3_store), a_record()
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"tensors")
    store.write_run(run, weights=weights)
    system, root = store.files._opened
    client = system.session  # keys with `..`, as an S3 client that resolves nothing may write them
    assert client is not None
    bucket, _, prefix = root.partition("/")
    system.call_s3(
        "put_object", Bucket=bucket, Key=f"{prefix}/runs/{run.id}/weights/../../../x", Body=b"x"
    )
    fetched = store.fetch_weights(run.id, tmp_path / "deep" / "cache")
    assert fetched is not None
    assert [p.name for p in fetched.rglob("*")] == ["model.safetensors"]
    assert not list(tmp_path.rglob("x"))
    assert "is not a path of a store's file: left out" in caplog.text


def test_damaged_results_that_other_runs_need_are_made_again(base: Base, tmp_path: Path) -> None:
    copy = Copy(base, tmp_path / "results")
    shutil.copytree(base.root, copy.root)
    store = Store.open(copy.root)
    plan = plan_sweep(load_sweep(base.sweep), store=store)
    runs = {*plan.fits, *plan.studies}
    cut(copy.path(WEAK))
    withdraw_damaged(plan, store)
    assert store.done(runs) == runs, "no run needs it any more"
    copy.path("runs/{student}/record.json").unlink()
    withdraw_damaged(plan, store)
    assert store.done(runs) == runs - {base.supervisor, base.student}
    (attempt,) = store.attempts(base.supervisor)
    assert (attempt.status, attempt.cause) == ("failed", "store")
    assert "predictions.parquet is damaged" in str(attempt.reason)


def test_a_damaged_record_and_split_are_replaced(base: Base, tmp_path: Path, caplog) -> None:
    copy = Copy(base, tmp_path / "results")
    shutil.copytree(base.root, copy.root)
    store = Store.open(copy.root)
    plan = plan_sweep(load_sweep(base.sweep), store=store)
    record, rows = store.record(base.supervisor), store.splits.rows(base.split)
    cut(copy.path(RECORD))
    assert base.supervisor not in store.done(plan.fits)
    assert store.find(base.supervisor) is None
    assert store.write_run(record, predictions=None).id == base.supervisor
    assert store.record(base.supervisor).summary == record.summary
    bit(copy.path(ROWS))
    materialize(plan, store)
    assert store.splits.rows(base.split) == rows
