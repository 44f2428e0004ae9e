"""Choices in the one loop: scores, loss and predictions against NumPy, layouts, learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.learn.tiny import Recorder, inputs_of, recipe_of, source_of
from tests.support import WORDS, make_model
from w2s_ray.config import EarlyStopping, Execution, FullTuning, LoraTuning, ModelSource, Training
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.choices import (
    choice_rows,
    question_text,
    scored_texts,
    tokenize_questions,
    tokenize_scored,
)
from w2s_ray.learn.device_rows import DeviceRows
from w2s_ray.learn.forms.choices import SCORES, ChoiceData, log_probabilities
from w2s_ray.learn.loop import fit
from w2s_ray.learn.models import build_model
from w2s_ray.learn.rows import ChoiceRows
from w2s_ray.learn.torch_engine import TorchEngine

ONE = Execution(gpus_per_worker=0, evaluation_batch=8)
WIDTH = 5
"""Choices of the row that has most."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return source_of(make_model(tmp_path_factory.mktemp("lm") / "m", width=24), "m")


def questions(rows: int, seed: int) -> tuple[list[str], list[list[str]], np.ndarray]:
    """Questions of 2 to 9 words with 2 to 5 choices of 1 to 3; the right one begins with the
    question's last word, and the others with other words.
    """
    rng = np.random.default_rng(seed)
    texts, choices, right = [], [], []
    for _ in range(rows):
        asked = rng.integers(0, 8, rng.integers(2, 10))
        others = rng.permutation([i for i in range(8) if i != asked[-1]])
        firsts = [*others[: rng.integers(1, WIDTH)]]
        place = int(rng.integers(0, len(firsts) + 1))
        firsts.insert(place, asked[-1])
        made = [[first, *rng.integers(20, 40, rng.integers(0, 3))] for first in firsts]
        texts.append(" ".join(WORDS[i] for i in asked))
        choices.append([" ".join(WORDS[i] for i in choice) for choice in made])
        right.append(place)
    return texts, choices, np.eye(WIDTH, dtype=np.float32)[right]


def rows_of(
    texts: list[str], choices: list[list[str]], source: ModelSource, *, limit: int = 32, **set: Any
) -> ChoiceRows:
    training = Training(max_tokens=limit, **set)
    scored = [list(scored_texts(row, training)) for row in choices]
    tokens = tokenize_scored(
        [t for row in scored for t in row], source=source, after_template=False
    )
    ends = np.cumsum([len(row) for row in choices])[:-1]
    read = tokenize_questions(
        [question_text(text, row, training) for text, row in zip(texts, choices, strict=True)],
        [int(lengths.max()) for lengths in np.split(tokens.lengths, ends)],
        source=source,
        max_tokens=limit,
        special=True,
    )
    return choice_rows(read, tokens, choices, training)


def choice_data(source: ModelSource, rows: int = 120, **set: Any) -> ChoiceData:
    def part(count: int, seed: int) -> tuple[ChoiceRows, np.ndarray]:
        texts, choices, labels_NC = questions(count, seed)
        return rows_of(texts, choices, source, **set), labels_NC

    train, validation = part(rows, 1), part(30, 2)
    return ChoiceData(*train, *validation, {"validation": validation[0], "test": part(40, 3)[0]})


def run(recipe: Any, data: Any, source: ModelSource, **more: Any) -> tuple[Any, Recorder]:
    seen = Recorder()
    given = {"execution": ONE, "observer": seen, **more}
    return fit(recipe, data=data, source=source, **given), seen


def log_likelihood(built: Any, read: list[int], learned: list[int]) -> float:
    """Of tokens after others, by the model's own logits and NumPy."""
    with torch.no_grad():
        logits = built.backbone(input_ids=torch.tensor([[*read, *learned]])).logits[0]
    wide = logits.double().numpy()
    log_p = wide - np.log(np.exp(wide - wide.max(1, keepdims=True)).sum(1, keepdims=True))
    log_p -= wide.max(1, keepdims=True)
    return sum(log_p[len(read) + k - 1, token] for k, token in enumerate(learned))


def ids(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


@pytest.mark.parametrize("length", ["characters", "tokens", "none"])
def test_scores_loss_and_predictions_are_those_of_numpy(model: ModelSource, length: str) -> None:
    """acc_norm and acc of the LM Evaluation Harness, and cross-entropy with soft labels."""
    texts, choices, _ = questions(6, 5)
    rows = rows_of(texts, choices, model, choice_length=length)
    built = build_model(model, tuning=FullTuning(), seed=0, form="choices")
    unit = {"characters": len, "tokens": lambda c: len(c.split()), "none": lambda _: 1}[length]
    expected = [
        [log_likelihood(built, ids(text), ids(choice)) / unit(choice) for choice in row]
        for text, row in zip(texts, choices, strict=True)
    ]
    soft = [np.random.default_rng(i).dirichlet(np.ones(len(row))) for i, row in enumerate(choices)]
    labels_NC = np.zeros((6, WIDTH), np.float32)
    losses = []
    for i, (scores, label) in enumerate(zip(expected, soft, strict=True)):
        labels_NC[i, : len(label)] = label
        losses.append(-np.sum(label * (scores - np.log(np.sum(np.exp(scores))))))
    data = ChoiceData(rows, labels_NC, rows, labels_NC, {"test": rows})
    engine = TorchEngine(Training(), source=model, execution=ONE, seed=0, form="choices")
    found = data.predictions(engine, "test", batch=4)
    np.testing.assert_allclose(found[SCORES], np.concatenate(expected), rtol=0, atol=1e-5)
    predicted = data.predicted(found, part="test")
    likeliest = [row[int(np.argmax(s))] for row, s in zip(choices, expected, strict=True)]
    assert predicted.answers == tuple(likeliest)
    assert predicted.distribution is not None
    for p_C, scores in zip(predicted.distribution, expected, strict=True):
        softmax = np.exp(scores) / np.sum(np.exp(scores))
        np.testing.assert_allclose(p_C[: len(scores)], softmax, atol=1e-6)
        assert (p_C[len(scores) :] == 0).all()
    agreement, loss = data.judge(found)
    right = [np.argmax(label) == np.argmax(s) for label, s in zip(soft, expected, strict=True)]
    assert agreement == np.mean(right)
    assert loss == pytest.approx(np.mean(losses), abs=1e-5)
    recipe = recipe_of({"epochs": 1, "batch_size": 6}, form="choices")
    _, seen = run(recipe, data, model)
    assert seen.losses[0] == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("weights", [None, [0.0, 2.5, 1.0, 0.5]], ids=["alike", "weights"])
def test_the_loss_has_the_gradient_of_a_softmax_over_the_rows_own_choices(
    model: ModelSource, weights: list[float] | None
) -> None:
    """Of score j it is P(j) minus the label, times the row's weight, whatever other rows have."""
    texts, choices, labels_NC = questions(4, 9)
    rows = rows_of(texts, choices, model)
    weights_N = None if weights is None else np.array(weights, "f4")
    data = ChoiceData(rows, labels_NC, rows, labels_NC, train_weights_N=weights_N)
    scores: list[torch.Tensor] = []

    class Engine:
        rank, workers, device, model = 0, 1, torch.device("cpu"), type("M", (), {"pad_id": 0})
        device_rows = DeviceRows(device)

        def forward(self, input_ids: torch.Tensor, *_: Any) -> torch.Tensor:
            scores.append(torch.linspace(1, 9, len(input_ids)).requires_grad_())
            return scores[-1]

        def backward(self, loss: torch.Tensor, *, last: bool) -> None:
            loss.backward()

    step = {"engine": Engine(), "loss": recipe_of().loss, "memory": [], "progress": 0.0}
    data.step(np.arange(4), micro_batch=4, **step)  # type: ignore[arg-type]
    (nll,) = scores
    order = np.argsort(rows.lengths, kind="stable")
    values = -nll.detach().numpy() / rows.units[rows.sequences(order)]
    start = 0
    for i in order:
        end = start + len(choices[i])
        p = np.exp(values[start:end]) / np.exp(values[start:end]).sum()
        gradient = (p - labels_NC[i, : len(p)]) / 4 / -rows.units[rows.sequences([i])]
        gradient *= 1 if weights is None else weights[i]
        assert nll.grad is not None
        np.testing.assert_allclose(nll.grad[start:end], gradient, atol=1e-6)
        start = end


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({"lr": 2e-2}, 0.75),
        ({"lr": 2e-2, "precision": "bf16"}, 0.75),
        # Adapters of a base with random weights learn less of it.
        ({"lr": 3e-2, "tuning": LoraTuning(alpha=32)}, 0.5),
    ],
    ids=["full", "bf16", "lora"],
)
def test_a_language_model_learns_choices(model: ModelSource, settings: Any, least: float) -> None:
    settings = {"epochs": 8 if "tuning" in settings else 5, **settings}
    data = choice_data(model)
    result, seen = run(recipe_of(settings, form="choices"), data, model)
    _, choices, labels_NC = questions(40, 3)
    right = [row[i] for row, i in zip(choices, labels_NC.argmax(1), strict=True)]
    found = result.predicted["test"]
    chance = np.mean([1 / len(row) for row in choices])
    exact = np.mean([a == b for a, b in zip(found.answers, right, strict=True)])
    assert chance < 0.4
    assert exact > least, exact
    assert result.validation_agreement > least
    assert np.mean(seen.losses[-5:]) < seen.losses[0] - 0.3


@pytest.mark.parametrize("micro", [1, 3])
def test_layouts_of_a_batch_change_nothing(model: ModelSource, micro: int) -> None:
    recipe, data = recipe_of({"epochs": 1}, form="choices"), choice_data(model, rows=40)
    whole, seen = run(recipe, data, model)
    execution = Execution(gpus_per_worker=0, micro_batch=micro, evaluation_batch=3)
    parts, seen_parts = run(recipe, data, model, execution=execution)
    np.testing.assert_allclose(seen.losses, seen_parts.losses, rtol=0, atol=1e-5)
    for part in ("validation", "test"):
        one, other = whole.predicted[part], parts.predicted[part]
        np.testing.assert_allclose(one.distribution, other.distribution, rtol=0, atol=1e-4)


def test_the_best_evaluation_is_restored_and_a_killed_fit_goes_on(
    model: ModelSource, tmp_path: Any
) -> None:
    stopping = EarlyStopping(patience=2, metric="loss")
    settings = {"epochs": 4, "lr": 3e-2}
    recipe = recipe_of(settings, form="choices", early_stopping=stopping)
    data = choice_data(model, rows=60)
    whole, seen = run(recipe, data, model)
    best = min(seen.evaluations, key=lambda e: e["loss"])
    assert whole.best_step == best["step"]
    assert whole.validation_loss == pytest.approx(best["loss"], abs=1e-6)
    kept = FolderCheckpoints(tmp_path, every_s=0)
    execution = Execution(gpus_per_worker=0, evaluation_batch=8, checkpoint_every_s=0.001)
    more = {"checkpoints": kept, "execution": execution}
    with pytest.raises(KeyboardInterrupt):
        run(recipe, data, model, observer=Recorder(stop_after=6), **more)
    again, seen_again = run(recipe, data, model, **more)
    assert 0 < len(seen_again.losses) < len(seen.losses)
    for part in ("validation", "test"):
        one, other = whole.predicted[part], again.predicted[part]
        assert np.array_equal(one.distribution, other.distribution)


def test_letters_are_listed_below_the_question_and_scored(model: ModelSource) -> None:
    training = Training(choice_scoring="letter")
    text = question_text("Which?", ["one", "two"], training)
    assert text == "Which?\nA. one\nB. two\nAnswer:"
    assert list(scored_texts(["one", "two"], training)) == ["A", "B"]
    other = training.model_copy(update={"choice_cue": "So it is"})
    assert question_text("Which?", ["one"], other).endswith("\nSo it is")
    plain = Training(choice_cue="Answer:")
    assert question_text("Which?", ["one"], plain) == "Which?\nAnswer:"
    assert question_text("Which?", ["one"], Training()) == "Which?"
    rows = rows_of(["w1"], [["w2 w3", "w4"]], model, choice_scoring="letter")
    assert rows.units.tolist() == [1, 1]
    assert rows.spans.learned.tolist() == [1, 1]
    with pytest.raises(ValueError, match="a row has 27 choices; set it to text"):
        scored_texts([f"{i}" for i in range(27)], training)


def test_a_question_is_truncated_alike_for_all_of_its_choices(model: ModelSource) -> None:
    """From the left, by the longest choice, so that scores differ by the choice alone."""
    text = " ".join(WORDS[:20])
    rows = rows_of([text, "w1"], [["w30", "w31 w32 w33"], ["w2", "w3"]], model, limit=10)
    read = [rows.spans.tokens.row(i)[: rows.spans.starts[i]].tolist() for i in range(4)]
    assert read == [list(range(13, 20)), list(range(13, 20)), [1], [1]]
    assert rows.lengths.tolist() == [8 + 10, 2 + 2]
    with pytest.raises(ValueError, match=r"max_tokens is 10, but a choice has 10 tokens .*raise"):
        rows_of([text], [["w1", " ".join(WORDS[:10])]], model, limit=10)


def test_rows_are_taken_with_all_of_their_sequences(model: ModelSource) -> None:
    texts, choices, _ = questions(7, 4)
    rows = rows_of(texts, choices, model)
    picked = [4, 0, 4, 6]
    taken = rows.take(picked)
    alone = rows_of([texts[i] for i in picked], [choices[i] for i in picked], model)
    assert taken.choices == alone.choices
    assert np.array_equal(taken.spans.tokens.values, alone.spans.tokens.values)
    assert np.array_equal(taken.units, alone.units)
    assert torch.equal(inputs_of(rows, picked)[0], inputs_of(alone, range(4))[0])
    assert np.array_equal(rows.lengths[picked], alone.lengths)
    assert rows.places(picked).tolist() == [i for n in picked for i in range(len(choices[n]))]


def test_log_probabilities_stand_large_scores(model: ModelSource) -> None:
    rows = rows_of(["w1", "w2"], [["w3", "w4"], ["w5", "w6", "w7"]], model)
    log_MC = log_probabilities(rows, np.array([-800.0, -900.0, 0.0, 0.0, -1e4], np.float32))
    assert np.isfinite(log_MC[:, :2]).all()
    np.testing.assert_allclose(log_MC[0, :2], [0, -100], atol=1e-9)
    np.testing.assert_allclose(np.exp(log_MC[1]), [0.5, 0.5, 0], atol=1e-9)
    assert np.exp(log_MC[0, 2]) == 0


def test_labels_of_another_width_are_refused(model: ModelSource) -> None:
    texts, choices, labels_NC = questions(12, 1)
    rows = rows_of(texts, choices, model)
    with pytest.raises(ValueError, match=r"train has 12 rows of up to 5 choices, but labels of"):
        ChoiceData(rows, labels_NC[:, :2], rows, labels_NC)


def test_an_encoder_is_refused(bert: ModelSource) -> None:
    with pytest.raises(ValueError, match="rows of the form choices need a causal language model"):
        build_model(bert, tuning=FullTuning(), seed=0, form="choices")
