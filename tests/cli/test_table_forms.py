"""`w2s table` and `w2s compare` in every format, over a store of generated records."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from typer.testing import CliRunner

from tests.report.stored import cells_of, write_sweep
from tests.support import sweep_text
from w2s_ray.cli import app
from w2s_ray.store import Store

TASKS = ("words", "other_words")
STUDENTS = {
    ("words", "naive"): 0.7,
    ("words", "better"): 0.8,
    ("other_words", "naive"): 0.65,
    ("other_words", "better"): 0.8,
}
FORMATS = ("table", "markdown", "csv", "json", "latex")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    store = Store.open(tmp_path_factory.mktemp("forms"))
    cells = cells_of(tasks=TASKS, methods=("naive", "better"))
    write_sweep(store, cells, students=STUDENTS)
    return store.uri


def w2s(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("format", FORMATS)
def test_a_pivot_is_printed_in_every_format(store, format):
    text = w2s("table", "--pivot", "--store", store, "--format", format)
    match format:
        case "csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            medians = [row for row in rows if not row["task"]]
            assert len(rows) == 6
            assert [float(row["pgr"]) for row in medians] == pytest.approx([0.25, 2 / 3])
        case "json":
            first, second = TASKS
            tasks = [grid["task"] for grid in json.loads(text)]
            assert tasks == [first, first, second, second, None, None]
        case "latex":
            assert text.count(r"\toprule") == 6
            assert r"PGR on other\_words" in text
        case _:
            assert "sweep, better: median PGR over tasks" in text
            assert re.search(r"small +[|│] +0\.67", text)


@pytest.mark.parametrize("format", FORMATS)
def test_rows_of_seeds_are_printed_in_every_format(store, format):
    text = w2s("table", "--by-seed", "--store", store, "--format", format)
    match format:
        case "csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            assert {row["seed"] for row in rows} == {"0", "1"}
        case "json":
            assert len(json.loads(text)["by_seed"]) == 8
        case "latex":
            assert r"other\_words & small $\to$ large & naive & 1 & 60.0" in text
        case _:
            assert len(re.findall(r"small → large +[|│] +(?:naive|better) +[|│] +[01] ", text)) == 8
            assert "[95 % interval over test examples]" in text


@pytest.mark.parametrize("format", FORMATS)
def test_a_comparison_is_printed_in_every_format(store, format):
    text = w2s("compare", "--store", store, "--format", format)
    match format:
        case "csv":
            (pgr, _) = csv.DictReader(io.StringIO(text))
            assert float(pgr["mean"]) == pytest.approx((1 / 3 + 1 / 2) / 2)
        case "json":
            assert [one["quantity"] for one in json.loads(text)] == ["pgr", "student_accuracy"]
        case "latex":
            assert "better & +0.42 [" in text
        case _:
            assert re.search(r"better +[|│] +\+0\.42 \[", text)


@pytest.mark.parametrize(
    ("metric", "median"),
    [
        ("accuracy", "median accuracy │ rows │ objective"),
        ("gain", "median gain │ rows │ objective"),
        ("pgr", "median PGR │ rows │ over its own rows │ objective"),
    ],
)
def test_a_table_and_its_grids_are_about_one_metric(store, metric, median):
    text = w2s("table", "--store", store, "--metric", metric)
    heads = [re.sub(" +", " ", line).replace("┃", "│") for line in text.splitlines() if "┃" in line]
    assert (" PGR " in heads[0]) is (metric == "pgr")
    assert " gain " in heads[0]
    assert f" method │ {median}" in heads[1]
    seeds = w2s("table", "--store", store, "--metric", metric, "--by-seed")
    assert (" PGR " in seeds) is (metric == "pgr")
    grids = w2s("table", "--store", store, "--metric", metric, "--pivot")
    label = {"accuracy": "student's accuracy in %", "gain": "gain in points", "pgr": "PGR"}[metric]
    assert f"sweep, naive: {label} on words [95 % interval]" in grids


def test_the_table_is_printed_as_latex(store):
    text = w2s("table", "--store", store, "--format", "latex")
    assert r"other\_words & small $\to$ large & naive & 60.0" in text


def test_another_method_to_compare_with(store):
    (one, _) = json.loads(
        w2s("compare", "--store", store, "--against", "better", "--format", "json")
    )
    assert (one["method"], one["against"]) == ("naive", "better")
    assert one["mean"] < 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["compare", "--against", "naïve"], "no method 'naïve' to compare with; there are better"),
        (["compare", "--format", "xml"], "--format is 'xml'; choose one of table, markdown"),
        (["table", "--metric", "auc"], "--metric is 'auc'; choose one of accuracy, gain, pgr"),
        (["table", "--pivot", "--by-seed"], "give at most one of --by-seed, --pivot and --cost"),
    ],
)
def test_invalid_options_are_refused_in_one_line(store, arguments, error):
    text = w2s(*arguments, "--store", store, code=2)
    assert text.startswith(f"error: {error}")
    assert len(text.splitlines()) == 1


def test_one_method_alone_is_not_compared(tmp_path):
    store = Store.open(tmp_path)
    write_sweep(store, cells_of(tasks=TASKS, methods=("naive",)), students=STUDENTS)
    text = w2s("compare", "--store", store.uri, code=2)
    assert text == (
        "error: nothing to compare: no sweep has a method other than 'naive'; add one to a sweep\n"
    )


def test_models_are_in_the_order_of_the_sweep_file(tmp_path):
    path = tmp_path / "sweep.yaml"
    text = sweep_text(tmp_path)
    assert "pairs: [[a, b], [b, c]]" in text
    path.write_text(text.replace("pairs: [[a, b], [b, c]]", "pairs: [[b, c], [a, b]]"))
    store = Store.open(tmp_path / "results")
    store.check_writable()
    grids = json.loads(w2s("table", str(path), "--store", store.uri, "--pivot", "--format", "json"))
    assert (grids[0]["weak"], grids[0]["strong"]) == (["a", "b"], ["b", "c"])
