"""`w2s table --over-tasks`: the intervals of medians are for new tasks."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.report.stored import cells_of, write_sweep
from w2s_ray.cli.app import app
from w2s_ray.report.medians import medians_over_tasks
from w2s_ray.report.statistics.new_tasks import median_interval
from w2s_ray.report.table import pgr_table
from w2s_ray.store import Store

RATES = {"naive": (0.70, 0.72, 0.66), "other": (0.75, 0.80, 0.69)}
TASKS = ("a", "b", "c")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    store = Store.open(tmp_path_factory.mktemp("medians"))
    students = {
        (task, method): rate
        for method, rates in RATES.items()
        for task, rate in zip(TASKS, rates, strict=True)
    }
    write_sweep(store, cells_of(tasks=TASKS, methods=RATES, seeds=1), students=students)
    return store


def test_the_intervals_are_those_of_resampled_tasks_and_the_medians_stay(store):
    table = pgr_table(store)
    for method in medians_over_tasks(table).by_method:
        rows = [row for row in table.rows if row.method == method.method]
        expected = median_interval([row.pgr or 0.0 for row in rows], [row.task for row in rows])
        assert expected is not None
        assert (method.median_low, method.median_high) == (expected.low, expected.high)
        (fixed,) = (one for one in table.by_method if one.method == method.method)
        assert method.median_pgr == fixed.median_pgr
        assert (method.intervals_over, fixed.intervals_over) == ("tasks", "examples")
        assert expected.high - expected.low > fixed.median_high - fixed.median_low


def test_one_task_has_none(tmp_path):
    store = Store.open(tmp_path)
    write_sweep(store, cells_of(tasks="a", methods=["naive"]), students={("a", "naive"): 0.7})
    (method,) = medians_over_tasks(pgr_table(store)).by_method
    assert (method.median_low, method.median_gain_low, method.intervals_over) == (None,) * 3


def test_the_command_says_what_the_intervals_are_for(store):
    given = ["table", "--store", store.uri, "--over-tasks"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "intervals are for new tasks" in result.output
    found = json.loads(CliRunner().invoke(app, [*given, "--format", "json"]).output)
    assert {method["intervals_over"] for method in found["by_method"]} == {"tasks"}


@pytest.mark.parametrize("other", [["--by-seed"], ["--pivot"], ["--cost"], ["--format", "csv"]])
def test_output_without_medians_is_refused(store, other):
    result = CliRunner().invoke(app, ["table", "--store", store.uri, "--over-tasks", *other])
    assert result.exit_code == 2
    assert "--over-tasks is about medians over tasks" in result.output
