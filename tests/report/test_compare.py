from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace
from statistics import fmean, median

import numpy as np
import pytest
from scipy.stats import sem, t, wilcoxon

from tests.report.stored import EXAMPLES, cells_of, write_run, write_split, write_sweep
from tests.store.builders import a_manifest, a_recipe, a_record
from w2s_ray.report import comparison_sheets, open_results, sheet
from w2s_ray.report.columns import schema_of
from w2s_ray.report.compare import compare
from w2s_ray.report.comparison import Comparison
from w2s_ray.report.differences import TABLE
from w2s_ray.report.table import pgr_table
from w2s_ray.store import Store
from w2s_ray.store.table_cache import TableCache
from w2s_ray.store.tables import column_meanings

TASKS = tuple("abcdefgh")
NAIVE = dict(zip(TASKS, (0.70, 0.72, 0.68, 0.74, 0.66, 0.70, 0.71, 0.69), strict=True))
BETTER = dict(zip(TASKS, (0.75, 0.80, 0.76, 0.78, 0.72, 0.69, 0.79, 0.76), strict=True))


def students(**of_method: dict[str, float]) -> dict[tuple[str, str], float]:
    return {
        (task, name): right for name, tasks in of_method.items() for task, right in tasks.items()
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Eight tasks, two methods, two seeds; all runs with predictions."""
    store = Store.open(tmp_path_factory.mktemp("compared"))
    cells = cells_of(tasks=TASKS, methods=("naive", "better"))
    write_sweep(store, cells, students=students(naive=NAIVE, better=BETTER))
    return store


def compared(store: Store, *, against: str | None = "naive", **options) -> dict:
    found = compare(pgr_table(store, **options), store, against=against)
    return {(one.method, one.against, one.quantity): one for one in found}


def test_a_comparison_uses_the_rows_of_the_table(store):
    found = compared(store)
    assert list(found) == [("better", "naive", "pgr"), ("better", "naive", "student_accuracy")]
    rows = {(row.task, row.method): row for row in pgr_table(store).rows}
    for quantity in ("pgr", "student_accuracy"):
        one = found["better", "naive", quantity]
        differences = [
            getattr(rows[task, "better"], quantity) - getattr(rows[task, "naive"], quantity)
            for task in TASKS
        ]
        assert one.mean == pytest.approx(fmean(differences))
        assert one.median == pytest.approx(median(differences))
        assert one.p == pytest.approx(wilcoxon(np.round(differences, 12)).pvalue)
        assert one.p_holm == one.p  # the only one of its family
        assert (one.rows, one.tasks, one.seeds) == (8, 8, 2)
        assert (one.without_pgr, one.left_out, one.missing) == (0, 0, 0)
        assert one.mean_low < one.mean < one.mean_high
        assert one.median_low <= one.median <= one.median_high


def test_the_interval_has_the_width_of_a_paired_comparison(store):
    """One seed, one task: examples alone are resampled, so normal theory gives the width."""
    folder = Store.open(store.uri + "-alone")
    cells = cells_of(tasks=("a",), methods=("naive", "better"), seeds=1)
    write_sweep(folder, cells, students=students(naive=NAIVE, better=BETTER))
    one = compared(folder)["better", "naive", "student_accuracy"]
    labels = folder.splits.rows("split-a")["label"].to_numpy() == 1
    right = {
        cell.method: (folder.predictions(cell.student)["probability"].to_numpy() > 0.5) == labels
        for cell in cells
        if cell.student
    }
    each = right["better"].astype(float) - right["naive"]
    error = each.std() / np.sqrt(EXAMPLES)
    assert one.mean == pytest.approx(0.05)
    assert one.mean_low == pytest.approx(0.05 - 1.96 * error, abs=error / 5)
    assert one.mean_high == pytest.approx(0.05 + 1.96 * error, abs=error / 5)
    assert (one.mean_low, one.mean_high) == (one.median_low, one.median_high)
    assert one.seeds == 1
    text = sheet.to_markdown(comparison_sheets.sheets([one]))
    assert "one seed: the interval is over test examples alone" in text


def test_over_tasks_the_interval_has_the_spread_of_tasks(store):
    quantity = "student_accuracy"
    fixed = compared(store)["better", "naive", quantity]
    every = compare(pgr_table(store), store, over_tasks=True)
    (drawn,) = (one for one in every if one.quantity == quantity)
    differences = [BETTER[task] - NAIVE[task] for task in TASKS]
    low, high = t.interval(0.95, len(TASKS) - 1, fmean(differences), sem(differences))
    assert drawn.mean_low == pytest.approx(low, abs=0.005)
    assert drawn.mean_high == pytest.approx(high, abs=0.005)
    assert (fixed.intervals_over, drawn.intervals_over) == ("seeds and examples", "tasks")
    assert (drawn.mean, drawn.median, drawn.p) == (fixed.mean, fixed.median, fixed.p)
    assert "[95 % interval over tasks]" in sheet.to_markdown(comparison_sheets.sheets([drawn]))


def test_one_task_has_no_interval_over_tasks(tmp_path):
    store = Store.open(tmp_path)
    cells = cells_of(tasks=("a",), methods=("naive", "better"))
    write_sweep(store, cells, students=students(naive=NAIVE, better=BETTER))
    for one in compare(pgr_table(store), store, over_tasks=True):
        assert (one.mean_low, one.median_high, one.intervals_over) == (None, None, None)
        assert one.no_interval == "one task shows no spread over tasks"


def test_a_method_does_not_differ_from_its_copy(tmp_path):
    store = Store.open(tmp_path)
    cells = cells_of(tasks=TASKS, methods=("naive",))
    copies = [cell.model_copy(update={"method": "copy"}) for cell in cells]
    write_sweep(store, [*cells, *copies], students=students(naive=NAIVE, copy=NAIVE))
    for one in compared(store).values():
        assert (one.mean, one.mean_low, one.mean_high) == (0, 0, 0)
        assert (one.median, one.median_low, one.median_high) == (0, 0, 0)
        assert (one.p, one.p_holm) == (None, None)
        assert one.no_p.startswith("0 of 8 rows differ")


def test_a_reversed_comparison_has_opposite_signs(store):
    there, back = compared(store), compared(store, against="better")
    both = compared(store, against=None)
    assert both == there | back
    for quantity in ("pgr", "student_accuracy"):
        one, other = there["better", "naive", quantity], back["naive", "better", quantity]
        assert other.mean == pytest.approx(-one.mean)
        assert other.mean_low == pytest.approx(-one.mean_high)
        assert other.mean_high == pytest.approx(-one.mean_low)
        assert other.p == one.p


def test_computed_intervals_of_differences_are_cached(store):
    first = compared(store)
    kept = store.cache.read(TABLE)
    assert kept is not None
    assert compared(store) == first
    again = store.cache.read(TABLE)
    assert again is not None
    assert again.equals(kept)


def test_comparisons_work_with_a_read_only_store(store, monkeypatch):
    def refused(*_):
        raise PermissionError("read-only")

    first = compared(store)
    store.files.remove_folder("catalog")
    monkeypatch.setattr(TableCache, "write", refused)
    assert compared(store) == first


def test_a_damaged_cache_changes_nothing(store):
    first = compared(store)
    (path,) = [path for path in store.files.find("catalog") if TABLE in path]
    store.files.write(path, b"damaged")
    assert compared(store) == first


@pytest.fixture
def three(tmp_path) -> Store:
    """Seven tasks: one without a gap, one searched, one whose student lacks a seed, and so on."""
    store = Store.open(tmp_path)
    tasks = ("full", "gapless", "searched", "a seed less", "no student", "p", "q", "r", "s")
    tasks = tuple(task.replace(" ", "-") for task in tasks)
    cells = cells_of(tasks=tasks, methods=("naive",))
    searched = [
        cell.model_copy(update={"objective": "transfer", "searched": cell.task == "searched"})
        for cell in cells_of(tasks=tasks, methods=("tuned",))
    ]
    store.manifests.write(a_manifest(*cells, *searched))
    for cell in (*cells, *searched):
        write_split(store, cell.task)
        ceiling = 0.6 if cell.task == "gapless" else 0.9
        for id_, right in ((cell.supervisor, 0.6), (cell.ceiling, ceiling)):
            write_run(store, id_, task=cell.task, right=right)
        lacking = cell.method == "tuned" and (
            cell.task == "no-student" or (cell.task == "a-seed-less" and cell.seed == 1)
        )
        if not lacking and cell.student:
            right = {"naive": 0.70, "tuned": 0.78}[cell.method] + cell.seed / 20
            write_run(store, cell.student, task=cell.task, right=right)
    return store


def test_rows_that_cannot_be_compared_are_left_out_and_counted(three):
    found = compared(three)
    pgr, accuracy = (found["tuned", "naive", name] for name in ("pgr", "student_accuracy"))
    assert (pgr.rows, pgr.without_pgr, pgr.left_out, pgr.missing) == (6, 1, 1, 1)
    assert (accuracy.rows, accuracy.without_pgr, accuracy.left_out, accuracy.missing) == (
        *(7, 0),
        *(1, 1),
    )
    assert (pgr.objective, pgr.against_objective) == ("transfer", "none")
    assert pgr.seeds == accuracy.seeds == 1
    # Over the one seed that both have, not over two of naive and one of tuned.
    assert accuracy.mean == pytest.approx(0.08)
    (text,) = [line.notes for line in comparison_sheets.sheets([pgr])]
    assert text[:3] == (
        "(1) 1 rows without a gap to recover",
        "(2) 1 rows left out (ground truth of the same task and student chose their settings)",
        "(3) 1 rows without a seed complete in both",
    )


def test_a_method_that_was_searched_everywhere_is_compared_as_an_oracle(tmp_path):
    store = Store.open(tmp_path)
    naive = cells_of(tasks=TASKS, methods=("naive",), seeds=1)
    oracle = cells_of(tasks=TASKS, methods=("better",), seeds=1, objective="oracle")
    write_sweep(store, [*naive, *oracle], students=students(naive=NAIVE, better=BETTER))
    one = compared(store)["better", "naive", "pgr"]
    assert (one.objective, one.rows, one.left_out) == ("oracle", 8, 0)
    assert "better is oracle, naive is none" in comparison_sheets.sheets([one])[0].notes[0]


def test_runs_without_predictions_are_compared_without_an_interval(tmp_path):
    store = Store.open(tmp_path)
    cells = cells_of(tasks=TASKS, methods=("naive", "better"))
    write_sweep(store, cells, students=students(naive=NAIVE, better=BETTER))
    before = compared(store)["better", "naive", "pgr"]
    store.files.remove_folder("catalog")
    store.files.remove_folder("splits/split-a")
    after = compared(store)["better", "naive", "pgr"]
    assert (after.mean, after.p) == (before.mean, before.p)
    assert (after.mean_low, after.median_high) == (None, None)
    assert after.no_interval == "no interval: split split-a is not in the store"


def test_the_correction_is_over_the_methods_of_one_quantity(tmp_path):
    store = Store.open(tmp_path)
    methods = ("naive", "better", "other")
    cells = cells_of(tasks=TASKS, methods=methods, seeds=1)
    other = {task: right + 0.02 * (-1) ** i for i, (task, right) in enumerate(NAIVE.items())}
    write_sweep(store, cells, students=students(naive=NAIVE, better=BETTER, other=other))
    found = compared(store)
    better, worse = (found[name, "naive", "pgr"] for name in ("better", "other"))
    assert better.p < worse.p
    assert better.p_holm == pytest.approx(2 * better.p)
    assert worse.p_holm == pytest.approx(max(2 * better.p, worse.p))


def test_sweeps_are_compared_separately(store, tmp_path):
    two = Store.open(tmp_path)
    tasks = TASKS[:2]
    for name, methods in (("one", ("naive", "better")), ("two", ("better",))):
        cells = cells_of(tasks=tasks, methods=methods)
        write_sweep(two, cells, students=students(naive=NAIVE, better=BETTER), name=name)
    assert {one.sweep for one in compared(two).values()} == {"one"}
    with pytest.raises(ValueError, match="no method 'naive' to compare with; there are better"):
        compared(two, sweep="two")
    assert compare(pgr_table(two, sweep="two"), two, against=None) == ()


def test_every_format_has_every_column(store):
    found = compare(pgr_table(store), store)
    assert schema_of(Comparison).names == list(asdict(found[0]))
    assert all(column_meanings(schema_of(Comparison)).values())
    lines = list(csv.DictReader(io.StringIO(comparison_sheets.to_csv(found))))
    read = json.loads(comparison_sheets.to_json(found))
    arrow = comparison_sheets.to_arrow(found).to_pylist()
    assert [Comparison(**row) for row in read] == list(found)
    assert arrow == read
    assert [float(line["mean"]) for line in lines] == [one.mean for one in found]


def test_a_sheet_shows_difference_interval_and_p(store):
    pgr, accuracy = compare(pgr_table(store), store)
    pgr = replace(pgr, mean=0.1, mean_low=-0.05, mean_high=0.25, p=0.0004, p_holm=0.04)
    accuracy = replace(accuracy, mean=0.012, mean_low=0.01, mean_high=0.014, p=None, no_p="few")
    one, other = comparison_sheets.sheets([pgr, accuracy])
    assert one.title == "sweep: PGR beyond naive's [95 % interval]"
    assert one.lines[0][:2] == ("better", "+0.10 [-0.05, +0.25]")
    assert one.lines[0][3:] == ("<0.001", "0.040", "8", "none", "")
    assert other.title.startswith("sweep: student accuracy in percentage points beyond naive's")
    assert other.lines[0][1] == "+1.2 [+1.0, +1.4]"
    assert (other.lines[0][3], other.lines[0][-1], other.notes) == ("–", "(1)", ("(1) few",))


def test_frames_and_sql_have_the_comparisons(store):
    results = open_results(store.uri)
    frame = results.compare()
    assert list(frame.columns) == schema_of(Comparison).names
    assert frame["method"].tolist() == ["better", "better"]
    assert results.compare(against="better", sweep="sweep")["method"].tolist() == ["naive"] * 2
    by_sql = results.query("select p from comparisons where against = 'naive' order by quantity")
    assert by_sql["p"].tolist() == frame.sort_values("quantity")["p"].tolist()
    assert len(results.query("from comparisons")) == 4


def test_a_comparison_says_how_both_sides_were_tuned(tmp_path):
    """Patience searched for one method, none for the other: nothing is refused, all is said."""
    store = Store.open(tmp_path)
    naive = cells_of(tasks=("a", "b"), methods=("naive",), seeds=1)
    tuned = cells_of(
        tasks=("a", "b"), methods=("better",), seeds=1, objective="transfer", study="st"
    )
    write_sweep(store, [*naive, *tuned], students=students(naive=NAIVE, better=BETTER))
    study = a_record(
        id="st", kind="study", recipe={"trials": 5}, summary={"value": 1.0, "trials": 5}
    )
    store.write_run(study)
    training = {**a_recipe()["training"], "epochs": 4}
    for cell in tuned:
        changes = {"early_stopping": {"patience": 1, "metric": "accuracy"}, "training": training}
        record = store.record(cell.student)
        store.files.remove_folder(f"runs/{cell.student}")
        store.write_run(record.model_copy(update={"recipe": {**record.recipe, **changes}}))
    one = compared(store)["better", "naive", "student_accuracy"]
    assert (one.trials, one.against_trials, one.stops_early) == (5, 0, "method")
    assert one.differs == (
        "training.epochs 4 (naive 2); early_stopping patience 1, metric accuracy (naive none)"
    )
    notes = comparison_sheets.sheets([one])[0].notes
    assert notes[:3] == (
        "(1) tuned with 5 trials, naive with no trials",
        "(2) better stops early, naive does not",
        f"(3) students differ in {one.differs}",
    )
    back = compared(store, against="better")["naive", "better", "student_accuracy"]
    assert (back.trials, back.against_trials, back.stops_early) == (0, 5, "against")


def test_equally_tuned_methods_have_no_notes_on_tuning(store):
    one = compared(store)["better", "naive", "pgr"]
    assert (one.trials, one.against_trials, one.differs, one.stops_early) == (0, 0, None, "neither")
    assert comparison_sheets.sheets([one])[0].notes == ()
