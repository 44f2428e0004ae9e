"""A probe of several classes: its optimum, its stopping, and that it follows labels alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.optimize import minimize

from w2s_ray.config import EarlyStopping, FitRecipe, Labels, Training
from w2s_ray.learn.contract import StopRequested
from w2s_ray.learn.forms.features import FeatureData, fit_probe
from w2s_ray.methods.losses import (
    AdaptiveConfidenceLoss,
    CACELoss,
    ConfidenceLoss,
    KLLoss,
    SymmetricXentLoss,
    XentLoss,
)

CLASSES = ("0", "1", "2")


class Observer:
    def __init__(self):
        self.evaluations = []

    def trained(self, **evaluation):
        pass

    def evaluated(self, **evaluation):
        self.evaluations.append(evaluation)


def made_data(*, n: int = 120, width: int = 4, seed: int = 0) -> FeatureData:
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n + 60, width)) * [1, 20, 0.01, 3] + [0, 5, 0, -2]).astype("f4")
    true = rng.normal(size=(width, 3)) / np.array([1, 20, 0.01, 3])[:, None]
    logits = features @ true
    soft = np.exp(logits - logits.max(1, keepdims=True)) + 0.3
    soft = (soft / soft.sum(1, keepdims=True)).astype("f4")
    parts = {"validation": features[n:], "test": features[n : n + 10]}
    return FeatureData(CLASSES, features[:n], soft[:n], features[n:], soft[n:], parts)


def recipe(**changed) -> FitRecipe:
    training = Training(batch_size=120, epochs=400, lr=0.05, clip_norm=None)
    base = {
        "split": "s",
        "form": "features",
        "train_on": "student_half",
        "model": "pixels:2",
        "labels": Labels(source="ground_truth"),
        "training": training.model_copy(update=changed.pop("training", {})),
        "loss": XentLoss(),
        "seed": 0,
    }
    return FitRecipe(**{**base, **changed})


def test_it_finds_the_optimum_of_softmax_regression_on_soft_labels():
    data = made_data()
    result = fit_probe(recipe(training={"epochs": 1500}), data=data, observer=Observer())
    mean, spread = data.train_ND.mean(0), data.train_ND.std(0)

    def probabilities(x, features):
        weights = x.reshape(5, 3)
        logits = (features - mean) / spread @ weights[:4] + weights[4]
        each = np.exp(logits - logits.max(1, keepdims=True))
        return each / each.sum(1, keepdims=True)

    def loss(x):
        found = probabilities(x, data.train_ND)
        return -(data.train_targets_NC * np.log(found)).sum(1).mean()

    reference = minimize(loss, np.zeros(15), method="BFGS").x
    test = result.predicted["test"]
    assert test.distribution is not None
    expected = probabilities(reference, data.predict["test"])
    assert np.abs(test.distribution - expected).max() < 2e-3
    assert test.answers == tuple(CLASSES[i] for i in expected.argmax(1))
    assert np.allclose(test.probabilities, expected.max(1), atol=2e-3)


def test_confidence_on_two_classes_has_a_threshold_of_the_batch():
    data = made_data()
    two = {f: getattr(data, f)[:, :2] for f in ("train_targets_NC", "validation_targets_MC")}
    two = {f: each / each.sum(axis=1, keepdims=True) for f, each in two.items()}
    halved = replace(data, classes=CLASSES[:2], **two)

    def found(loss):
        settings = recipe(training={"epochs": 30}, loss=loss)
        return fit_probe(settings, data=halved, observer=Observer()).predicted["test"].distribution

    plain = found(XentLoss())
    np.testing.assert_array_equal(found(ConfidenceLoss(alpha=0)), plain)
    assert np.abs(found(ConfidenceLoss(alpha=0.5)) - plain).max() > 1e-3


def test_the_same_seed_gives_the_same_and_another_order_another():
    data, short = made_data(), {"batch_size": 16, "epochs": 3}
    runs = [
        fit_probe(recipe(training=short, seed=seed), data=data, observer=Observer())
        for seed in (0, 0, 1)
    ]
    first, again, other = (run.predicted["test"].probabilities for run in runs)
    assert (first == again).all()
    assert (first != other).any()


def test_early_stopping_goes_back_to_the_best_weights():
    data = made_data(n=12)
    overfit = replace(data, train_targets_NC=np.eye(3, dtype="f4")[data.train_targets_NC.argmax(1)])
    observer = Observer()
    stopping = EarlyStopping(patience=2, metric="loss")
    result = fit_probe(
        recipe(training={"lr": 0.5, "epochs": 60}, early_stopping=stopping),
        data=overfit,
        observer=observer,
    )
    losses = [evaluation["loss"] for evaluation in observer.evaluations]
    assert result.stopped_early
    assert result.steps < result.total_steps
    assert result.validation_loss == pytest.approx(min(losses))
    assert result.best_step == observer.evaluations[int(np.argmin(losses))]["step"]


def test_training_goes_on_after_an_early_stop_with_the_same_result():
    data = made_data(seed=3)
    stopping = EarlyStopping(patience=2, metric="loss", min_delta=0.5)
    finishing = stopping.model_copy(update={"finish_schedule": True})
    seen = Observer(), Observer()
    stopped, finished = (
        fit_probe(recipe(training={"epochs": 9}, early_stopping=each), data=data, observer=observer)
        for each, observer in zip((stopping, finishing), seen, strict=True)
    )
    assert (stopped.stopped_early, finished.stopped_early) == (True, False)
    assert finished.steps == finished.total_steps > stopped.steps == finished.stopping_step
    assert len(seen[1].evaluations) > len(seen[0].evaluations)
    assert finished.best_step == stopped.best_step
    one, other = (result.predicted["test"].distribution for result in (stopped, finished))
    assert np.array_equal(one, other)


def test_the_weights_that_are_kept_take_features_as_they_come(tmp_path):
    data = made_data()
    result = fit_probe(
        recipe(training={"epochs": 20}), data=data, observer=Observer(), weights=tmp_path / "w"
    )
    state = load_file(tmp_path / "w" / "probe.safetensors")
    logits = data.predict["test"] @ state["weight"].T + state["bias"]
    each = np.exp(logits - logits.max(1, keepdims=True))
    found = each / each.sum(1, keepdims=True)
    assert np.abs(found - result.predicted["test"].distribution).max() < 1e-4


def test_a_probe_ends_on_command():
    control = SimpleNamespace(next_command=lambda: "stop")
    with pytest.raises(StopRequested):
        fit_probe(recipe(), data=made_data(), observer=Observer(), control=control)


@pytest.mark.parametrize(
    ("loss", "is_xent"),
    [
        (ConfidenceLoss(alpha=0), True),
        (SymmetricXentLoss(reverse=0), True),
        (CACELoss(certain_from=0), True),
        (ConfidenceLoss(alpha=0.9, warmup_fraction=0), False),
        (KLLoss(direction="reverse"), False),
        (AdaptiveConfidenceLoss(), False),
    ],
    ids=repr,
)
def test_a_probe_of_several_classes_is_trained_by_its_loss(loss, is_xent):
    plain, other = (
        fit_probe(recipe(loss=each), data=made_data(), observer=Observer())
        .predicted["test"]
        .distribution
        for each in (XentLoss(), loss)
    )
    assert np.isfinite(other).all()
    assert (np.abs(plain - other).max() < 1e-5) == is_xent
