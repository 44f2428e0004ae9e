"""Fits of pairs, answers and text from a store's rows: what reaches a student, what is kept."""

from __future__ import annotations

import random
from dataclasses import replace

import pyarrow as pa
import pytest

from tests.support import WORDS, NoCheckpoints, make_model
from w2s_ray.config import (
    EarlyStopping,
    Execution,
    FitRecipe,
    Model,
    ModelSource,
    Policy,
    Training,
    XentLoss,
)
from w2s_ray.data.folders import check_model, check_reads, model_files
from w2s_ray.data.models import model_source
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plan import PlannedFit
from w2s_ray.report.scores import scores
from w2s_ray.store import Store
from w2s_ray.store.tables import SPLIT_ROWS

HIDDEN = ("student_half", "validation", "test")
SIZES = {"supervisor_half": 60, "student_half": 40, "validation": 20, "test": 24}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "m", eos=True)


def rows(form: str, *, flipped: bool) -> list[dict]:
    """Rows of a form; `flipped` changes the truth that a student may not see."""
    rng, made = random.Random(0), []
    for part, size in SIZES.items():
        for i in range(size):
            other = flipped and part in HIDDEN
            texts = [[rng.choice(WORDS[:20]) for _ in range(4)] for _ in range(2)]
            row = {"example_id": f"{part}:{i}", "part": part, "text": " ".join(texts[0])}
            if form in ("pairs", "policies"):
                label = int(texts[0][0] < texts[1][0])
                row |= {"second": " ".join(texts[1]), "label": 1 - label if other else label}
            if form == "answers":
                row |= {"answer": WORDS[59] if other else texts[0][-1], "difficulty": 1.0}
            made.append(row)
    return made


def planned(model, form: str, **recipe) -> PlannedFit:
    settings = Training(epochs=3, batch_size=16, lr=1e-2, max_tokens=24, answer_tokens=4)
    if form == "policies":
        form, settings = "pairs", settings.model_copy(update={"pair_model": Policy()})
    given = {"split": "s" * 20, "form": form, "model": "sha256:m", "training": settings, "seed": 0}
    made = FitRecipe.model_validate({**given, "loss": XentLoss(), **recipe})
    source = ModelSource(name="m", location=str(model), identity="sha256:m")
    return PlannedFit(made.run_id, made, source, Execution(gpus_per_worker=0), task="chess_puzzles")


def supervisor(model, form: str) -> PlannedFit:
    return planned(model, form, train_on="supervisor_half", labels="ground_truth", predicts=HIDDEN)


def student(model, form: str, *, oracle: bool) -> PlannedFit:
    stopping = EarlyStopping(patience=1, metric="loss", oracle=oracle)
    labels = supervisor(model, form).id
    return planned(model, form, train_on="student_half", labels=labels, early_stopping=stopping)


def run_fits(store: Store, *fits: PlannedFit) -> list[list]:
    found = []
    for fit in fits:
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback
        found.append(store.predictions(fit.id, "test").to_pylist())
    return found


@pytest.mark.parametrize("oracle", [False, True])
@pytest.mark.parametrize("form", ["pairs", "policies", "answers"])
def test_flipping_all_hidden_truth_changes_nothing_in_a_student_but_an_oracles(
    tmp_path, model, monkeypatch, form, oracle
):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    predictions, steered = [], []
    for flipped in (False, True):
        store = Store.open(tmp_path / f"flipped-{flipped}")
        table = pa.Table.from_pylist(rows(form, flipped=flipped), schema=SPLIT_ROWS)
        store.splits.write("s" * 20, table, {})
        monkeypatch.setattr("w2s_ray.fits.train_fit.TASKS", {})
        learner = student(model, form, oracle=oracle)
        predictions.append(run_fits(store, supervisor(model, form), learner))
        steered.append(store.record(learner.id).summary["validation_loss"])
    (weak, learned), (weak_again, learned_again) = predictions
    assert weak == weak_again
    assert (steered[0] == steered[1]) is not oracle
    if not oracle:
        assert learned == learned_again


def test_answers_are_kept_measured_and_checked_for_legality(tmp_path, model, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    store = Store.open(tmp_path / "store")
    table = pa.Table.from_pylist(rows("answers", flipped=False), schema=SPLIT_ROWS)
    store.splits.write("s" * 20, table, {})

    class Rules:
        legal = staticmethod(lambda prompt, answer: answer in prompt.split())

    monkeypatch.setattr("w2s_ray.fits.train_fit.TASKS", {"chess_puzzles": Rules})
    weak, learner = supervisor(model, "answers"), student(model, "answers", oracle=False)
    results = run_fits(store, weak, learner)
    gold = {r["example_id"]: (r["text"], r["answer"]) for r in rows("answers", flipped=False)}
    for fit, predicted in zip((weak, learner), results, strict=True):
        exact = [p["answer"] == gold[p["example_id"]][1] for p in predicted]
        legal = [p["answer"] in gold[p["example_id"]][0].split() for p in predicted]
        summary = store.record(fit.id).summary
        assert summary["test_accuracy"] == pytest.approx(sum(exact) / len(exact))
        assert summary["test_legality"] == pytest.approx(sum(legal) / len(legal))
        assert "test_log_loss" not in summary
    found = {row["run_id"]: row for row in scores(store).to_pylist()}
    row = found[learner.id]
    same = [a["answer"] == b["answer"] for a, b in zip(*results, strict=True)]
    assert row["agreement"] == pytest.approx(sum(same) / len(same))
    assert row["accuracy"] == store.record(learner.id).summary["test_accuracy"]
    assert row["auc"] is row["log_loss"] is row["ece"] is None


def test_spaces_around_answers_change_nothing(tmp_path, model, monkeypatch):
    """Evaluation harnesses begin answers with a space."""
    results = []
    for name, space in (("plain", "{}"), ("led", " {}"), ("wide", "\t{} \n")):
        monkeypatch.setenv("W2S_CACHE", str(tmp_path / name / "cache"))
        store = Store.open(tmp_path / name)
        given = [{**r, "answer": space.format(r["answer"])} for r in rows("answers", flipped=False)]
        store.splits.write("s" * 20, pa.Table.from_pylist(given, schema=SPLIT_ROWS), {})
        monkeypatch.setattr("w2s_ray.fits.train_fit.TASKS", {})
        weak, learner = supervisor(model, "answers"), student(model, "answers", oracle=True)
        predictions = run_fits(store, weak, learner)
        figures = [store.record(fit.id).summary["test_accuracy"] for fit in (weak, learner)]
        results.append((predictions, figures, [r["accuracy"] for r in scores(store).to_pylist()]))
    assert results[0] == results[1] == results[2]
    assert max(results[0][1]) > 0


def test_kept_weights_are_a_model_that_a_sweep_can_name(tmp_path, model, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    store = Store.open(tmp_path / "store")
    table = pa.Table.from_pylist(rows("pairs", flipped=False), schema=SPLIT_ROWS)
    store.splits.write("s" * 20, table, {})
    fit = supervisor(model, "pairs")
    kept = fit.execution.model_copy(update={"keep": "last"})
    run_fits(store, replace(fit, execution=kept))
    folder = store.fetch_weights(fit.id, tmp_path / "fetched")
    source = model_source(Model(name=str(folder)))
    files = model_files(source)
    assert files is not None
    check_reads(source, files)
    check_model(source, files, reads_text=True)


def test_answers_too_long_for_a_completion_fail_before_training(tmp_path, model, monkeypatch):
    """Where no plan could count them: the tokenizer was not a file on this machine."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    store = Store.open(tmp_path / "store")
    given = [{**r, "answer": "w1 w2 w3 w4"} for r in rows("answers", flipped=False)]
    store.splits.write("s" * 20, pa.Table.from_pylist(given, schema=SPLIT_ROWS), {})
    record = FitTraining(supervisor(model, "answers")).run(store, checkpoints=NoCheckpoints())
    assert record.status == "failed"
    assert "training.answer_tokens is 4, and " in record.reason
    assert "the longest 5 tokens with its end; raise it to 5" in record.reason


def test_text_of_a_task_with_answers_leaves_the_answers_out(tmp_path, model, monkeypatch):
    """Finetuning on the task's text before weak labels must not teach the answers."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    weights = []
    for flipped in (False, True):
        store = Store.open(tmp_path / f"flipped-{flipped}")
        table = pa.Table.from_pylist(rows("answers", flipped=flipped), schema=SPLIT_ROWS)
        store.splits.write("s" * 20, table, {})
        fit = planned(model, "text", train_on="student_half", labels="none", predicts=("test",))
        (predicted,) = run_fits(store, fit)
        assert predicted == []
        summary = store.record(fit.id).summary
        assert "test_accuracy" not in summary
        assert summary["test_loss"] < 5
        weights.append((tmp_path / f"flipped-{flipped}").rglob("model.safetensors").__next__())
    assert weights[0].read_bytes() == weights[1].read_bytes()
