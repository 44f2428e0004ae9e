"""Pairs, answers and running text in the one loop: heads, losses, completions, weights left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.learn.tiny import Recorder, category_data, inputs_of, recipe_of, source_of
from tests.support import WORDS, make_model
from w2s_ray.config import EarlyStopping, Execution, FullTuning, LoraTuning, ModelSource, Training
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.forms.answers import NONE, AnswerData, completions
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.forms.language import LanguageModel
from w2s_ray.learn.forms.text import TextData
from w2s_ray.learn.loop import fit
from w2s_ray.learn.models import build_model
from w2s_ray.learn.rows import PairRows, SpanRows
from w2s_ray.learn.tokens import (
    TokenRows,
    detokenize,
    stop_token,
    tokenize,
    tokenize_answers,
    tokenize_text,
)
from w2s_ray.learn.torch_engine import TorchEngine

ONE = Execution(gpus_per_worker=0, evaluation_batch=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """A model whose token 0 is a word, and whose padding has an id of its own."""
    return source_of(make_model(tmp_path_factory.mktemp("lm") / "m", eos=True), "m")


def words(*ids: int) -> str:
    return " ".join(WORDS[i] for i in ids)


def pairs(rows: int, seed: int) -> tuple[PairRows, np.ndarray]:
    """Class 1 where the first text has the larger share of tokens below 20."""
    rng = np.random.default_rng(seed)
    texts = [
        [
            np.where(rng.random(n) < share, rng.integers(0, 20, n), rng.integers(20, 40, n))
            for n, share in zip(rng.integers(3, 12, rows), rng.random(rows), strict=True)
        ]
        for _ in range(2)
    ]
    share = [np.array([np.mean(t < 20) for t in side]) for side in texts]
    label = (share[0] > share[1]).astype(np.int64)
    return PairRows(*(TokenRows.of(side) for side in texts)), np.eye(2, dtype=np.float32)[label]


def pair_data() -> ClassData:
    train, targets = pairs(96, 1)
    validation, validation_targets = pairs(24, 2)
    return ClassData(train, targets, validation, validation_targets, {"test": pairs(40, 3)[0]})


def run(recipe: Any, data: Any, source: ModelSource, **more: Any) -> Any:
    seen = Recorder()
    given = {"execution": ONE, "observer": seen, **more}
    return fit(recipe, data=data, source=source, **given), seen


# --- pairs


def test_a_reward_model_learns_pairs(model: ModelSource) -> None:
    recipe = recipe_of({"epochs": 8, "lr": 1e-2}, form="pairs")
    result, seen = run(recipe, pair_data(), model)
    assert seen.losses[0] == pytest.approx(np.log(2), abs=1e-6)
    label = pairs(40, 3)[1][:, 1]
    assert np.mean((result.predicted["test"].probabilities > 0.5) == (label == 1)) > 0.8


@pytest.mark.parametrize("loss", ["xent", "confidence", "confidence_reference", "product"])
def test_every_two_class_loss_takes_pairs(model: ModelSource, loss: str) -> None:
    recipe = recipe_of({"epochs": 1}, form="pairs", loss={"kind": loss})
    result, _ = run(recipe, pair_data(), model)
    assert np.isfinite(result.train_loss)


def trained_rewards(model: ModelSource) -> Any:
    built = build_model(model, tuning=FullTuning(), seed=0, form="pairs")
    torch.nn.init.normal_(built.head.weight)
    return built


def test_swapping_the_two_texts_flips_the_prediction_exactly(model: ModelSource) -> None:
    built, rows = trained_rewards(model), pairs(16, 4)[0]
    swapped = PairRows(rows.second, rows.first)
    with torch.no_grad():
        one, other = (built(*inputs_of(r, np.arange(16), built.pad_id)) for r in (rows, swapped))
    assert torch.equal(one[:, 1], -other[:, 1])
    assert torch.equal(one[:, 0], torch.zeros(16))
    assert len(set(one[:, 1].tolist())) > 8


def test_a_pairs_number_is_that_of_each_text_alone(model: ModelSource) -> None:
    built, rows = trained_rewards(model), pairs(6, 5)[0]
    with torch.no_grad():
        logits = built(*inputs_of(rows, np.arange(6), built.pad_id))
        alone = [
            built.head(built.pooled(*inputs_of(side, [i])))
            for i in range(6)
            for side in (rows.first, rows.second)
        ]
    expected = torch.stack([alone[2 * i] - alone[2 * i + 1] for i in range(6)]).flatten()
    torch.testing.assert_close(logits[:, 1], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("form", "data"), [("pairs", pair_data), ("categories", category_data)])
def test_layouts_of_a_batch_change_nothing(model: ModelSource, form: str, data: Any) -> None:
    found = []
    for micro in (8, 3):
        execution = Execution(gpus_per_worker=0, micro_batch=micro)
        recipe = recipe_of(form=form, loss={"kind": "confidence"})
        found.append(run(recipe, data(), model, execution=execution)[0])
    np.testing.assert_allclose(
        *(r.predicted["test"].probabilities for r in found), rtol=0, atol=1e-4
    )


# --- answers


def prompts(rows: int, seed: int) -> tuple[list[str], list[str]]:
    """The answer repeats the prompt's last word, twice where that is below 5."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, 12, rng.integers(2, 9)) for _ in range(rows)]
    return [words(*row) for row in ids], [words(*([row[-1]] * (1 + (row[-1] < 5)))) for row in ids]


def answer_data(source: ModelSource, rows: int = 200, **changed: Any) -> AnswerData:
    def spans(texts: list[str], answers: list[str]) -> SpanRows:
        targets = tokenize_answers(answers, source=source, most=4)
        inputs = tokenize(texts, source=source, max_tokens=32, less=4)
        return SpanRows.of(zip((inputs.row(i) for i in range(len(inputs))), targets, strict=True))

    train, (inputs, right), test = prompts(rows, 1), prompts(30, 2), prompts(30, 3)
    held = {"validation": inputs, "test": test[0]}
    given = {
        "train": spans(*train),
        "validation": spans(inputs, right),
        "validation_answers": tuple(right),
        "predict": {p: tokenize(t, source=source, max_tokens=32, less=4) for p, t in held.items()},
        "texts": lambda made: detokenize((row[row >= 0] for row in made), source=source),
        "stop_id": stop_token(source),
        "most": 4,
    }
    return AnswerData(**{**given, **changed})


def test_a_language_model_learns_answers(model: ModelSource) -> None:
    recipe = recipe_of({"epochs": 25, "lr": 2e-2, "batch_size": 16}, form="answers")
    result, seen = run(recipe, answer_data(model), model)
    right = prompts(30, 3)[1]
    exact = np.mean([a == b for a, b in zip(result.predicted["test"].answers, right, strict=True)])
    assert exact > 0.4
    last = seen.evaluations[-1]["predicted"].answers
    wanted = prompts(30, 2)[1]
    assert result.validation_agreement == np.mean([a == b for a, b in zip(last, wanted)])  # noqa: B905
    p = result.predicted["test"].probabilities
    assert ((p > 0) & (p <= 1)).all()


def language_model(source: ModelSource) -> LanguageModel:
    built = build_model(source, tuning=FullTuning(), seed=0, form="answers")
    assert isinstance(built, LanguageModel)
    return built


def test_the_loss_is_of_the_answers_tokens_alone(model: ModelSource) -> None:
    """Against log-softmax by hand; and what the prompt's tokens would have been plays no part."""
    built = language_model(model)
    rows = SpanRows.of([([3, 4, 5], [6, 7]), ([8, 0], [0])])
    ids, lengths, starts = inputs_of(rows, [0, 1], built.pad_id)
    nll = built(ids, lengths, starts)
    for i, (read, targets) in enumerate([([3, 4, 5], [6, 7]), ([8, 0], [0])]):
        logits = built.backbone(input_ids=torch.tensor([read + targets])).logits[0]
        log_p = torch.log_softmax(logits.float(), dim=-1)
        expected = -sum(log_p[len(read) + k - 1, token] for k, token in enumerate(targets))
        torch.testing.assert_close(nll[i], expected, rtol=0, atol=1e-5)
    assert built.parts is not None
    hidden = built.parts.hidden(ids)
    hidden.retain_grad()
    built.parts.decoder.forward = lambda **_: (hidden,)
    built(ids, lengths, starts).sum().backward()
    assert hidden.grad is not None
    touched = hidden.grad.abs().sum(-1) > 0
    assert touched.tolist() == [[False, False, True, True, False], [False, True] + [False] * 3]


def test_token_0_is_a_word_like_any_other(model: ModelSource) -> None:
    """Padding is known by its place: rows of zeros have the loss and completion that they have."""
    built = language_model(model)
    assert detokenize([np.array([0])], source=model) == (WORDS[0],)
    rows = SpanRows.of([([0, 0], [0, 0, 0]), ([0], [5]), ([1, 2, 3, 4, 0, 0], [0])])
    together = built(*inputs_of(rows, [0, 1, 2]))
    alone = torch.cat([built(*inputs_of(rows, [i])) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def engine_of(source: ModelSource) -> TorchEngine:
    return TorchEngine(Training(), source=source, execution=ONE, seed=0, form="answers")


def one_by_one(built: LanguageModel, prompt: np.ndarray, *, most: int, stop: int) -> list[int]:
    """Greedy decoding without a cache, a batch or a library."""
    ids = prompt.tolist()
    for _ in range(most):
        with torch.no_grad():
            logits = built.backbone(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == stop:
            return ids[len(prompt) : -1]
    return ids[len(prompt) :]


def test_completions_in_batches_are_those_of_one_by_one(model: ModelSource) -> None:
    recipe = recipe_of({"epochs": 6, "lr": 2e-2, "batch_size": 16}, form="answers")
    engine = engine_of(model)
    kept: list[TorchEngine] = []

    def keep(*_: Any, **__: Any) -> TorchEngine:
        kept.append(engine)
        return engine

    run(recipe, answer_data(model), model, engine=keep)
    stop = stop_token(model)
    assert stop is not None
    rows = tokenize([*prompts(40, 9)[0], words(0, 0, 0)], source=model, max_tokens=32)
    made = completions(engine, rows, most=6, stop_id=stop, batch=16)
    expected = [one_by_one(engine.model, rows.row(i), most=6, stop=stop) for i in range(len(rows))]
    assert [row[row != NONE].tolist() for row in made] == expected
    assert len({tuple(row) for row in expected}) > 5
    assert {len(row) for row in expected} > {1}
    assert np.array_equal(made, completions(engine, rows, most=6, stop_id=stop, batch=1))


def test_weak_answers_stop_a_student_early(model: ModelSource) -> None:
    """What is looked at is agreement with the labels of validation, and the best is restored."""
    noise = tuple(words(50 + i % 3) for i in range(30))
    stopping = EarlyStopping(patience=1, metric="accuracy")
    recipe = recipe_of(
        {"epochs": 6, "batch_size": 16, "lr": 2e-2}, form="answers", early_stopping=stopping
    )
    stopped, seen = run(recipe, answer_data(model, validation_answers=noise), model)
    assert stopped.stopped_early
    assert stopped.validation_agreement == 0.0
    best = seen.evaluations[0]["predicted"]
    assert stopped.best_step == seen.evaluations[0]["step"]
    assert stopped.predicted["validation"].answers == best.answers


def test_a_killed_fit_of_answers_goes_on(model: ModelSource, tmp_path: Path) -> None:
    recipe = recipe_of({"epochs": 3, "batch_size": 16}, form="answers")
    whole, _ = run(recipe, answer_data(model), model)
    folder = FolderCheckpoints(tmp_path, every_s=0)
    execution = Execution(gpus_per_worker=0, evaluation_batch=8, checkpoint_every_s=0.001)
    with pytest.raises(KeyboardInterrupt):
        run(
            recipe,
            answer_data(model),
            model,
            checkpoints=folder,
            execution=execution,
            observer=Recorder(stop_after=20),
        )
    again, seen = run(recipe, answer_data(model), model, checkpoints=folder, execution=execution)
    assert 0 < len(seen.losses) < whole.steps
    assert again.predicted["test"].answers == whole.predicted["test"].answers
    assert again.train_loss == whole.train_loss


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    endless = source_of(make_model(tmp_path / "m"), "endless")
    with pytest.raises(ValueError, match="endless has no end-of-text token to end an answer with"):
        tokenize_answers(["w1"], source=endless, most=4)


def test_an_encoder_is_refused_for_generation(bert: ModelSource) -> None:
    with pytest.raises(ValueError, match="rows of the form answers need a causal language model"):
        build_model(bert, tuning=FullTuning(), seed=0, form="answers")


# --- running text


def text_data(source: ModelSource) -> TextData:
    rng = np.random.default_rng(0)
    texts = [words(*((k + np.arange(rng.integers(4, 30))) % 30)) for k in rng.integers(0, 30, 80)]

    def spans(some: list[str]) -> SpanRows:
        pieces = tokenize_text(some, source=source, max_tokens=12)
        return SpanRows.of((piece[:1], piece[1:]) for piece in pieces)

    return TextData(spans(texts[:60]), spans(texts[60:70]), {"test": spans(texts[70:])})


def test_every_token_of_a_text_but_its_first_is_learned_once(model: ModelSource) -> None:
    text = words(*range(30))
    pieces = tokenize_text([text, words(3)], source=model, max_tokens=8)
    learned = [token for piece in pieces for token in piece[1:]]
    stop = stop_token(model)
    assert learned == [*range(1, 30), stop, stop]
    assert max(map(len, pieces)) == 8


@pytest.mark.parametrize("tuning", [FullTuning(), LoraTuning()], ids=["full", "lora"])
def test_language_modelling_keeps_weights_that_other_fits_start_from(
    model: ModelSource, tmp_path: Path, tuning: Any
) -> None:
    recipe = recipe_of(
        {"epochs": 4, "lr": 1e-2, "tuning": tuning}, form="text", labels="none", checkpoints=(5,)
    )
    result, seen = run(recipe, text_data(model), model, weights=tmp_path / "w")
    assert result.predicted == {}
    assert result.validation_agreement is None
    assert result.losses["test"] < seen.losses[0] - (0.5 if tuning.kind == "full" else 0)
    for folder in (tmp_path / "w", tmp_path / "w" / "step-5"):
        left = source_of(folder, "left")
        assert tokenize([words(3, 4)], source=left, max_tokens=8).row(0).tolist() == [3, 4]
        build_model(left, tuning=FullTuning(), seed=0)
    again = recipe_of({"epochs": 1, "lr": 1e-9}, form="text", labels="none")
    kept, _ = run(
        again, text_data(model), source_of(tmp_path / "w", "left"), weights=tmp_path / "x"
    )
    assert kept.losses["test"] == pytest.approx(result.losses["test"], abs=1e-4)


def test_text_stops_by_loss_alone(model: ModelSource, tmp_path: Path) -> None:
    wrong = recipe_of(form="text", labels="none", early_stopping=EarlyStopping())
    with pytest.raises(ValueError, match="text has no labels; say loss"):
        run(wrong, text_data(model), model, weights=tmp_path / "w")


def test_weights_of_checkpoints_survive_a_kill(model: ModelSource, tmp_path: Path) -> None:
    recipe = recipe_of({"epochs": 3}, form="text", labels="none", checkpoints=(2, 20))
    folder = FolderCheckpoints(tmp_path / "c", every_s=0)
    execution = Execution(gpus_per_worker=0, checkpoint_every_s=0.001)
    with pytest.raises(KeyboardInterrupt):
        run(
            recipe,
            text_data(model),
            model,
            checkpoints=folder,
            execution=execution,
            weights=tmp_path / "a",
            observer=Recorder(stop_after=18),
        )
    run(
        recipe,
        text_data(model),
        model,
        checkpoints=folder,
        execution=execution,
        weights=tmp_path / "b",
    )
    assert {p.name for p in (tmp_path / "b").iterdir() if p.is_dir()} == {"step-2", "step-20"}
