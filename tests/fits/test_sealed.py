"""Sealed tests: fits get no test labels, tables score them later, and looks are counted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import NoCheckpoints
from w2s_ray.cli import app
from w2s_ray.config import Sweep, parse_sweep
from w2s_ray.errors import InputError
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plan import Plan
from w2s_ray.prepare import materialize, plan_sweep, refuse_known_figures, write_manifest
from w2s_ray.report import open_results
from w2s_ray.report.page import page_content
from w2s_ray.report.table import pgr_table
from w2s_ray.store import Store
from w2s_ray.store.splits import Splits

SWEEP = """
name: one
task: {name: embedded, train: 200, validation: 50, test: 100}
models:
  - {name: "embedded:xs", label: xs, training: {lr: 1.0e-2}}
  - {name: "embedded:s", label: s, training: {lr: 1.0e-2}}
training: {batch_size: 32, epochs: 1, max_tokens: 32, evaluations_per_epoch: 1}
early_stopping: {patience: 1}
methods: {naive: {}, confidence: {loss: {kind: confidence}}}
controls: true
execution: {gpus_per_worker: 0}
"""
SEALED = SWEEP + "seal: true\n"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def trained(text: str, folder: Path) -> tuple[Plan, Store]:
    """The sweep's fits in a store, each in this process, as the driver's workers train them."""
    store, sweep = Store.open(folder), parse_sweep(text)
    plan = plan_sweep(sweep, store=store)
    materialize(plan, store)
    write_manifest(plan, store, text)
    with pytest.MonkeyPatch.context() as patch:
        if sweep.seal:
            patch.setattr(Splits, "rows", _only_sealed(Splits.rows))
        for fit in plan.fits.values():
            record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
            assert record.status == "done", record.traceback
    return plan, store


def _only_sealed(rows):
    def read(splits: Splits, fingerprint: str, *, sealed: bool = False):
        assert sealed, "a fit of a sealed sweep reads the rows with test labels"
        return rows(splits, fingerprint, sealed=sealed)

    return read


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[tuple[Plan, Store], tuple[Plan, Store]]:
    """A sealed sweep and the same one without the seal, in stores of their own."""
    folder = tmp_path_factory.mktemp("stores")
    return trained(SEALED, folder / "sealed"), trained(SWEEP, folder / "open")


@pytest.fixture
def copied(both, tmp_path) -> tuple[Sweep, Store]:
    """A copy of the sealed store, without looks."""
    (plan, store), _ = both
    shutil.copytree(store.uri, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "looks", ignore_errors=True)
    return plan.sweep, Store.open(tmp_path / "copy")


def test_a_sealed_fit_is_the_same_fit(both):
    (plan, store), (other, open_store) = both
    assert plan.fits.keys() == other.fits.keys()
    for id_ in plan.fits:
        assert store.predictions(id_).equals(open_store.predictions(id_))


def test_nothing_that_a_sealed_fit_writes_has_a_test_figure_or_a_test_label(both):
    (plan, store), (_, open_store) = both
    assert "test_accuracy" in open_store.record(next(iter(plan.fits))).summary
    for id_ in plan.fits:
        summary = store.record(id_).summary
        found = {name for name in summary if "test" in name or "oracle" in name}
        assert found <= {"test_spread", "test_class_1"}  # of predictions alone
        names = set(store.metrics(id_)["metric"].to_pylist())
        found = {name for name in names if name.startswith(("test/", "oracle/"))}
        assert found == set()
        assert "label" not in store.predictions(id_).column_names


def test_only_the_labels_of_test_rows_are_sealed(both):
    (plan, store), _ = both
    (split,) = {fit.recipe.split for fit in plan.fits.values()}
    whole, sealed = (store.splits.rows(split, sealed=s).to_pylist() for s in (False, True))
    for one, other in zip(whole, sealed, strict=True):
        hidden = {"label": None} if one["part"] == "test" else {}
        assert other == {**one, **hidden}
    assert all(row["label"] is not None for row in whole)


def test_the_table_of_a_sealed_sweep_has_the_same_figures(both):
    (_, store), (_, open_store) = both
    sealed, plain = pgr_table(store), pgr_table(open_store)
    for one, other in zip(sealed.rows, plain.rows, strict=True):
        for name in ("method", "weak_accuracy", "student_accuracy", "gain", "pgr", "student_low"):
            assert getattr(one, name) == getattr(other, name)
        assert one.oracle_stopped_student is None
    assert [row.student_accuracy for row in sealed.by_seed] == [
        row.student_accuracy for row in plain.by_seed
    ]


def test_every_command_that_shows_test_figures_counts_one_look(copied, tmp_path):
    _, store = copied
    commands = [
        ["table"],
        ["table", "--format", "csv"],
        ["compare"],
        ["figures", "--out", str(tmp_path / "figures"), "--only", "methods-accuracy"],
        ["report", "--out", str(tmp_path / "report.html")],
        ["query", "select count(*) from runs"],
    ]
    for number, command in enumerate(commands, start=1):
        result = CliRunner().invoke(app, [*command, "--store", store.uri])
        assert result.exit_code == 0, result.output
        times = "once" if number == 1 else f"{number} times"
        line = f"one: the test is sealed; its figures were looked at {times}, this time included"
        assert line in result.stderr, command
        assert line not in result.stdout
        assert store.looks.count("one") == number
    results = open_results(store.uri)
    assert store.looks.count("one") == len(commands) + 1
    looks = page_content(results)["sweeps"][0]["looks"]
    assert looks == f"one: the test is sealed; its figures were looked at {len(commands) + 1} times"
    assert "looked at 5 times" in (tmp_path / "report.html").read_text()


def test_a_sweep_that_was_never_sealed_counts_no_looks(both):
    _, (_, store) = both
    result = CliRunner().invoke(app, ["table", "--store", store.uri])
    assert result.exit_code == 0
    assert "looked at" not in result.stdout + result.stderr
    assert store.looks.count("one") == 0


def test_no_concurrent_look_is_lost(tmp_path):
    store = Store.open(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.looks.add("one", command="table"), range(40)))
    assert store.looks.count("one") == 40


def test_a_look_that_cannot_be_counted_is_refused(copied, monkeypatch):
    _, store = copied

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("w2s_ray.store.looks.Looks.add", refused)
    result = CliRunner().invoke(app, ["table", "--store", store.uri])
    assert result.exit_code == 2
    assert "this look at the sealed test of one can't be counted" in result.stderr
    assert result.stdout == ""


def test_a_sweep_whose_test_figures_are_known_cannot_be_sealed(both):
    _, (_, open_store) = both
    plan = plan_sweep(parse_sweep(SEALED), store=open_store)
    with pytest.raises(InputError, match=r"seal: \d+ fits of this sweep are done in .* with test"):
        refuse_known_figures(plan, open_store)
    refuse_known_figures(plan_sweep(parse_sweep(SWEEP), store=open_store), open_store)


def test_damaged_rows_without_test_labels_are_written_again_at_the_next_start(copied):
    sweep, store = copied
    plan = plan_sweep(sweep, store=store)
    (split,) = {fit.recipe.split for fit in plan.fits.values()}
    (Path(store.uri) / "splits" / split / "sealed.parquet").unlink()
    materialize(plan, store)
    assert store.splits.rows(split, sealed=True).num_rows == store.splits.rows(split).num_rows
