from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.page.stores import store_with_failures
from tests.support import w2s
from w2s_ray.cli import app

SWEEP = """
name: sweep
task: {name: embedded, train: 100, validation: 20, test: 20}
models: ["embedded:xs", "embedded:s"]
methods: {naive: {}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    return store_with_failures(tmp_path_factory.mktemp("page")).uri


def test_the_report_is_one_file_and_its_path_is_printed(store, tmp_path):
    out = tmp_path / "report.html"
    done = w2s("report", "--store", store, "--out", out)
    assert done.returncode == 0, done.stderr
    step, line = done.stderr.splitlines()[:2]
    assert step == "computing tables and figures of the page"
    assert line.startswith(f"{out}: 39 runs, trials included, ")
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [out]


def test_texts_of_rows_can_be_left_out(store, tmp_path):
    pages = []
    for option in ((), ("--no-texts",)):
        out = tmp_path / "report.html"
        ran = CliRunner().invoke(app, ["report", "--store", store, "--out", str(out), *option])
        assert ran.exit_code == 0, ran.output
        pages.append(out.read_text(encoding="utf-8"))
    assert ["sciq text 1" in page for page in pages] == [True, False]


def test_a_changed_sweep_file_is_reported(store, tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    done = w2s("report", tmp_path / "sweep.yaml", "--store", store, "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "or its overrides have changed since the sweep was started" in done.stderr


@pytest.mark.parametrize("out", ["no/folder/page.html", "."])
def test_an_unwritable_file_gives_a_one_line_error(store, tmp_path, out):
    done = w2s("report", "--store", store, "--out", tmp_path / out)
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_sweep_that_never_ran_gives_a_one_line_error(store, tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("name: sweep", "name: other"))
    done = w2s("report", Path(tmp_path / "sweep.yaml"), "--store", store)
    assert done.returncode == 2
    assert "no sweep 'other'" in done.stderr
