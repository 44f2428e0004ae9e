from __future__ import annotations

from statistics import stdev
from typing import Any

import pytest

from tests.report.stored import cells_of, write_sweep
from tests.store.builders import a_cell, a_manifest, a_recipe, a_record
from w2s_ray.report.render import to_markdown
from w2s_ray.report.table import PgrTable, pgr_table, tabulate
from w2s_ray.store import Cell, Record, Store, StoreError

METHODS = ("naive", "other")


def records_of(*cells: Cell, accuracies: tuple[float, float, float] = (0.6, 0.7, 0.8)):
    """Done runs for every cell: supervisor, student, ceiling."""
    found: dict[str, Record] = {}
    for cell in cells:
        ids = (cell.supervisor, cell.student, cell.ceiling)
        for id_, accuracy in zip(ids, accuracies, strict=True):
            if id_ is not None:
                found[id_] = a_record(id=id_, accuracy=accuracy)
    return found


def tabled(*cells: Cell, records: dict[str, Record]) -> PgrTable:
    return tabulate(cells, records, sweep="sweep")


def unfinished(id_: str, **changes: Any) -> dict[str, Record]:
    given = {"status": "failed", "reason": "out of memory", "accuracy": None, **changes}
    return {id_: a_record(id=id_, **given)}


def test_a_row_is_the_mean_over_seeds_and_its_pgr_is_computed_from_the_means():
    one, two = a_cell(seed=0), a_cell(seed=1)
    records = records_of(one) | records_of(two, accuracies=(0.5, 0.8, 0.9))
    table = tabled(one, two, records=records)
    (row,) = table.rows
    assert (row.weak_accuracy, row.ceiling_accuracy) == pytest.approx((0.55, 0.85))
    assert row.student_accuracy == pytest.approx(0.75)
    assert row.pgr == pytest.approx(0.2 / 0.3)  # not the mean of 0.5 and 0.75
    assert [seed.pgr for seed in table.by_seed] == pytest.approx([0.5, 0.75])
    assert row.student_sd == pytest.approx(stdev([0.7, 0.8]))
    assert row.pgr_sd == pytest.approx(stdev([0.5, 0.75]))
    assert (row.seeds, row.of_seeds, row.missing, row.reason) == (2, 2, (), None)
    assert set(row.runs) == set(records)


def test_one_seed_has_no_spread():
    (row,) = tabled(a_cell(), records=records_of(a_cell())).rows
    assert (row.student_sd, row.pgr_sd, row.seeds) == (None, None, 1)


def test_a_mean_leaves_out_incomplete_seeds_with_a_reason():
    cells = [a_cell(seed=seed) for seed in range(4)]
    records = records_of(*cells)
    # A ceiling that failed leaves its student and supervisor out as well.
    records |= unfinished(cells[1].ceiling)
    records[cells[1].student] = a_record(id=cells[1].student, accuracy=0.0)
    del records[cells[2].student]
    records |= unfinished(cells[2].supervisor, status="stopped", reason="interrupted")
    del records[cells[3].student]
    (row,) = tabled(*cells, records=records).rows
    assert (row.seeds, row.of_seeds, row.student_accuracy) == (1, 4, 0.7)
    assert row.pgr == pytest.approx(0.5)
    assert {missing.seed: missing.why for missing in row.missing} == {
        1: "ceiling failed: out of memory",
        2: "supervisor stopped: interrupted; "
        "student blocked by its supervisor (stopped: interrupted)",
        3: "student not run",
    }


def test_a_row_without_complete_seeds_has_each_reason_once():
    cells = [a_cell(seed=seed) for seed in range(3)]
    records = records_of(*cells)
    for cell in cells:
        records |= unfinished(cell.ceiling)
    table = tabled(*cells, records=records)
    (row,) = table.rows
    assert (row.pgr, row.student_accuracy, row.seeds) == (None, None, 0)
    assert row.reason == "ceiling failed: out of memory"
    assert (table.by_method[0].missing, table.by_method[0].undefined) == (1, 0)


def test_a_done_run_without_accuracy_is_missing():
    records = records_of(a_cell())
    records[a_cell().ceiling] = a_record(id=a_cell().ceiling, accuracy=None)
    (row,) = tabled(a_cell(), records=records).rows
    assert row.reason == "ceiling has no test_accuracy"


@pytest.mark.parametrize(
    ("study", "why"),
    [
        ({}, "blocked by study st (not run)"),
        (unfinished("st", kind="study"), "blocked by study st (failed: out of memory)"),
        ({"st": a_record(id="st", kind="study", accuracy=None)}, "not run"),
    ],
)
def test_a_student_is_blocked_by_its_unfinished_study(study, why):
    cell = a_cell(student=None, study="st", objective="transfer")
    (row,) = tabled(cell, records=records_of(cell) | study).rows
    assert row.reason == f"student {why}"


def test_without_a_gap_the_row_has_no_pgr_but_its_figures():
    records = records_of(a_cell(), accuracies=(0.8, 0.8, 0.7))
    table = tabled(a_cell(), records=records)
    (row,) = table.rows
    assert (row.pgr, row.seeds, row.student_accuracy) == (None, 1, 0.8)
    assert row.reason == "ceiling does not beat the supervisor (gap -0.100)"
    assert (table.by_method[0].undefined, table.by_method[0].missing) == (1, 0)
    assert table.by_method[0].median_pgr is None


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ({}, "none"),
        ({"objective": "transfer", "study": "st"}, "transfer"),
        ({"objective": "transfer", "study": "st", "searched": True}, "oracle"),
        ({"objective": "weak_validation", "study": "st"}, "weak_validation"),
        ({"objective": "weak_validation", "study": "st", "searched": True}, "weak_validation"),
        ({"objective": "oracle", "study": "st", "searched": True}, "oracle"),
    ],
)
def test_the_objective_of_a_row_is_the_one_that_chose_its_settings(cell, label):
    cells = a_cell(**cell), a_cell(seed=1, **cell)
    table = tabled(*cells, records=records_of(*cells))
    assert [seed.objective for seed in table.by_seed] == [label, label]
    assert (table.rows[0].objective, table.by_method[0].objective) == (label, label)


@pytest.mark.parametrize("declared", ["none", "transfer", "weak_validation"])
def test_a_student_stopped_by_ground_truth_is_an_oracle(declared):
    stopping = {"early_stopping": {"patience": 2, "oracle": True}}
    cell = a_cell(objective=declared)
    records = records_of(cell)
    records[cell.student] = a_record(id=cell.student, recipe=a_recipe(**stopping))
    assert tabled(cell, records=records).rows[0].objective == "oracle"


def test_early_stopping_on_own_labels_is_not_an_oracle():
    records = records_of(a_cell())
    stopping = {"early_stopping": {"patience": 2, "oracle": False}}
    records[a_cell().student] = a_record(id=a_cell().student, recipe=a_recipe(**stopping))
    assert tabled(a_cell(), records=records).rows[0].objective == "none"


def test_oracle_stopping_does_not_change_the_result():
    cells = [a_cell(seed=seed) for seed in range(3)]
    records = records_of(*cells)
    without = tabled(*cells, records=records)
    for cell, would in zip(cells, (0.72, 0.78, 0.9), strict=True):
        summary = {"test_accuracy": 0.7, "oracle_test_accuracy": would}
        records[cell.student] = a_record(id=cell.student, summary=summary)
    records |= unfinished(cells[2].ceiling)
    table = tabled(*cells, records=records)
    (row,) = table.rows
    assert row.oracle_stopped_student == pytest.approx(0.75)  # of the two complete seeds
    assert row.oracle_stopped_pgr == pytest.approx(0.75)
    assert [seed.oracle_stopped_pgr for seed in table.by_seed] == [
        pytest.approx(0.6),
        pytest.approx(0.9),
        None,
    ]
    assert (row.student_accuracy, row.pgr, row.objective) == (
        pytest.approx(0.7),
        pytest.approx(without.rows[0].pgr),
        "none",
    )
    assert (without.rows[0].oracle_stopped_student, without.rows[0].oracle_stopped_pgr) == (
        None,
        None,
    )


def test_oracle_stopping_has_no_mean_over_other_seeds_than_the_result():
    cells = [a_cell(seed=seed) for seed in range(2)]
    records = records_of(*cells)
    summary = {"test_accuracy": 0.7, "oracle_test_accuracy": 0.75}
    records[cells[0].student] = a_record(id=cells[0].student, summary=summary)
    (row,) = tabled(*cells, records=records).rows
    assert (row.oracle_stopped_student, row.oracle_stopped_pgr) == (None, None)


def test_oracle_stopping_without_a_gap_has_no_pgr():
    records = records_of(a_cell(), accuracies=(0.8, 0.8, 0.7))
    summary = {"test_accuracy": 0.8, "oracle_test_accuracy": 0.85}
    records[a_cell().student] = a_record(id=a_cell().student, summary=summary)
    (row,) = tabled(a_cell(), records=records).rows
    assert (row.oracle_stopped_student, row.oracle_stopped_pgr) == (0.85, None)


def test_a_methods_median_leaves_out_searched_cells():
    searched = a_cell(objective="transfer", searched=True)
    others = [a_cell(task=task, objective="transfer") for task in ("boolq", "cola", "paws", "piqa")]
    records = records_of(searched, accuracies=(0.6, 0.8, 0.8))
    for cell, accuracies in zip(
        others,
        [
            (0.6, 0.62, 0.8),
            (0.6, 0.66, 0.8),
            (0.6, 0.7, 0.5),
            (0.6, 0.7, 0.8),
        ],
        strict=True,
    ):
        records |= records_of(cell, accuracies=accuracies)
    del records[others[3].student]
    (method,) = tabled(searched, *others, records=records).by_method
    assert method.objective == "transfer"
    assert method.median_pgr == pytest.approx(0.2)  # of 0.1 and 0.3
    assert (method.cells, method.undefined, method.missing, method.left_out) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    "knowing",
    [
        {"labels": {"source": "ground_truth"}},
        {"labels": {"source": ["weak"], "transforms": [{"kind": "simulated"}]}},
    ],
)
def test_a_student_trained_on_ground_truth_is_an_oracle_and_left_out(knowing):
    cells = [a_cell(task=task) for task in ("a", "b")]
    records = records_of(*cells)
    assert {row.objective for row in tabled(*cells, records=records).rows} == {"none"}
    for cell in cells[:1]:
        records[cell.student] = a_record(id=cell.student, recipe=a_recipe(**knowing))
    table = tabled(*cells, records=records)
    assert [row.objective for row in table.rows] == ["oracle", "none"]
    assert (table.by_method[0].objective, table.by_method[0].left_out) == ("none", 1)


def test_a_method_with_oracle_rows_only_has_the_objective_oracle():
    cells = [a_cell(task=task, objective="transfer", searched=True) for task in ("a", "b")]
    (method,) = tabled(*cells, records=records_of(*cells)).by_method
    assert (method.objective, method.cells, method.left_out) == ("oracle", 2, 0)


def test_medians_of_methods_are_over_the_rows_that_all_of_them_have():
    """Two methods with equal accuracies; one was searched on the first pair."""
    pairs = [("xs", "t"), ("xs", "m"), ("xs", "l"), ("s", "l")]
    students = (0.68, 0.65, 0.66, 0.64)
    cells, records = [], {}
    for (weak, strong), student in zip(pairs, students, strict=True):
        places = {"weak": weak, "strong": strong}
        naive = a_cell(**places)
        tuned = a_cell(method="tuned", objective="transfer", searched=strong == "t", **places)
        for cell in (naive, tuned):
            cells.append(cell)
            records |= records_of(cell, accuracies=(0.6, student, 0.8))
    naive, tuned = tabled(*cells, records=records).by_method
    assert naive.median_pgr == tuned.median_pgr == pytest.approx(0.25)
    assert (naive.cells, tuned.cells) == (3, 3)
    assert (naive.own_median_pgr, naive.own_cells) == (pytest.approx(0.275), 4)
    assert (tuned.own_median_pgr, tuned.own_cells) == (pytest.approx(0.25), 3)
    assert naive.median_gain == tuned.median_gain == pytest.approx(0.05)
    assert naive.median_accuracy == tuned.median_accuracy == pytest.approx(0.65)
    assert (naive.complete_cells, tuned.complete_cells) == (3, 3)


def test_a_median_has_the_interval_of_the_common_rows(tmp_path):
    store = Store.open(tmp_path)
    cells = cells_of(tasks="abc", methods=("naive", "other"))
    shares = {"a": 0.7, "b": 0.8, "c": 0.65}
    students = {(task, name): right for task, right in shares.items() for name in METHODS}
    del students["c", "other"]  # not trained yet
    write_sweep(store, cells, students=students)
    naive, other = pgr_table(store).by_method
    assert (naive.cells, naive.own_cells, other.cells) == (2, 3, 2)
    for low, value, high in (
        (naive.median_low, naive.median_pgr, naive.median_high),
        (naive.own_median_low, naive.own_median_pgr, naive.own_median_high),
        (naive.median_gain_low, naive.median_gain, naive.median_gain_high),
        (naive.median_accuracy_low, naive.median_accuracy, naive.median_accuracy_high),
    ):
        assert low < value < high
    assert naive.own_median_low != naive.median_low
    assert pgr_table(store).by_method == (naive, other)  # from the cache


def test_a_gain_has_an_interval_and_is_paired(tmp_path):
    """One seed and independent errors: normal theory gives the width."""
    store = Store.open(tmp_path)
    cells = cells_of(tasks="a", methods=("naive",), seeds=1)
    write_sweep(store, cells, students={("a", "naive"): 0.75})
    (row,) = pgr_table(store).rows
    assert row.gain == pytest.approx(0.15)
    labels = store.splits.rows("split-a")["label"].to_numpy() == 1
    right = [
        (store.predictions(run)["probability"].to_numpy() > 0.5) == labels
        for run in (cells[0].student, cells[0].supervisor)
    ]
    error = (right[0].astype(float) - right[1]).std() / len(labels) ** 0.5
    assert row.gain_low == pytest.approx(row.gain - 1.96 * error, abs=error / 5)
    assert row.gain_high == pytest.approx(row.gain + 1.96 * error, abs=error / 5)


def a_study(*pairs: tuple[str, str], trials: int = 8, **recipe: Any) -> dict[str, Record]:
    about = {"tasks": ["sciq"] * len(pairs), "pairs": [list(pair) for pair in pairs]}
    summary = {"value": 0.9, "trials": trials}
    changes = {"recipe": {"trials": trials, **recipe}, "about": about, "summary": summary}
    return {"st": a_record(id="st", kind="study", **changes)}


@pytest.mark.parametrize(
    ("study", "label"),
    [
        (a_study(("tiny", "large")), "transfer, same student"),
        (a_study(("tiny", "small"), ("tiny", "large")), "transfer, same student"),
        (a_study(("tiny", "small")), "transfer"),
        (a_study(cells=[{"split": "split-1", "model": "sha256:abc"}]), "transfer, same student"),
        (a_study(cells=[{"split": "split-2", "model": "sha256:abc"}]), "transfer"),
        (a_study(cells=[{"split": "split-1", "model": "sha256:def"}]), "transfer"),
    ],
)
def test_a_row_whose_student_was_searched_with_another_supervisor_is_marked(study, label):
    cell = a_cell(objective="transfer", study="st")
    table = tabled(cell, records=records_of(cell) | study)
    assert (table.rows[0].objective, table.by_seed[0].objective) == (label, label)
    assert table.rows[0].trials == 8


def test_medians_leave_such_rows_out_where_there_are_others():
    same = a_cell(objective="transfer", study="st")
    other = a_cell(strong="larger", objective="transfer", study="st")
    records = records_of(same, accuracies=(0.6, 0.8, 0.8)) | a_study(("tiny", "large"))
    records |= records_of(other, accuracies=(0.6, 0.65, 0.8))
    (method,) = tabled(same, other, records=records).by_method
    assert (method.objective, method.median_pgr) == ("transfer", pytest.approx(0.25))
    assert (method.cells, method.left_out) == (1, 1)
    (alone,) = tabled(same, records=records).by_method
    assert (alone.objective, alone.cells, alone.left_out) == ("transfer, same student", 1, 0)


def with_recipe(cell: Cell, records: dict[str, Record], **recipe: Any) -> dict[str, Record]:
    assert cell.student is not None
    return records | {cell.student: a_record(id=cell.student, recipe=a_recipe(**recipe))}


def test_a_row_says_in_what_its_student_was_trained_otherwise():
    naive, tuned = a_cell(), a_cell(method="tuned", objective="transfer", study="st")
    longer = {"lr": 1e-4, "epochs": 4, "batch_size": 32, "tuning": {"kind": "lora", "rank": 8}}
    stopping = {"patience": 2, "metric": "accuracy", "oracle": False}
    records = with_recipe(tuned, records_of(naive, tuned), training=longer, early_stopping=stopping)
    table = tabled(naive, tuned, records=records | a_study(("a", "b"), trials=6))
    plain, row = table.rows
    assert (plain.trials, plain.early_stopping) == (0, None)
    assert (plain.differs_from_ceiling, plain.differs_from_naive) == (None, None)
    assert (row.trials, row.early_stopping) == (6, "patience 2, accuracy")
    assert row.differs_from_ceiling == (
        "training.epochs 4 (ceiling 2); training.tuning lora (ceiling full); "
        "early_stopping patience 2, metric accuracy (ceiling none)"
    )
    assert row.differs_from_naive == row.differs_from_ceiling.replace("ceiling", "naive")


def test_settings_that_only_a_newer_version_has_are_no_difference():
    cell = a_cell()
    training = {**a_recipe()["training"], "new": 1}
    (row,) = tabled(cell, records=with_recipe(cell, records_of(cell), training=training)).rows
    assert row.differs_from_ceiling is None


@pytest.mark.parametrize(
    ("accuracies", "pgr", "caution"),
    [
        ((0.60, 0.70, 0.619), 5.263, "PGR divides by a gap below 2 points (gap +0.019)"),
        ((0.60, 0.61, 0.621), 0.476, None),
    ],
)
def test_a_pgr_over_a_small_gap_has_a_caution(accuracies, pgr, caution):
    table = tabled(a_cell(), records=records_of(a_cell(), accuracies=accuracies))
    (row,) = table.rows
    assert (row.pgr, row.pgr_caution) == (pytest.approx(pgr, abs=1e-3), caution)
    assert row.gain == pytest.approx(accuracies[1] - accuracies[0])
    assert table.by_seed[0].pgr_caution == caution
    assert table.by_method[0].small_gaps == (caution is not None)


def test_an_oracle_stop_is_marked_where_early_stopping_ended_the_student():
    cells = [a_cell(seed=seed) for seed in range(2)]
    records = records_of(*cells)
    for cell, cut in zip(cells, (True, False), strict=True):
        summary = {"test_accuracy": 0.7, "oracle_test_accuracy": 0.72, "stopped_early": cut}
        records[cell.student] = a_record(id=cell.student, summary=summary)
    table = tabled(*cells, records=records)
    assert table.rows[0].oracle_stopped_cut == 1
    assert [seed.oracle_stopped_cut for seed in table.by_seed] == [1, 0]


def test_rows_keep_the_order_of_the_cells():
    cells = [
        a_cell(task=task, method=method, seed=seed)
        for seed in (0, 1)
        for task in ("z", "a")
        for method in ("naive", "confidence")
    ]
    table = tabled(*cells, records=records_of(*cells))
    assert [(row.task, row.method) for row in table.rows] == [
        ("z", "naive"),
        ("z", "confidence"),
        ("a", "naive"),
        ("a", "confidence"),
    ]
    assert [row.method for row in table.by_method] == ["naive", "confidence"]


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store.open(tmp_path)
    for name, method in (("one", "naive"), ("two", "confidence")):
        store.manifests.write(a_manifest(a_cell(method=method), name=name))
        for record in records_of(a_cell(method=method)).values():
            store.write_run(record)
    return store


def test_a_store_gives_one_sweep_or_all(store):
    assert [row.sweep for row in pgr_table(store).rows] == ["one", "two"]
    (row,) = pgr_table(store, sweep="two").rows
    assert (row.method, row.pgr) == ("confidence", pytest.approx(0.5))
    with pytest.raises(StoreError, match="its sweeps are: one, two"):
        pgr_table(store, sweep="three")


def test_the_latest_manifest_is_used(store):
    later = a_manifest(a_cell(method="other"), name="one", created_at="2026-02-01T00:00:00Z")
    store.manifests.write(later)
    (row,) = pgr_table(store, sweep="one").rows
    assert (row.method, row.reason) == ("other", "student not run")


def test_no_store_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="there are no results"):
        pgr_table(Store.open(tmp_path / "nothing"))


def test_a_row_counts_prompts_whose_examples_were_cut():
    cells = [a_cell(seed=seed) for seed in range(2)]
    records = records_of(*cells)
    assert tabled(*cells, records=records).rows[0].cut_shots is None
    for cell, cut in zip(cells, (0, 37), strict=True):
        student = records[cell.student]
        figures = {"test_prompts": 600, "test_prompts_cut": cut, "test_shots_mean": 4.5}
        records[cell.student] = student.model_copy(update={"summary": student.summary | figures})
    table = tabled(*cells, records=records)
    assert table.rows[0].cut_shots == (
        "examples omitted from 37 of 1,200 prompts, which were over max_tokens or the model's "
        "context"
    )
    assert "37 of 1,200 prompts" in to_markdown(table)
    for limit, name in ((512, "max_tokens"), (128, "the model's context of 128 tokens")):
        student = records[cells[1].student]
        about = {
            "summary": student.summary | {"test_prompt_limit": limit},
            "recipe": student.recipe | {"training": {"max_tokens": 512}},
        }
        records[student.id] = student.model_copy(update=about)
        cut = tabled(*cells, records=records).rows[0].cut_shots
        assert cut is not None
        assert cut.endswith(f"which were over {name}")


@pytest.mark.parametrize(
    ("part", "expected"), [("supervisor_half", "none"), ("student_half", "oracle")]
)
def test_a_row_names_the_ground_truth_that_a_transform_used(part, expected):
    cell = a_cell()
    records = records_of(cell)
    assert tabled(cell, records=records).rows[0].used_truth is None
    student = records[cell.student or ""]
    used = {"kind": "trust", "truth": {"rows": 1000, "of": part}}
    labels = {"source": ["w" * 20], "transforms": [{"kind": "hard"}, used]}
    recipe = student.recipe | {"labels": labels}
    records[student.id] = student.model_copy(update={"recipe": recipe})
    table = tabled(cell, records=records)
    words = f"trust used the ground truth of 1,000 rows of {part}"
    assert (table.rows[0].used_truth, table.rows[0].objective) == (words, expected)
    assert words in to_markdown(table)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((1.0, 1.0), "the ceiling predicts one class on all test rows"),
        ((0.4, 0.0), "the ceiling predicts one class on all test rows (seed 1)"),
        ((0.4, None), None),
    ],
)
def test_a_row_says_where_a_model_predicts_one_class(shares, words):
    cells = [a_cell(seed=seed) for seed in range(2)]
    records = records_of(*cells)
    for cell, share in zip(cells, shares, strict=True):
        ceiling = records[cell.ceiling]
        found = {"test_class_1": share} if share is not None else {}
        summary = ceiling.summary | found
        records[cell.ceiling] = ceiling.model_copy(update={"summary": summary})
    table = tabled(*cells, records=records)
    assert table.rows[0].one_class == words
    assert words is None or words in to_markdown(table)


def test_a_row_says_where_weak_labels_lie_close_together():
    cells = [a_cell(seed=seed) for seed in range(2)]
    records = records_of(*cells)
    (row,) = tabled(*cells, records=records).rows
    assert (row.weak_label_spread, row.weak_label_class_1, row.low_contrast) == (None, None, None)
    for cell, spread in zip(cells, (0.04, 0.08), strict=True):
        supervisor = records[cell.supervisor]
        figures = {"student_half_spread": spread, "student_half_class_1": 0.25}
        records[cell.supervisor] = supervisor.model_copy(
            update={"summary": supervisor.summary | figures}
        )
    table = tabled(*cells, records=records)
    (row,) = table.rows
    assert (row.weak_label_spread, row.weak_label_class_1) == (pytest.approx(0.06), 0.25)
    words = "weak labels lie close together (standard deviation 0.06, 25% class 1)"
    assert row.low_contrast == words
    assert words in to_markdown(table)
