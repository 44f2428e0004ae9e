"""A sweep over questions with choices, from a file to its table, in this process."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learn.test_choices import questions
from tests.support import NoCheckpoints, make_model
from w2s_ray.config import parse_sweep
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plan import Plan, PlannedFit
from w2s_ray.prepare import materialize, plan_sweep, write_manifest
from w2s_ray.report import open_results
from w2s_ray.report.scores import scores
from w2s_ray.store import Store

SWEEP = """
name: own
task: {{name: t, path: {folder}/rows.jsonl, train: 160, validation: 30, test: 60,
        columns: {{text: question, choices: choices, answer: answer}}}}
models: [{folder}/a, {folder}/b]
pairs: [[a, b]]
training: {{batch_size: 16, epochs: 5, lr: 2.0e-2, max_tokens: 24, evaluations_per_epoch: 1}}
methods:
  naive: {{}}
  hard: {{stages: [{{kind: hard}}, {{kind: confident, above: 0.0}}]}}
  zero-shot: {{stages: [{{kind: untrained}}]}}
  random: {{stages: [{{kind: random_labels}}]}}
  few: {{stages: [{{kind: truth, one_in: 10}}]}}
  several: {{stages: [{{kind: ensemble, seeds: [7]}}]}}
early_stopping: {{patience: 3}}
execution: {{gpus_per_worker: 0}}
"""


def write_rows(path: Path, *, rows: int = 420) -> None:
    made = zip(*questions(rows, 8), strict=True)
    given = [{"question": q, "choices": c, "answer": int(label.argmax())} for q, c, label in made]
    path.write_text("".join(json.dumps(row) + "\n" for row in given))


def run_all(plan: Plan, store: Store) -> dict[str, PlannedFit]:
    """Every fit of the plan, after those that it needs; id, method or role -> fit."""
    left = dict(plan.fits)
    while left:
        for id_, fit in list(left.items()):
            if not left.keys() & set(fit.parents):
                record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
                assert record.status == "done", record.traceback
                del left[id_]
    return {name: fit for fit in plan.fits.values() for name in (fit.id, *fit.roles, *fit.methods)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("choices")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(folder / "cache"))
        for seed, name in enumerate("ab"):
            make_model(folder / name, width=24, seed=seed)
        write_rows(folder / "rows.jsonl")
        store, text = Store.open(folder / "results"), SWEEP.format(folder=folder)
        plan = plan_sweep(parse_sweep(text), store=store)
        materialize(plan, store)
        fits = run_all(plan, store)
        write_manifest(plan, store, text)
        yield store, fits


def test_every_fit_predicts_a_distribution_over_the_choices_of_each_row(done) -> None:
    store, fits = done
    recipe = fits["student"].recipe
    assert recipe.form == "choices"
    rows = {r["example_id"]: r for r in store.splits.rows(recipe.split).to_pylist()}
    assert {r["label"] for r in rows.values()} == {None}
    assert {len(r["choices"]) for r in rows.values()} == {2, 3, 4, 5}
    for name in ("supervisor", "ceiling", "naive", "hard", "zero-shot", "few", "several"):
        found = store.predictions(fits[name].id, "test").to_pylist()
        assert len(found) == 60
        right = []
        for row in found:
            choices, p = rows[row["example_id"]]["choices"], row["probabilities"]
            assert len(p) == len(choices)
            assert sum(p) == pytest.approx(1, abs=1e-5)
            assert row["probability"] == max(p)
            assert row["answer"] == choices[int(np.argmax(p))]
            right.append(row["answer"] == rows[row["example_id"]]["answer"])
        summary = store.record(fits[name].id).summary
        assert summary["test_accuracy"] == pytest.approx(np.mean(right))
        likelihood = [
            r["probabilities"][
                rows[r["example_id"]]["choices"].index(rows[r["example_id"]]["answer"])
            ]
            for r in found
        ]
        assert summary["test_log_loss"] == pytest.approx(-np.mean(np.log(likelihood)), abs=1e-5)


def test_models_learn_from_weak_labels_and_an_untrained_one_is_near_chance(done) -> None:
    store, fits = done
    accuracy = {name: store.record(fit.id).summary["test_accuracy"] for name, fit in fits.items()}
    for name in ("supervisor", "ceiling", "naive", "hard", "several"):
        assert accuracy[name] > 0.7, accuracy
    for name in ("zero-shot", "random"):
        assert accuracy[name] < 0.6, accuracy
    zero_shot = store.record(fits["zero-shot"].id).summary
    assert zero_shot["steps"] == 0
    (row,) = open_results(store.uri).pgr("own").query("method == 'naive'").to_dict("records")
    (supervisor,) = fits["naive"].parents
    assert row["weak_accuracy"] == pytest.approx(accuracy[supervisor])


def test_agreement_is_of_choices_and_calibration_is_null(done) -> None:
    store, fits = done
    found = {row["run_id"]: row for row in scores(store).to_pylist()}
    (supervisor,) = fits["naive"].parents
    own, weak = (store.predictions(id_, "test") for id_ in (fits["naive"].id, supervisor))
    answers = [dict(zip(t["example_id"].to_pylist(), t["answer"].to_pylist())) for t in (own, weak)]  # noqa: B905
    row = found[fits["naive"].id]
    assert row["agreement"] == pytest.approx(
        np.mean([answers[1][k] == v for k, v in answers[0].items()])
    )
    assert row["ece"] is row["auc"] is row["capa"] is None


def test_a_students_labels_are_its_supervisors_distributions(done) -> None:
    """One row's choices and nothing else; ground truth is in no student's labels."""
    from w2s_ray.fits.training_data import weak_distributions

    store, fits = done
    rows = SplitRows.of(store.splits.rows(fits["student"].recipe.split))
    weak = weak_distributions(store, fits["naive"].recipe)
    labels = targets(fits["naive"].recipe, rows, weak=weak)
    assert labels.train_NC.shape == (80, 5)
    assert weak is not None
    for i, (id_, choices) in enumerate(
        zip(rows.ids["student_half"], rows.choices["student_half"], strict=True)
    ):
        given = labels.train_NC[i]
        assert given[: len(choices)].tolist() == pytest.approx(weak["student_half", id_])
        assert (given[len(choices) :] == 0).all()
    several = weak_distributions(store, fits["several"].recipe)
    assert several is not None
    assert several != weak
    assert math.fsum(next(iter(several.values()))) == pytest.approx(1, abs=1e-5)
    random = targets(fits["random"].recipe, rows, weak=None)
    drawn = random.train_NC.argmax(1)
    counts = np.array([len(choices) for choices in rows.choices["student_half"]])
    assert (drawn < counts).all()
    assert len(set(drawn.tolist())) > 3
    true = targets(fits["ceiling"].recipe, rows, weak=None)
    places = true.train_NC.argmax(1)
    named = [c[i] for c, i in zip(rows.choices["student_half"], places, strict=True)]
    assert tuple(named) == rows.truth["student_half"].answers


def test_flipping_all_hidden_truth_changes_nothing_in_a_student(
    done, tmp_path, monkeypatch
) -> None:
    import pyarrow as pa

    from w2s_ray.store.tables import SPLIT_ROWS

    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    store, fits = done
    split = fits["naive"].recipe.split
    other = Store.open(tmp_path / "flipped")
    rows = store.splits.rows(split).to_pylist()
    for row in rows:
        if row["part"] in ("student_half", "test"):  # validation stops the supervisor
            row["answer"] = next(c for c in row["choices"] if c != row["answer"])
    other.splits.write(split, pa.Table.from_pylist(rows, schema=SPLIT_ROWS), {})
    for name in (*fits["naive"].parents, "naive"):
        record = FitTraining(fits[name]).run(other, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback
    found = [s.predictions(fits["naive"].id, "test").to_pylist() for s in (store, other)]
    assert found[0] == found[1]
