"""Texts of several classes in the one loop: predictions and loss against NumPy, and losses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.learn.tiny import Recorder, category_data, category_rows, data_of, inputs_of, recipe_of
from w2s_ray.config import EarlyStopping, Execution, FullTuning, ModelSource
from w2s_ray.learn.contract import FitResult
from w2s_ray.learn.evaluate import against_labels, agreement, cross_entropy, of_classes
from w2s_ray.learn.forms.categories import CategoryData
from w2s_ray.learn.loop import fit
from w2s_ray.learn.models import build_model

CPU = Execution(gpus_per_worker=0, evaluation_batch=5)
LOSSES = ["confidence", "product", "cace", "adaptive_confidence", "evidential"]


def run(gpt2: ModelSource, data: Any = None, **fields: Any) -> tuple[FitResult, Recorder]:
    seen, form = Recorder(), fields.pop("form", "categories")
    training = {"epochs": 6, "lr": 1e-2, **fields.pop("training", {})}
    given = {"data": data or category_data(), "execution": fields.pop("execution", CPU)}
    more = {"weights": fields.pop("weights", None), "source": gpt2, "observer": seen}
    return fit(recipe_of(training, form=form, **fields), **given, **more), seen


def test_it_learns_and_begins_at_the_logarithm_of_the_classes(gpt2: ModelSource) -> None:
    result, seen = run(gpt2)
    assert seen.losses[0] == pytest.approx(np.log(3), abs=1e-6)
    truth = category_rows(17, 3)[1].argmax(axis=1)
    test = result.predicted["test"]
    assert test.distribution is not None
    assert test.distribution.shape == (17, 3)
    np.testing.assert_allclose(test.distribution.sum(axis=1), 1, atol=1e-6)
    assert test.answers == tuple("abc"[i] for i in test.distribution.argmax(axis=1))
    np.testing.assert_array_equal(test.probabilities, test.distribution.max(axis=1))
    assert np.mean([a == "abc"[i] for a, i in zip(test.answers, truth, strict=True)]) > 0.8
    assert result.trained_parameters == result.parameters


def test_predictions_and_the_loss_on_validation_are_those_of_numpy(
    gpt2: ModelSource, tmp_path: Any
) -> None:
    """From the weights that the fit left, one row at a time."""
    result, _ = run(gpt2, execution=CPU.model_copy(update={"keep": "last"}), weights=tmp_path)
    source = gpt2.model_copy(update={"location": str(tmp_path)})
    model = build_model(source, tuning=FullTuning(), seed=0, form="categories", classes=3)
    head_CD = load_file(tmp_path / "head.safetensors")["weight"].numpy()
    assert head_CD.shape == (3, 16)
    rows, labels_MC = category_rows(21, 2)
    with torch.no_grad():
        pooled_MD = np.concatenate([model.pooled(*inputs_of(rows, [i])).numpy() for i in range(21)])
    logits_MC = pooled_MD.astype(np.float64) @ head_CD.T.astype(np.float64)
    p_MC = np.exp(logits_MC) / np.exp(logits_MC).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result.predicted["validation"].distribution, p_MC, atol=1e-5)
    loss = -(labels_MC * np.log(p_MC)).sum(axis=1).mean()
    assert result.validation_loss == pytest.approx(loss, abs=1e-5)
    same = p_MC.argmax(axis=1) == labels_MC.argmax(axis=1)
    assert result.validation_agreement == pytest.approx(same.mean())


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_without_a_threshold_train_it(gpt2: ModelSource, kind: str) -> None:
    result, seen = run(gpt2, loss={"kind": kind})
    assert np.isfinite(seen.losses).all()
    p_NC, right_N = result.predicted["test"].distribution, category_rows(17, 3)[1].argmax(axis=1)
    assert p_NC is not None
    assert p_NC[np.arange(17), right_N].mean() > 0.4


def test_two_classes_in_this_form_are_those_of_the_form_for_two(gpt2: ModelSource) -> None:
    """One head of two outputs, one step and one early stop."""
    two = data_of()
    fields = {f: getattr(two, f) for f in ("train", "train_targets_NC", "validation", "predict")}
    same = CategoryData(
        **fields, validation_targets_MC=two.validation_targets_MC, names=("no", "yes")
    )
    stopping = EarlyStopping(patience=2, metric="loss")
    found, seen = run(gpt2, same, early_stopping=stopping, loss={"kind": "confidence"})
    wanted, expected = run(
        gpt2, two, form="classes", early_stopping=stopping, loss={"kind": "confidence"}
    )
    assert seen.losses == expected.losses
    p_NC = found.predicted["test"].distribution
    assert p_NC is not None
    np.testing.assert_allclose(p_NC[:, 1], wanted.predicted["test"].probabilities, atol=1e-6)
    assert found.best_step == wanted.best_step
    assert found.validation_loss == pytest.approx(wanted.validation_loss, abs=1e-6)


def test_weights_of_rows_reach_the_step(gpt2: ModelSource) -> None:
    data = category_data()
    weights_N = np.where(data.train_targets_NC.argmax(axis=1) == 2, 3.0, 0.0).astype(np.float32)
    result, seen = run(gpt2, replace(data, train_weights_N=weights_N), training={"epochs": 3})
    assert seen.losses[0] != pytest.approx(np.log(3), abs=1e-3)
    assert set(result.predicted["test"].answers or ()) == {"c"}


def test_a_tie_is_the_first_class_as_with_two_classes() -> None:
    logits_MC = np.array([[1, 1, 0], [0, 2, 2], [0, 0, 0]], np.float32)
    assert of_classes(logits_MC, ("a", "b", "c")).answers == ("a", "b", "a")
    labels_MC = np.array([[1, 0], [0.25, 0.75], [0, 1]], np.float32)
    margins_M = np.array([0.0, 2.0, -1.0], np.float32)
    both_MC = np.stack([np.zeros(3, np.float32), margins_M], axis=1)
    share, loss = against_labels(both_MC, labels_MC)
    assert share == agreement(margins_M, labels_MC)
    assert loss == pytest.approx(cross_entropy(margins_M, labels_MC))


def test_labels_of_other_classes_are_refused() -> None:
    data = category_data()
    with pytest.raises(ValueError, match=r"train has 44 rows, but .*\(44, 2\)"):
        replace(data, names=("a", "b"))
