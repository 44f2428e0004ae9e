"""Series of fits with ten classes, and what a fit of a series gets from those before it."""

from __future__ import annotations

import math
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import NoCheckpoints, make_model, make_task
from w2s_ray.cli.explain_view import print_run
from w2s_ray.config import parse_sweep
from w2s_ray.fits.forms import form_of
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan import Plan, PlannedFit
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

DIGITS = """
name: digits
task: {name: digits, train: 200, validation: 60, test: 200}
models: ["pixels:2", "pixels:3", "pixels:4", "pixels:8"]
pairs: [["pixels:2", "pixels:8"]]
training: {batch_size: 50, epochs: 6, lr: 5e-2}
methods:
  naive: {}
  boosted: {stages: [{kind: boosting, rounds: 3}]}
  layers: {stages: [{kind: ensemble, supervisors: ["pixels:3", "pixels:4"]}, {kind: cosupervised}]}
  two stages: {stages: [{kind: two_stage, above: 0.4, student_above: 0.6}]}
  true rows: {stages: [{kind: true_rows, one_in: 5, lr: 1.0e-9}]}
"""
WORDS = """
name: words
task: {{name: words, path: {folder}/task.csv, columns: {columns}, train: 96, validation: 32,
  test: 32}}
models: [{folder}/a, {folder}/b]
training: {{batch_size: 16, epochs: 1, lr: 3.0e-3, max_tokens: 64, evaluations_per_epoch: 2}}
execution: {{gpus_per_worker: 0}}
methods:
  naive: {{}}
  true rows: {{stages: [{{kind: true_rows, one_in: 4, lr: 1.0e-9}}]}}
  of a probe:
    training: {{tuning: {{kind: probe}}}}
    stages: [{{kind: true_rows, one_in: 4, lr: 1.0e-9}}]
  probe: {{training: {{tuning: {{kind: probe}}}}}}
"""


def trained(folder: Path, sweep: str) -> tuple[Store, Plan]:
    store = Store.open(folder / "results")
    plan = plan_sweep(parse_sweep(sweep), store=store)
    materialize(plan, store)
    for fit in plan.fits.values():
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", f"{fit.description}: {record.traceback}"
    return store, plan


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield trained(tmp_path_factory.mktemp("digits"), DIGITS)


def student(plan: Plan, method: str) -> PlannedFit:
    (cell,) = (cell for cell in plan.cells if cell.method == method)
    return plan.fits[cell.student or ""]


def given(store: Store, fit: PlannedFit) -> Any:
    """The data that a fit trains on."""
    rows = SplitRows.of(store.splits.rows(fit.recipe.split))
    return form_of(fit.recipe).training_data(fit, rows, store).data


def predicted(store: Store, run: str, part: str) -> np.ndarray:
    """The class probabilities of a part, in the order of the split's rows."""
    found = {r["example_id"]: r["probabilities"] for r in store.predictions(run, part).to_pylist()}
    rows = SplitRows.of(store.splits.rows(store.record(run).recipe["split"]))
    return np.array([found[row] for row in rows.ids[part]])


def test_the_rows_of_a_boosted_supervisor_are_weighted_by_the_errors_before_it(digits):
    store, plan = digits
    fit = student(plan, "boosted")
    rounds = [plan.fits[run] for run in fit.recipe.labels.runs]
    rows = SplitRows.of(store.splits.rows(fit.recipe.split))
    truth = rows.truth["supervisor_half"].answers or ()
    answers = np.array([rows.classes.index(answer) for answer in truth])
    weights, votes = np.ones(100) / 100, []
    for number, supervisor in enumerate(rounds):
        counted = given(store, supervisor).train_weights_N
        assert (counted is None) is (number == 0)
        if counted is not None:
            assert np.allclose(counted, weights * 100, atol=1e-5)
        wrong = predicted(store, supervisor.id, "supervisor_half").argmax(axis=1) != answers
        error = weights[wrong].sum()
        assert 0 < error < 0.9
        votes.append(math.log((1 - error) / error) + math.log(9))
        weights = weights * np.exp(votes[-1] * wrong)
        weights /= weights.sum()
    assert len({tuple(predicted(store, s.id, "test").ravel()) for s in rounds}) == 3
    data = given(store, fit)
    for part, labels in (
        ("student_half", data.train_targets_NC),
        ("validation", data.validation_targets_MC),
    ):
        each = np.stack([predicted(store, supervisor.id, part) for supervisor in rounds])
        mean = np.tensordot(np.array(votes) / sum(votes), each, axes=1)
        assert np.allclose(labels, mean, atol=1e-6)


def test_the_first_round_is_the_pairs_own_supervisor(digits):
    store, plan = digits
    first = student(plan, "boosted").recipe.labels.runs[0]
    own = student(plan, "naive").recipe.labels.runs[0]
    assert np.array_equal(predicted(store, first, "test"), predicted(store, own, "test"))


def test_a_layer_is_taught_by_the_specialists_and_the_student_before(digits):
    store, plan = digits
    fit = student(plan, "layers")
    before = plan.fits[fit.recipe.labels.student or ""]
    own = student(plan, "naive").recipe.labels.runs
    assert before.recipe.labels.runs == own
    assert own[0] not in fit.recipe.labels.runs
    data = given(store, fit)
    assert len(data.train_ND) == store.record(fit.id).summary["train_rows"] < 100
    each = np.stack([predicted(store, run, "validation") for run in fit.recipe.labels.runs])
    of_student = predicted(store, before.id, "validation")
    divergence = (of_student * np.log(of_student / each)).sum(axis=2)
    nearest = each[divergence.argmin(axis=0), np.arange(len(of_student))]
    assert 0 < divergence.argmin(axis=0).sum() < len(of_student)
    assert np.allclose(data.validation_targets_MC, nearest, atol=1e-6)


def test_the_second_stage_has_the_certain_labels_of_both(digits):
    store, plan = digits
    second = student(plan, "two stages")
    first = plan.fits[second.recipe.labels.student or ""]
    weak = predicted(store, second.recipe.labels.runs[0], "student_half")
    strong = predicted(store, first.id, "student_half")
    certain = weak.max(axis=1) > 0.4
    by_student = ~certain & (strong.max(axis=1) > 0.6)
    assert store.record(first.id).summary["train_rows"] == certain.sum() < 100
    assert by_student.any()
    data = given(store, second)
    expected = np.where(certain[:, None], weak, strong)[certain | by_student]
    assert np.allclose(data.train_targets_NC, expected, atol=1e-6)
    weak = predicted(store, second.recipe.labels.runs[0], "validation")
    assert np.allclose(data.validation_targets_MC, weak, atol=1e-6)


def test_an_explanation_names_what_a_fit_got_from_each_fit_before_it(digits):
    store, plan = digits
    boosted, layers = student(plan, "boosted"), student(plan, "layers")
    third = plan.fits[boosted.recipe.labels.runs[2]]
    for fit, relation in (
        (boosted, "labels from"),
        (third, "weights of rows from"),
        (layers, "labels of an earlier student from"),
        (student(plan, "true rows"), "initial weights from"),
    ):
        shown = StringIO()
        print_run(store, fit.id, console=PlainConsole(file=shown, width=200))
        assert f"{relation} " in shown.getvalue()
        assert fit.parents[0] in shown.getvalue()
    assert store.record(third.id).about["notes"] == ["round 3 of 3"]


def test_true_rows_go_on_with_the_probe_of_weak_labels(digits):
    """At a learning rate of almost 0 it predicts as before, on few rows with another scaling."""
    store, plan = digits
    fit, naive = student(plan, "true rows"), student(plan, "naive")
    assert store.record(fit.id).summary["train_rows"] == 20
    assert store.record(fit.id).summary["tokens"] == store.record(naive.id).summary["tokens"]
    assert np.allclose(
        predicted(store, fit.id, "test"), predicted(store, naive.id, "test"), atol=1e-4
    )
    assert given(store, fit).train_targets_NC.max(axis=1).tolist() == [1.0] * 20


@pytest.mark.parametrize("form", ["classes", "pairs"])
def test_true_rows_go_on_with_the_students_weights_and_head(tmp_path, monkeypatch, form):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    for name, width in (("a", 8), ("b", 16)):
        make_model(tmp_path / name, width=width)
    task, columns = make_task(tmp_path / "task.csv"), "{text: text, label: label}"
    if form == "pairs":
        lines = task.read_text().splitlines()[1:]
        bad, good = ([line for line in lines if line.endswith(label)] for label in ("0", "1"))
        both = zip(bad, good, strict=True)
        task.write_text("first,second,label\n" + "".join(f"{b[:-2]},{g}\n" for b, g in both))
        text = task.read_text().splitlines()
        text[1::2] = [",".join([*reversed(t.split(",")[:2]), "0"]) for t in text[1::2]]
        task.write_text("\n".join(text))
        columns = "{first: first, second: second, label: label}"
    store, plan = trained(tmp_path, WORDS.format(folder=tmp_path, columns=columns))
    for method, without in (("true rows", "naive"), ("of a probe", "probe")):
        fit, weak = student(plan, method), student(plan, without)
        taught = plan.fits[fit.recipe.head or ""]
        assert taught.recipe.labels == weak.recipe.labels
        assert store.record(fit.id).summary["train_rows"] == 12
        found, before = (
            store.predictions(run, "test").column("probability").to_pylist()
            for run in (fit.id, weak.id)
        )
        assert len(set(before)) > 1
        assert found == pytest.approx(before, abs=1e-5)
