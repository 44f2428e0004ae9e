"""A sweep over texts of three classes, from a file to its table, in this process."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from tests.fits.test_choices import run_all
from tests.support import NoCheckpoints, make_model
from w2s_ray.config import parse_sweep
from w2s_ray.config.controls import PREFIX
from w2s_ray.errors import InputError
from w2s_ray.fits.forms import form_of
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.prepare import materialize, plan_sweep, write_manifest
from w2s_ray.report import open_results, pair_measures
from w2s_ray.report.scores import reliability, scores
from w2s_ray.store import Store
from w2s_ray.store.tables import SPLIT_ROWS

NAMES = ("2", "10", "other")
"""In their order: numbers by value, before words."""
SWEEP = """
name: own
task: {{name: t, path: {folder}/rows.jsonl, train: 160, validation: 30, test: 60,
        columns: {{text: text, category: kind}}}}
models: [{folder}/a, {folder}/b]
pairs: [[a, b]]
training: {{batch_size: 20, epochs: 6, lr: 3.0e-2, max_tokens: 16, evaluations_per_epoch: 1}}
early_stopping: {{patience: 3, metric: loss}}
execution: {{gpus_per_worker: 0}}
controls: {{truth_price: 4}}
methods:
  naive: {{}}
  probe: {{training: {{tuning: {{kind: probe}}, lr: 0.1, epochs: 20}}}}
  agreed: {{stages: [{{kind: ensemble, seeds: [7]}}, {{kind: consensus}}]}}
  several:
    loss: {{kind: confidence}}
    training: {{tuning: {{kind: lp_ft}}}}
    stages: [{{kind: ensemble, seeds: [7]}}, {{kind: dawid_skene}}, {{kind: relabel}},
      {{kind: filter, by: {{kind: topofilter, k: 5}}}}, {{kind: weights}}]
  adversarial: {{stages: [{{kind: simulated, errors: {{kind: adversarial}}}}]}}
  linear: {{stages: [{{kind: linear_probe, of: pretrained}}]}}
  asked: {{stages: [{{kind: prompt, words: [w50, w51, w52], shots: 6, calibration: rows}}]}}
  elicited: {{stages: [{{kind: elicit, words: [w50, w51, w52], shots: 3}}, {{kind: iterate}}]}}
"""
GUARDED = ("naive", "several", "elicited")
ORACLES = ("adversarial", "linear", f"{PREFIX}ground truth of 1 row in 4")


def write_rows(path: Path, *, rows: int = 400) -> None:
    """Texts of random words; the last one tells the class of nine rows in ten."""
    rng, made = random.Random(0), []
    for i in range(rows):
        told = i % 3 if rng.random() < 0.9 else rng.randrange(3)
        words = [rng.randrange(10, 50) for _ in range(rng.randint(2, 6))]
        text = " ".join(f"w{word}" for word in (*words, 3 * told + rng.randrange(3)))
        made.append({"text": text, "kind": (10.0, "other", 2)[i % 3]})
    path.write_text("".join(json.dumps(row) + "\n" for row in made))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("categories")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(folder / "cache"))
        for seed, name in enumerate("ab"):
            make_model(folder / name, width=16 * (seed + 1), seed=seed)
        write_rows(folder / "rows.jsonl")
        store, text = Store.open(folder / "results"), SWEEP.format(folder=folder)
        plan = plan_sweep(parse_sweep(text), store=store)
        materialize(plan, store)
        run_all(plan, store)
        write_manifest(plan, store, text)
        yield store, plan


def students(plan: Any) -> dict[str, str]:
    return {cell.method: cell.student for cell in plan.cells}


def test_every_fit_predicts_a_distribution_over_the_classes(done) -> None:
    store, plan = done
    recipe = plan.fits[students(plan)["naive"]].recipe
    assert recipe.form == "categories"
    rows = {r["example_id"]: r for r in store.splits.rows(recipe.split).to_pylist()}
    assert {r["label"] for r in rows.values()} == {None}
    assert {r["answer"] for r in rows.values()} == {*NAMES}
    for fit in plan.fits.values():
        found = store.predictions(fit.id, "test").to_pylist()
        assert len(found) == (60 if "test" in fit.recipe.predicts and fit.recipe.has_labels else 0)
        for row in found:
            assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
            assert row["answer"] == NAMES[int(np.argmax(row["probabilities"]))]
            assert row["probability"] == max(row["probabilities"])
        if found:
            summary = store.record(fit.id).summary
            right = [row["answer"] == rows[row["example_id"]]["answer"] for row in found]
            assert summary["test_accuracy"] == pytest.approx(np.mean(right))
            p = [row["probabilities"][NAMES.index(rows[row["example_id"]]["answer"])]
                 for row in found]  # fmt: skip
            assert summary["test_log_loss"] == pytest.approx(-np.mean(np.log(p)), abs=1e-5)


def test_students_learn_and_controls_do_not(done) -> None:
    store, plan = done
    found = {m: store.record(id_).summary for m, id_ in students(plan).items()}
    accuracy = {method: summary["test_accuracy"] for method, summary in found.items()}
    for method in ("naive", "probe", "agreed", "linear"):
        assert accuracy[method] > 0.6, accuracy
    assert accuracy[f"{PREFIX}random labels"] < 0.6
    untrained = found[f"{PREFIX}untrained"]
    assert (untrained["steps"], untrained["test_log_loss"]) == (0, pytest.approx(np.log(3)))
    assert untrained["test_largest_class"] == 1.0 > found["naive"]["test_largest_class"]
    assert found["probe"]["trained_parameters"] == 3 * 32
    assert found["asked"]["steps"] == 0
    assert 0 < found["several"]["dropped_rows"] < 80


def test_labels_are_the_supervisors_distributions(done) -> None:
    store, plan = done
    fits = students(plan)
    rows = SplitRows.of(store.splits.rows(plan.fits[fits["naive"]].recipe.split))
    assert rows.classes == NAMES == plan.inputs.splits["t"].classes

    def data(method: str) -> Any:
        fit = plan.fits[fits[method]]
        return form_of(fit.recipe).training_data(fit, rows, store).data

    (supervisor,) = plan.fits[fits["naive"]].parents
    weak = {
        (row["part"], row["example_id"]): row["probabilities"]
        for row in store.predictions(supervisor).to_pylist()
    }
    expected = [weak["student_half", id_] for id_ in rows.ids["student_half"]]
    assert data("naive").train_targets_NC.tolist() == expected
    expected = [weak["validation", id_] for id_ in rows.ids["validation"]]
    assert data("naive").validation_targets_MC.tolist() == expected
    each_KNC = data("agreed").train_targets_KNC
    assert each_KNC.shape == (2, len(data("agreed").train), 3)
    np.testing.assert_allclose(each_KNC.mean(axis=0), data("agreed").train_targets_NC, atol=1e-6)
    assert data("several").train_weights_N.mean() == pytest.approx(1)
    drawn = data(f"{PREFIX}random labels").train_targets_NC
    assert (np.sort(drawn, axis=1) == [0, 0, 1]).all()
    assert drawn.mean(axis=0) == pytest.approx(1 / 3, abs=0.15)


def test_the_table_has_accuracies_and_agreement(done) -> None:
    store, plan = done
    table = open_results(store.uri).pgr("own")
    (row,) = table.query("method == 'naive'").to_dict("records")
    (control,) = table.query("method == 'control: untrained'").to_dict("records")
    assert "the student predicts one class" in control["one_class"]
    (cell,) = (cell for cell in plan.cells if cell.method == "naive")
    for role, run in (("weak", cell.supervisor), ("student", cell.student)):
        assert row[f"{role}_accuracy"] == store.record(run).summary["test_accuracy"]
    found = {row["run_id"]: row for row in scores(store).to_pylist()}
    naive = students(plan)["naive"]
    (supervisor,) = plan.fits[naive].parents
    own, weak = (store.predictions(id_, "test").column("answer") for id_ in (naive, supervisor))
    same = np.mean([a == b for a, b in zip(own.to_pylist(), weak.to_pylist(), strict=True)])
    assert found[naive]["agreement"] == pytest.approx(same)
    truth = [
        row["answer"]
        for row in store.splits.rows(plan.inputs.splits["t"].fingerprint).to_pylist()
        if row["part"] == "test"
    ]
    own_NC, weak_NC = (
        np.array(store.predictions(id_, "test").column("probabilities").to_pylist())
        for id_ in (naive, supervisor)
    )
    labels_N = np.array([NAMES.index(answer) for answer in truth])
    loss = -np.log(own_NC[np.arange(len(labels_N)), labels_N]).mean()
    assert found[naive]["log_loss"] == pytest.approx(loss)
    assert found[naive]["capa"] == pair_measures.capa(own_NC, weak_NC, labels_N=labels_N)
    misfit = pair_measures.misfit(own_NC, supervisor_NC=weak_NC, labels_N=labels_N)
    assert (found[naive]["misfit"], found[naive]["misfit_nats"]) == (misfit.squared, misfit.nats)
    auc = roc_auc_score(labels_N, own_NC, multi_class="ovo", average="macro", labels=[0, 1, 2])
    assert found[naive]["auc"] == pytest.approx(auc)
    bins = reliability(store, naive).to_pylist()
    assert sum(bin_["count"] for bin_ in bins) == len(labels_N)
    assert bins[0]["low"] == pytest.approx(4 / 15)  # the bin that ends at 1/3
    gaps = (b["count"] * abs(b["accuracy"] - b["confidence"]) for b in bins if b["count"])
    assert found[naive]["ece"] == pytest.approx(sum(gaps) / len(labels_N))


def test_truth_that_is_hidden_reaches_no_student(done, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    store, plan = done
    split = plan.inputs.splits["t"].fingerprint
    other = Store.open(tmp_path / "turned")
    rows = store.splits.rows(split).to_pylist()
    for row in rows:
        if row["part"] in ("student_half", "test"):  # validation stops the supervisor
            row["answer"] = NAMES[(NAMES.index(row["answer"]) + 1) % 3]
    other.splits.write(split, pa.Table.from_pylist(rows, schema=SPLIT_ROWS), {})
    chosen = [cell for cell in plan.cells if cell.method in (*GUARDED, *ORACLES)]
    needed = {cell.student for cell in chosen}
    while more := {parent for id_ in needed for parent in plan.fits[id_].parents} - needed:
        needed |= more
    run_all(replace(plan, fits={id_: plan.fits[id_] for id_ in plan.fits if id_ in needed}), other)
    for cell in chosen:
        one, two = (s.predictions(cell.student, "test").to_pylist() for s in (store, other))
        assert (one == two) is (cell.method not in ORACLES), cell.method


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            ("words: [w50, w51, w52], shots: 6", "words: [w50, w51]"),
            r"words has 2 words \(w50, w51\), but task t has 3 classes; .* order: 2, 10, other",
        ),
        (("controls: {truth_price: 4}", "controls: {words: [w1, w2]}"), "has 3 classes"),
        (("naive: {}", "naive: {loss: {kind: window}}"), "window needs two .*several classes"),
        (("naive: {}", "naive: {stages: [{kind: one_per_group}]}"), "right or wrong, but task t"),
        (("controls: {truth_price: 4}", "seal: true"), "seal needs two classes, but task t"),
    ],
)
def test_what_needs_two_classes_is_refused_when_it_is_planned(
    done, tmp_path, changed, message
) -> None:
    text = SWEEP.format(folder=Path(done[0].uri).parent)
    before, after = changed
    assert before in text
    with pytest.raises(InputError, match=message):
        plan_sweep(parse_sweep(text.replace(before, after)), store=done[0])


def test_kept_weights_have_a_head_for_every_class(done, tmp_path, monkeypatch) -> None:
    from safetensors.numpy import load_file

    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    store, plan = done
    fit = plan.fits[students(plan)["probe"]]
    (supervisor,) = fit.parents
    other = Store.open(tmp_path / "kept")
    other.splits.write(fit.recipe.split, store.splits.rows(fit.recipe.split), {})
    kept = fit.execution.model_copy(update={"keep": "last"})
    for each in (plan.fits[supervisor], replace(fit, execution=kept)):
        record = FitTraining(each).run(other, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback
    folder = other.fetch_weights(fit.id, tmp_path / "fetched")
    assert load_file(folder / "head.safetensors")["weight"].shape == (3, 32)
