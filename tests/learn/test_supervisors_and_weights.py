"""Losses of several supervisors and weights of rows: formulas, steps, layouts and resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import digamma, gammaln

from tests.learn.tiny import Recorder, data_of, recipe_of
from w2s_ray.config import Execution, Method, ModelSource
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.loop import fit
from w2s_ray.learn.losses import loss_sum
from w2s_ray.methods.losses import EvidentialLoss, Loss, MixtureLoss, XentLoss
from w2s_ray.methods.transforms import Consensus, Weights
from w2s_ray.methods.transforms.transform import LabelledRows

ROWS, SUPERVISORS = 10, 3
ONE = Execution(gpus_per_worker=0, checkpoint_every_s=0, evaluation_batch=8)


def labels_KBC(seed: int = 0, classes: int = 2) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.ones(classes), size=(SUPERVISORS, ROWS)).astype("f4")


def logits_BC(seed: int = 0, classes: int = 2) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=(ROWS, classes)))


def softmax(z: np.ndarray) -> np.ndarray:
    raised = np.exp(z)
    return raised / raised.sum(axis=-1, keepdims=True)


def evidential(z: np.ndarray, w: np.ndarray, *, own: float, rate: float) -> float:
    """Cui et al. 2024, row by row; KL(Dir(b) || Dir(1)) from the general formula."""
    a = np.log1p(np.exp(z)) + 1

    def e(y: int) -> float:
        b = a.copy()
        b[y] = 1.0
        ones = np.ones_like(b)
        kl = (
            gammaln(b.sum()) - gammaln(ones.sum()) - gammaln(b).sum() + gammaln(ones).sum()
            + ((b - ones) * (digamma(b) - digamma(b.sum()))).sum()
        )  # fmt: skip
        return float(np.log(a.sum()) - np.log(a[y]) + rate * kl)

    soft = sum(w[c] * e(c) for c in range(len(w)))
    return float((1 - own) * soft + own * e(int(z.argmax())))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_evidential_matches_a_numpy_reference(classes: int, progress: float) -> None:
    loss = EvidentialLoss(own=0.3, regularization=2.0)
    logits, labels = logits_BC(1, classes), torch.tensor(labels_KBC(2, classes)[0])
    found = loss.each(logits, labels, statistic=None, progress=progress)
    expected = [
        evidential(z, w, own=0.3, rate=2.0 * progress)
        for z, w in zip(logits.numpy(), labels.double().numpy(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_evidential_of_several_supervisors_is_that_of_their_mean_and_soft_labels_count() -> None:
    """In a public version soft labels cancel: it evaluates the label's class alone."""
    every = torch.tensor(labels_KBC())
    of_each = [EvidentialLoss().each(logits_BC(), w, statistic=None, progress=0.5) for w in every]
    of_mean = EvidentialLoss().each(logits_BC(), every.mean(0), statistic=None, progress=0.5)
    torch.testing.assert_close(torch.stack(of_each).mean(0), of_mean)
    hard = torch.nn.functional.one_hot(every[0].argmax(1), 2).float()
    of_hard = EvidentialLoss().each(logits_BC(), hard, statistic=None, progress=0.5)
    assert not torch.allclose(of_hard, of_each[0])


def test_evidential_learns_from_the_heads_start() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    labels = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    loss_sum(EvidentialLoss(own=0), logits, labels, statistic=None, progress=0.0).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 1] < 0).tolist() == [True, False]


def mixture_reference(
    p1: np.ndarray, labels: np.ndarray, weights: np.ndarray, lr: float
) -> np.ndarray:
    """One step of the weights, by finite differences of the loss with the normalized target."""

    def loss(a: np.ndarray) -> float:
        target = np.einsum("k,kbc->bc", a, labels) / a.sum()
        return float(-(target * np.log(np.stack([1 - p1, p1], axis=1))).sum(axis=1).mean())

    slope = [
        (loss(weights + step) - loss(weights - step)) / 2e-6 for step in 1e-6 * np.eye(len(weights))
    ]
    moved = np.maximum(weights - lr * np.array(slope), 1e-6)
    return moved / moved.sum()


def test_the_mixtures_weights_follow_the_gradient_of_the_students_loss() -> None:
    loss, labels = MixtureLoss(lr=0.5, agreed_fraction=0.1), labels_KBC(3).astype("f8")
    memory: list[float] = []
    expected = np.full(SUPERVISORS, 1 / SUPERVISORS)
    for step in range(6):
        p1 = softmax(logits_BC(step).numpy())[:, 1]
        used = loss.batch_statistic(
            torch.tensor(p1), torch.tensor(labels), memory=memory, progress=0.2 + step / 10
        )
        assert used.tolist() == pytest.approx(expected.tolist(), abs=1e-7)
        expected = mixture_reference(p1, labels, expected, 0.5)
        assert memory == pytest.approx(expected.tolist(), abs=1e-7)
    assert max(memory) - min(memory) > 0.05


def test_in_the_first_phase_weights_stay_equal_and_only_agreed_rows_count() -> None:
    loss, labels = MixtureLoss(agreed_fraction=0.5), torch.tensor(labels_KBC())
    memory: list[float] = []
    p1 = torch.full((ROWS,), 0.3)
    used = loss.batch_statistic(p1, labels, memory=memory, progress=0.49)
    assert (used.tolist(), memory) == ([1 / 3] * 3, [])
    found = loss.each(logits_BC(), labels, statistic=used, progress=0.49)
    agreed = (labels.argmax(2) == labels[0].argmax(1)).all(0)
    assert 0 < int(agreed.sum()) < ROWS
    mean = XentLoss().each(logits_BC(), labels.mean(0), statistic=None, progress=0.0)
    torch.testing.assert_close(found, mean * agreed)


def test_a_mixture_of_one_supervisor_is_cross_entropy() -> None:
    labels = torch.tensor(labels_KBC()[:1])
    loss = MixtureLoss(agreed_fraction=0)
    used = loss.batch_statistic(torch.full((ROWS,), 0.3), labels, memory=[], progress=0.5)
    found = loss.each(logits_BC(), labels, statistic=used, progress=0.5)
    torch.testing.assert_close(
        found, XentLoss().each(logits_BC(), labels[0], statistic=None, progress=0.5)
    )


def weighed(data: ClassData) -> ClassData:
    """The data with three supervisors and with weights of mean 1."""
    random = np.random.default_rng(0)
    each = np.stack([data.train_targets_NC, *(random.dirichlet([1, 1], size=(2, len(data.train))))])
    weights = random.random(len(data.train)).astype("f4")
    return replace(
        data, train_targets_KNC=each.astype("f4"), train_weights_N=weights / weights.mean()
    )


def run(loss: Loss, source: ModelSource, **more: Any) -> tuple[Any, Recorder]:
    observer = more.pop("observer", None) or Recorder()
    given = {"data": weighed(data_of()), "execution": ONE, **more}
    return fit(recipe_of({"epochs": 3}, loss=loss), source=source, observer=observer, **given), (
        observer
    )


LEARNED = MixtureLoss(lr=0.5, agreed_fraction=0.2)


@pytest.mark.parametrize("loss", [LEARNED, XentLoss(), EvidentialLoss()], ids=repr)
def test_micro_batches_change_no_numbers(loss: Loss, gpt2: ModelSource) -> None:
    whole, whole_seen = run(loss, gpt2)
    split, split_seen = run(
        loss, gpt2, execution=Execution(micro_batch=3, evaluation_batch=5, gpus_per_worker=0)
    )
    np.testing.assert_allclose(split_seen.losses, whole_seen.losses, atol=1e-4)
    np.testing.assert_allclose(
        split.predicted["test"].probabilities, whole.predicted["test"].probabilities, atol=1e-3
    )


def test_resuming_keeps_the_mixtures_weights(gpt2: ModelSource, tmp_path: Path) -> None:
    straight, seen = run(LEARNED, gpt2)
    kept = FolderCheckpoints(tmp_path, every_s=0)
    with pytest.raises(KeyboardInterrupt):
        run(LEARNED, gpt2, checkpoints=kept, observer=Recorder(stop_after=13))
    resumed, rest = run(LEARNED, gpt2, checkpoints=FolderCheckpoints(tmp_path, every_s=0))
    assert rest.losses == seen.losses[-len(rest.losses) :]
    assert len(rest.losses) < len(seen.losses)
    for part, found in straight.predicted.items():
        assert np.array_equal(found.probabilities, resumed.predicted[part].probabilities)


def test_a_row_of_weight_0_teaches_nothing_and_one_of_weight_2_as_much_as_two_rows() -> None:
    logits, labels = logits_BC().requires_grad_(True), torch.tensor(labels_KBC()[0])
    weights = torch.tensor([0.0, 2.0, *([1.0] * (ROWS - 2))])
    loss_sum(XentLoss(), logits, labels, weights, statistic=None, progress=0.0).backward()
    assert logits.grad is not None
    plain = logits.detach().clone().requires_grad_(True)
    loss_sum(XentLoss(), plain, labels, statistic=None, progress=0.0).backward()
    assert plain.grad is not None
    torch.testing.assert_close(logits.grad, plain.grad * weights[:, None])


def labelled() -> LabelledRows:
    each = labels_KBC()
    return LabelledRows(each.mean(0), np.arange(ROWS), lambda: np.zeros((ROWS, 1)), labels_KNC=each)


def test_consensus_keeps_the_rows_on_which_enough_supervisors_agree() -> None:
    rows = labelled()
    assert rows.labels_KNC is not None
    votes = (rows.labels_KNC.argmax(2) == rows.labels_NC.argmax(1)).sum(0)
    for share, least in ((1.0, 3), (2 / 3, 2), (0.3, 1)):
        kept = Consensus(share=share).apply(rows)
        assert kept.rows_N.tolist() == np.flatnonzero(votes >= least).tolist()
        assert kept.labels_KNC is not None
        assert np.array_equal(kept.labels_KNC, rows.labels_KNC[:, kept.rows_N])
    assert 0 < (votes == 3).sum() < ROWS


def test_weights_by_certainty_follow_rows_that_are_dropped() -> None:
    rows = Weights().apply(labelled())
    assert rows.weights_N is not None
    np.testing.assert_allclose(rows.weights_N, np.abs(2 * rows.labels_NC[:, 1] - 1), atol=1e-6)
    kept = rows.keeping(np.arange(ROWS) % 2 == 0)
    assert np.array_equal(kept.weights_N, rows.weights_N[::2])
    twice = Weights().apply(rows)
    np.testing.assert_allclose(twice.weights_N, rows.weights_N**2, atol=1e-6)
    with pytest.raises(ValueError, match="finite and at least 0"):
        rows.weighted(np.full(ROWS, -1.0))


def test_new_labels_are_those_of_no_supervisor() -> None:
    assert labelled().relabelled(np.eye(2)[[0] * ROWS]).labels_KNC is None


ENSEMBLE = {"kind": "ensemble", "seeds": [7]}


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        (
            {"loss": {"kind": "mixture"}},
            "mixture needs several supervisors; add the stage ensemble",
        ),
        (
            {"stages": [{"kind": "consensus"}]},
            "consensus needs several supervisors; add the stage ensemble",
        ),
        (
            {"search": {"loss": {"one_of": [{"kind": "xent"}, {"kind": "mixture"}]}}},
            "mixture needs several supervisors; add the stage ensemble",
        ),
        (
            {"stages": [ENSEMBLE, {"kind": "hard"}, {"kind": "consensus"}]},
            "consensus needs the labels of each supervisor, but hard before it replaces them; "
            "remove hard, or list it later",
        ),
        (
            {"loss": {"kind": "mixture"}, "stages": [ENSEMBLE, {"kind": "temperature"}]},
            "mixture needs the labels of each supervisor, but temperature before it replaces them",
        ),
        (
            {"loss": {"kind": "mixture"}, "stages": [ENSEMBLE, {"kind": "bootstrap"}]},
            "mixture needs several supervisors, but with bootstrap one model labels",
        ),
        ({"loss": {"kind": "symmetric_xent", "forward": 0, "reverse": 0}}, "raise one of them"),
    ],
)
def test_what_lacks_the_labels_that_it_needs_is_refused(declared: Any, line: str) -> None:
    with pytest.raises(ValidationError, match=line):
        Method.model_validate(declared)


def test_what_has_each_supervisors_labels_is_accepted() -> None:
    stages = [ENSEMBLE, {"kind": "confident"}, {"kind": "consensus"}, {"kind": "hard"}]
    assert Method.model_validate({"stages": stages}).stages
    mixed = {"loss": {"kind": "mixture"}, "stages": stages[:3]}
    assert Method.model_validate(mixed).stages
