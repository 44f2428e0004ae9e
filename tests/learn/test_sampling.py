"""Sampled completions: their distribution, their independence of layouts, and the vote."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from tests.learn.test_forms import ONE, answer_data, engine_of, prompts, run, words
from tests.learn.tiny import recipe_of, source_of
from tests.support import make_model
from w2s_ray.config import Completions, ModelSource
from w2s_ray.learn.forms.answers import NONE, completions
from w2s_ray.learn.sampling import Draws, drawn_tokens, vote
from w2s_ray.learn.tokens import stop_token, tokenize


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return source_of(make_model(tmp_path_factory.mktemp("lm") / "m", eos=True), "m")


def test_a_token_is_the_inverse_of_the_cumulative_distribution() -> None:
    rng = np.random.default_rng(0)
    scores, numbers = rng.normal(size=(200, 7)), rng.random(200)
    scores[:, 3] = -np.inf
    for temperature in (0.5, 1.0, 3.0):
        p = np.exp(scores / temperature)
        cumulative = np.cumsum(p / p.sum(axis=1, keepdims=True), axis=1)
        expected = (cumulative <= numbers[:, None]).sum(axis=1)
        made = drawn_tokens(
            torch.from_numpy(scores), torch.from_numpy(numbers)[:, None], temperature=temperature
        )
        assert made[:, 0].tolist() == expected.tolist()
    assert len(set(expected.tolist())) == 6


@pytest.mark.parametrize("temperature", [1e-3, 1e-300])
def test_near_temperature_0_the_most_probable_token_is_drawn(temperature: float) -> None:
    scores = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 9)))
    numbers = torch.rand((50, 1), dtype=torch.float64)
    made = drawn_tokens(scores, numbers, temperature=temperature)
    assert torch.equal(made[:, 0], scores.argmax(dim=1))


def test_numbers_depend_on_seed_part_row_and_sample_alone() -> None:
    draws = Draws(samples=2, temperature=1.0, seed=3)
    few = draws.numbers("test", 0, rows=4, most=5)
    assert np.array_equal(few, draws.numbers("test", 0, rows=9, most=5)[:4])
    others = [
        draws.numbers("test", 1, rows=4, most=5),
        draws.numbers("validation", 0, rows=4, most=5),
        Draws(2, 1.0, seed=4).numbers("test", 0, rows=4, most=5),
    ]
    assert len({few.tobytes(), *(other.tobytes() for other in others)}) == 4
    assert len(np.unique(few)) == 20
    assert draws.numbers("test", 0, rows=0, most=5).shape == (0, 5)


@pytest.mark.parametrize("batch", [1, 3, 40])
def test_samples_are_the_same_in_every_layout(model: ModelSource, batch: int) -> None:
    engine, stop = engine_of(model), stop_token(model)
    assert stop is not None
    rows = tokenize(prompts(21, 9)[0], source=model, max_tokens=32)
    numbers = Draws(1, 1.5, seed=0).numbers("test", 0, rows=21, most=6)

    def made(batch: int, temperature: float = 1.5) -> np.ndarray:
        given = {"most": 6, "stop_id": stop, "batch": batch}
        return completions(engine, rows, **given, draws_MK=numbers, temperature=temperature)

    greedy = completions(engine, rows, most=6, stop_id=stop, batch=batch)
    assert np.array_equal(made(batch), made(7))
    assert not np.array_equal(made(batch), greedy)
    assert np.array_equal(made(batch, 1e-9), greedy)


def test_samples_are_drawn_from_the_models_distribution(model: ModelSource) -> None:
    """The first token of many samples of one prompt, against its softmax."""
    engine, stop = engine_of(model), stop_token(model)
    assert stop is not None
    rows = tokenize([words(1, 2, 3)] * 4000, source=model, max_tokens=32)
    draws = Draws(1, 2.0, seed=0)
    made = completions(
        engine,
        rows,
        most=2,
        stop_id=stop,
        batch=500,
        draws_MK=draws.numbers("test", 0, rows=4000, most=2),
        temperature=2.0,
    )[:, 0]
    with torch.no_grad():
        logits = engine.model.backbone(input_ids=torch.tensor([[1, 2, 3]])).logits[0, -1]
    expected = torch.softmax(logits / 2.0, dim=0).numpy()
    shares = np.bincount(np.where(made == NONE, stop, made), minlength=len(expected)) / 4000
    assert np.abs(shares - expected).max() < 4 * np.sqrt(expected.max() / 4000)


def reference_vote(answers: list[str | None]) -> tuple[int, float]:
    """By Counter, with ties and missing answers by hand."""
    counts = Counter(a for a in answers if a is not None)
    most = max(counts.values(), default=0)
    tied = [i for i, a in enumerate(answers) if a is not None and counts[a] == most]
    return (tied[0] if tied else 0), most / len(answers)


def test_the_vote_is_the_majority_and_of_ties_the_first_sampled() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        answers = [None if c == 3 else f"a{c}" for c in rng.integers(0, 4, rng.integers(1, 8))]
        assert vote(answers) == reference_vote(answers)
    assert vote(["b", "a", "a", "b"]) == (0, 0.5)
    assert vote([None, "a"]) == (1, 0.5)
    assert vote([None, None]) == (0, 0.0)


def sampled(model: ModelSource, *, samples: int, temperature: float, batch: int = 8):
    recipe = recipe_of({"epochs": 2, "lr": 2e-2, "batch_size": 16}, form="answers")
    draws = Draws(samples, temperature, seed=0) if samples else None
    data = answer_data(model, rows=48, draws=draws, extract=lambda text: text[-1:] or None)
    execution = ONE.model_copy(update={"evaluation_batch": batch, "micro_batch": batch})
    return run(recipe, data, model, execution=execution)[0]


def test_the_result_has_the_votes_of_its_samples_and_training_is_the_same(
    model: ModelSource,
) -> None:
    plain = sampled(model, samples=0, temperature=0.0)
    found = sampled(model, samples=5, temperature=1.0)
    again = sampled(model, samples=5, temperature=1.0, batch=3)
    assert (plain.train_loss, plain.validation_agreement) == (
        found.train_loss,
        found.validation_agreement,
    )
    assert found.evaluated_tokens > plain.evaluated_tokens
    for part in ("validation", "test"):
        of, other = found.predicted[part], again.predicted[part]
        assert (of.samples, of.answers) == (other.samples, other.answers)
        assert of.samples is not None
        assert of.certainty is not None
        assert of.extracted == tuple(text[-1:] or None for text in of.answers or ())
        for i, samples in enumerate(of.samples):
            place, share = reference_vote([text[-1:] or None for text in samples])
            assert (of.answers or ())[i] == samples[place]
            assert of.certainty[i] == np.float32(share)
        assert len({len(set(samples)) for samples in of.samples}) > 1
    assert plain.predicted["test"].certainty is plain.predicted["test"].samples is None


def test_one_sample_at_temperature_0_is_the_greedy_completion(model: ModelSource) -> None:
    plain, one = (sampled(model, samples=n, temperature=0.0) for n in (0, 1))
    for part in ("validation", "test"):
        assert one.predicted[part].answers == plain.predicted[part].answers
        assert one.predicted[part].samples == tuple((a,) for a in plain.predicted[part].answers)
        np.testing.assert_array_equal(
            one.predicted[part].probabilities, plain.predicted[part].probabilities
        )
    assert one.evaluated_tokens == plain.evaluated_tokens


def test_the_probability_of_a_vote_is_that_of_its_completion(model: ModelSource) -> None:
    """By the model's own log-probabilities, one row at a time, without a batch."""
    engine, stop = engine_of(model), stop_token(model)
    assert stop is not None
    data = answer_data(model, rows=10, draws=Draws(3, 1.5, seed=0))
    found = data.final(engine, "test", data.predictions(engine, "test", batch=8), batch=8)
    for i in range(5):
        tokens = found["tokens"][i][found["tokens"][i] != NONE].tolist()
        tokens += [stop] if len(tokens) < data.most else []
        prompt = data.part("test").row(i).tolist()
        with torch.no_grad():
            logits = engine.model.backbone(input_ids=torch.tensor([prompt + tokens])).logits[0]
        log_p = torch.log_softmax(logits.float(), dim=-1)[len(prompt) - 1 : -1]
        expected = sum(float(log_p[k, token]) for k, token in enumerate(tokens))
        assert found["log_p"][i] == pytest.approx(expected, abs=1e-4)


def test_samples_at_temperature_0_are_refused_because_they_are_one() -> None:
    with pytest.raises(ValueError, match=r"samples is 3 at temperature 0, .*set samples: 1"):
        Completions(samples=3)
