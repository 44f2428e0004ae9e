"""Policies on pairs: implicit rewards against NumPy and TRL's formula, and the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.learn.tiny import Recorder, inputs_of, recipe_of, source_of
from tests.support import WORDS, make_model
from w2s_ray.config import (
    Execution,
    LastLayersTuning,
    LoraTuning,
    ModelSource,
    Policy,
    Training,
    XentLoss,
)
from w2s_ray.learn.engine import model_inputs
from w2s_ray.learn.forms.policies import PolicyData, reference
from w2s_ray.learn.loop import fit
from w2s_ray.learn.policies import pair_spans, tokenize_pairs
from w2s_ray.learn.rows import PolicyRows, SpanRows
from w2s_ray.learn.tokens import TokenRows
from w2s_ray.learn.torch_engine import TorchEngine
from w2s_ray.methods.transforms.hard import Hard
from w2s_ray.methods.transforms.transform import LabelledRows
from w2s_ray.methods.transforms.weights import Weights

ONE = Execution(gpus_per_worker=0, evaluation_batch=8)
POLICY = {"pair_model": Policy(beta=0.5)}
END = 62
"""The token that ends a text."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return source_of(make_model(tmp_path_factory.mktemp("policy") / "m", eos=True), "m")


def texts(rows: int, seed: int) -> tuple[list[str], list[str], np.ndarray]:
    """Pairs after a common word; class 1 where the first has more of the words below 20."""
    rng = np.random.default_rng(seed)
    sides: tuple[list[str], list[str]] = ([], [])
    shares = rng.random((rows, 2))
    for i in range(rows):
        common = WORDS[rng.integers(40, 60)]
        for side, share in zip(sides, shares[i], strict=True):
            size = rng.integers(3, 9)
            low = rng.random(size) < share
            words = np.where(low, rng.integers(0, 20, size), rng.integers(20, 40, size))
            side.append(" ".join([common, *(WORDS[w] for w in words)]))
    share = [[np.mean([int(w[1:]) < 20 for w in t.split()[1:]]) for t in side] for side in sides]
    return *sides, np.eye(2, dtype=np.float32)[np.greater(*share).astype(int)]


def spans_of(first: list[str], second: list[str], source: ModelSource, limit: int = 64) -> SpanRows:
    return pair_spans(tokenize_pairs(first, second, source=source, max_tokens=limit, special=True))


def rows_of(spans: SpanRows, source: ModelSource) -> PolicyRows:
    ((_, found),) = reference({"x": spans}, source=source, training=Training(), execution=ONE)
    first_N, second_N = found.values_ND.T
    return PolicyRows(spans, first_N - second_N)


def policy_data(source: ModelSource, rows: int = 96, beta: float = 0.5) -> PolicyData:
    def part(count: int, seed: int) -> tuple[PolicyRows, np.ndarray]:
        first, second, labels_NC = texts(count, seed)
        return rows_of(spans_of(first, second, source), source), labels_NC

    train, validation = part(rows, 1), part(24, 2)
    return PolicyData(*train, *validation, {"test": part(40, 3)[0]}, beta=beta)


def run(recipe: Any, data: Any, source: ModelSource, **more: Any) -> tuple[Any, Recorder]:
    seen = Recorder()
    return fit(recipe, data=data, source=source, observer=seen, **{"execution": ONE, **more}), seen


def engine_of(source: ModelSource, *, moved: float = 0.0) -> TorchEngine:
    """The model at `source`, and with `moved` another policy near it."""
    engine = TorchEngine(Training(), source=source, execution=ONE, seed=0, form="policies")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in engine.model.parameters():
            parameter.add_(moved * torch.randn_like(parameter))
    return engine


def log_p(engine: TorchEngine, text: str) -> torch.Tensor:
    """Of the tokens after a text's first, with its end; one text alone, by the model's logits."""
    ids = torch.tensor([[*(WORDS.index(word) for word in text.split()), END]])
    logits = engine.model.backbone(input_ids=ids).logits[0].double()
    return logits.log_softmax(1)[torch.arange(ids.shape[1] - 1), ids[0, 1:]].sum()


def logits_of(engine: TorchEngine, data: PolicyData, rows: PolicyRows) -> np.ndarray:
    with torch.no_grad():
        return data.logits(engine, model_inputs(rows, np.arange(len(rows)), engine)).numpy()


def test_logits_are_differences_of_implicit_rewards(model: ModelSource) -> None:
    first, second, labels_NC = texts(7, 5)
    moved, frozen = engine_of(model, moved=0.05), engine_of(model)
    with torch.no_grad():
        ratios = np.array(
            [
                [(log_p(moved, t) - log_p(frozen, t)).item() for t in pair]
                for pair in zip(first, second, strict=True)
            ]
        )
        kept = np.array([[log_p(frozen, t).item() for t in side] for side in (first, second)])
    rows = rows_of(spans_of(first, second, model), model)
    np.testing.assert_allclose(rows.reference_N, kept[0] - kept[1], atol=1e-4)
    margin = ratios[:, 0] - ratios[:, 1]
    assert np.abs(margin).max() > 0.3
    for beta in (0.05, 0.5, 50.0):
        data = PolicyData(rows, labels_NC, rows, labels_NC, {"test": rows}, beta=beta)
        found = logits_of(moved, data, rows)
        assert (found[:, 0] == 0).all()
        np.testing.assert_allclose(found[:, 1], beta * margin, atol=2e-4 * beta)
        predicted = data.predicted(data.predictions(moved, "test", batch=2), part="test")
        np.testing.assert_allclose(
            predicted.probabilities, 1 / (1 + np.exp(-beta * margin)), atol=1e-4 * max(1, beta)
        )
        again = data.predicted(data.predictions(frozen, "test", batch=3), part="test")
        np.testing.assert_allclose(again.probabilities, 0.5, atol=1e-5 * max(1, beta))


def dpo(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    ref_chosen: torch.Tensor,
    ref_rejected: torch.Tensor,
    *,
    beta: float,
    label_smoothing: float,
) -> torch.Tensor:
    """The sigmoid loss of TRL's DPOTrainer.dpo_loss, which is conservative DPO with smoothing."""
    logits = (policy_chosen - policy_rejected) - (ref_chosen - ref_rejected)
    return (
        -F.logsigmoid(beta * logits) * (1 - label_smoothing)
        - F.logsigmoid(-beta * logits) * label_smoothing
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("micro", [1, 2, 6])
def test_cross_entropy_is_dpo_and_with_soft_labels_conservative_dpo(
    model: ModelSource, micro: int, smoothing: float
) -> None:
    """Loss and gradient, in batches of any layout."""
    first, second, labels_NC = texts(6, 6)
    moved, frozen, beta = engine_of(model, moved=0.05), engine_of(model), 0.7
    losses = []
    for one, other, better in zip(first, second, labels_NC[:, 1] > 0.5, strict=True):
        chosen, rejected = (one, other) if better else (other, one)
        with torch.no_grad():
            constants = log_p(frozen, chosen), log_p(frozen, rejected)
        trained = log_p(moved, chosen), log_p(moved, rejected)
        losses.append(dpo(*trained, *constants, beta=beta, label_smoothing=smoothing))
    expected = torch.stack(losses).mean()
    expected.backward()
    gradients = {n: p.grad.clone() for n, p in moved.model.named_parameters() if p.grad is not None}
    rows = rows_of(spans_of(first, second, model), model)
    soft = (labels_NC * (1 - 2 * smoothing) + smoothing).astype(np.float32)
    data = PolicyData(rows, soft, rows, soft, beta=beta)
    moved.model.zero_grad()
    given = {"loss": XentLoss(), "memory": [], "progress": 0.0, "micro_batch": micro}
    total = data.step(np.arange(6), engine=moved, **given)
    assert total.item() == pytest.approx(expected.item(), abs=1e-5)
    assert gradients
    for name, parameter in moved.model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5)


def test_weights_by_certainty_and_hard_labels_are_cw_po(model: ModelSource) -> None:
    """The sum of C times the DPO loss over the sum of C, where a batch has all rows."""
    first, second, _ = texts(6, 10)
    weak = np.random.default_rng(0).random(6)
    soft_NC = np.stack([1 - weak, weak], axis=1).astype(np.float32)
    rows = LabelledRows(soft_NC, np.arange(6), lambda: np.zeros((6, 1)))
    made = Hard().apply(Weights().apply(rows))
    assert made.weights_N is not None
    moved, frozen, beta = engine_of(model, moved=0.05), engine_of(model), 0.7
    losses, certainty = [], np.abs(2 * weak - 1)
    with torch.no_grad():
        for one, other, p in zip(first, second, weak, strict=True):
            chosen, rejected = (one, other) if p > 0.5 else (other, one)
            given = [log_p(engine, t) for engine in (moved, frozen) for t in (chosen, rejected)]
            losses.append(dpo(*given, beta=beta, label_smoothing=0.0).item())
    pairs, labels_NC = rows_of(spans_of(first, second, model), model), made.labels_NC
    weights_N = (made.weights_N / made.weights_N.mean()).astype(np.float32)
    data = PolicyData(pairs, labels_NC, pairs, labels_NC, train_weights_N=weights_N, beta=beta)
    given = {"loss": XentLoss(), "memory": [], "progress": 0.0, "micro_batch": 4}
    total = data.step(np.arange(6), engine=moved, **given)
    assert total.item() == pytest.approx(np.dot(certainty, losses) / certainty.sum(), abs=1e-5)


def test_at_its_limits_beta_gives_half_and_the_hinge(model: ModelSource) -> None:
    first, second, labels_NC = texts(8, 7)
    moved, rows = engine_of(model, moved=0.05), rows_of(spans_of(first, second, model), model)
    margin = logits_of(moved, PolicyData(rows, labels_NC, rows, labels_NC, beta=1.0), rows)[:, 1]
    toward = margin * (2 * labels_NC[:, 1] - 1)
    assert (toward < 0).any()
    for beta, expected in (
        (1e-6, np.full(8, np.log(2))),
        (1e6, 1e6 * np.maximum(0, -toward)),
    ):
        data = PolicyData(rows, labels_NC, rows, labels_NC, beta=beta)
        _, loss = data.judge(data.predictions(moved, "validation", batch=8))
        assert loss == pytest.approx(expected.mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({}, 0.1),
        ({"precision": "bf16"}, 0.1),
        # Adapters and last layers of a base with random weights learn less.
        ({"epochs": 8, "lr": 3e-2, "tuning": LoraTuning(alpha=32)}, 0.64),
        ({"tuning": LastLayersTuning(layers=1)}, 0.6),
    ],
    ids=["full", "bf16", "lora", "last_layers"],
)
def test_a_policy_learns_pairs_from_ln_2_on(
    model: ModelSource, settings: dict[str, Any], most: float
) -> None:
    recipe = recipe_of({"epochs": 6, "lr": 2e-2, **settings, **POLICY}, form="pairs")
    result, seen = run(recipe, policy_data(model), model)
    rounding = 1e-3 if recipe.training.precision == "bf16" else 1e-5
    assert seen.losses[0] == pytest.approx(np.log(2), abs=rounding)
    assert np.mean(seen.losses[-5:]) < most
    if recipe.training.tuning.kind == "full":
        label = texts(40, 3)[2][:, 1]
        assert np.mean((result.predicted["test"].probabilities > 0.5) == (label == 1)) > 0.8


@pytest.mark.parametrize("loss", ["confidence", "weighted_xent", "kl"])
def test_losses_of_two_classes_take_policies_in_any_layout(model: ModelSource, loss: str) -> None:
    recipe = recipe_of({"epochs": 1, **POLICY}, form="pairs", loss={"kind": loss})
    data, found = policy_data(model, rows=20), []
    for micro in (1, 3, 8):
        execution = ONE.model_copy(update={"micro_batch": micro})
        found.append(run(recipe, data, model, execution=execution)[0])
    for other in found[1:]:
        assert other.train_loss == pytest.approx(found[0].train_loss, abs=1e-4)
        np.testing.assert_allclose(
            other.predicted["test"].probabilities,
            found[0].predicted["test"].probabilities,
            atol=1e-3,
        )


def test_the_weights_left_are_the_policy(model: ModelSource, tmp_path: Any) -> None:
    """Their log-probabilities and the reference's give its predictions again."""
    data = policy_data(model)
    execution = ONE.model_copy(update={"keep": "last"})
    recipe = recipe_of({"epochs": 2, **POLICY}, form="pairs")
    result, _ = run(recipe, data, model, execution=execution, weights=tmp_path / "kept")
    test = data.predict["test"]
    assert isinstance(test, PolicyRows)
    kept = rows_of(test.spans, source_of(tmp_path / "kept", "kept"))
    margin = data.beta * (kept.reference_N - test.reference_N)
    np.testing.assert_allclose(
        result.predicted["test"].probabilities, 1 / (1 + np.exp(-margin)), atol=1e-4
    )


def test_tokens_that_both_texts_begin_with_change_nothing(model: ModelSource) -> None:
    first, second, labels_NC = texts(5, 8)
    prompt = "w41 w42 w43"
    spans = spans_of([f"{prompt} {t}" for t in first], [f"{prompt} {t}" for t in second], model)
    assert (spans.starts >= 4).all()
    counted = SpanRows(spans.tokens, np.ones_like(spans.starts))
    moved, found = engine_of(model, moved=0.05), []
    for each in (spans, counted):
        rows = rows_of(each, model)
        found.append(logits_of(moved, PolicyData(rows, labels_NC, rows, labels_NC), rows))
    np.testing.assert_allclose(*found, atol=1e-5)


def tokens_of(first: str, second: str, source: ModelSource, limit: int) -> list[list[int]]:
    found = tokenize_pairs([first], [second], source=source, max_tokens=limit, special=True)
    assert isinstance(found, TokenRows)
    return [found.row(i).tolist() for i in range(3)]


@pytest.mark.parametrize(
    ("first", "second", "limit", "expected"),
    [
        ("w1 w2 w3", "w1 w2 w4 w5", 9, [[1, 2], [3, END], [4, 5, END]]),
        ("w3", "w4", 9, [[END], [3, END], [4, END]]),  # nothing in common: the empty text
        ("w1 w2", "w1 w2 w3", 9, [[1, 2], [END], [3, END]]),
        ("w1 w2 w3", "w1 w2 w4 w5", 4, [[2], [3, END], [4, 5, END]]),  # alike for both
        ("w1 w2 w3", "w1 w2 w4 w5", 3, [[2], [3, END], [4, 5]]),  # then a text loses its end
    ],
)
def test_where_two_texts_part_and_what_is_truncated(
    model: ModelSource, first: str, second: str, limit: int, expected: list[list[int]]
) -> None:
    assert tokens_of(first, second, model, limit) == expected
    swapped = tokens_of(second, first, model, limit)
    assert swapped == [expected[0], expected[2], expected[1]]


def test_without_an_end_a_text_that_begins_another_is_still_scored(tmp_path: Any) -> None:
    source = source_of(make_model(tmp_path / "m"), "m")
    assert tokens_of("w1 w2", "w1 w2 w3", source, 9) == [[1], [2], [2, 3]]


def test_rows_are_taken_with_both_of_their_texts(model: ModelSource) -> None:
    first, second, _ = texts(5, 9)
    rows = rows_of(spans_of(first, second, model), model)
    alone = rows.take([4, 1])
    assert alone.lengths.tolist() == rows.lengths[[4, 1]].tolist()
    for ours, theirs in zip(inputs_of(alone, [0, 1]), inputs_of(rows, [4, 1]), strict=True):
        assert torch.equal(ours, theirs)
    assert alone.learned([0, 1]) == rows.learned([4, 1])
    assert alone.reference_N.tolist() == rows.reference_N[[4, 1]].tolist()


def test_a_reference_of_other_rows_and_an_encoder_are_refused(
    model: ModelSource, bert: ModelSource
) -> None:
    spans = spans_of(*texts(3, 1)[:2], model)
    with pytest.raises(ValueError, match="2 pairs have 6 texts"):
        PolicyRows(spans, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"encoder \(bert\), .*need a causal language model"):
        TorchEngine(Training(), source=bert, execution=ONE, seed=0, form="policies")
