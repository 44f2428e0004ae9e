"""Prompting: the content of a prompt, and the probabilities of the answer words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.learn.tiny import Recorder, recipe_of, round_to_bf16
from tests.support import make_model
from w2s_ray.config import Execution, ModelSource, Prompt
from w2s_ray.learn import inference
from w2s_ray.learn.contract import FitResult
from w2s_ray.learn.engines import build_inference
from w2s_ray.learn.prompting import (
    PromptData,
    PromptRows,
    calibration_places,
    examples,
    predict_by_words,
    prompt_rows,
    shown_examples,
)
from w2s_ray.learn.tokens import tokenize_words

PROMPT = Prompt(shots=3, question="w50", words=("w58", "w59"))
TEXTS = [f"w{i} w{i + 1}" for i in range(8)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    folder = make_model(tmp_path_factory.mktemp("asked") / "m", seed=3)
    return ModelSource(name="m", location=str(folder), identity="sha256:m")


def labels(*positive: float) -> np.ndarray:
    p = np.array(positive, np.float32)
    return np.stack([1 - p, p], axis=1)


@given(st.lists(st.floats(0, 1), max_size=20), st.integers(0, 8), st.integers(0, 9))
def test_examples_are_drawn_by_the_seed_and_balanced(
    positive: list[float], shots: int, seed: int
) -> None:
    weak = labels(*positive).reshape(-1, 2)
    chosen = examples(weak, shots=shots, seed=seed)
    assert chosen == examples(weak, shots=shots, seed=seed)
    assert len(chosen) == len(set(chosen)) == min(shots, len(positive))
    classes = [int(weak[i].argmax()) for i in chosen]
    there = weak.argmax(axis=1).tolist()
    fewer = min(there.count(0), there.count(1), shots // 2)
    assert min(classes.count(0), classes.count(1)) >= fewer


def test_the_order_of_examples_is_random_by_the_seed() -> None:
    weak = labels(*[0.9, 0.1] * 20)
    orders = {
        tuple(int(weak[i, 1] > 0.5) for i in examples(weak, shots=5, seed=seed))
        for seed in range(400)
    }
    assert orders == {order for order in product((0, 1), repeat=5) if sum(order) in (2, 3)}


def test_examples_show_texts_with_the_words_of_their_labels() -> None:
    weak = labels(0.9, 0.1, 0.8, 0.3)
    shown = shown_examples(PROMPT, TEXTS, weak, [2, 1])
    assert shown == ["w2 w3\nw50 w59\n\n", "w1 w2\nw50 w58\n\n"]


def test_words_that_a_tokenizer_reads_alike_are_refused(source: ModelSource) -> None:
    with pytest.raises(ValueError, match="can't tell 'yes' from 'no'"):
        tokenize_words(["yes", "no"], source=source)


def test_the_answer_is_the_models_own_comparison_of_the_words(source: ModelSource) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(source.location)
    model: Callable[..., Any] = AutoModelForCausalLM.from_pretrained(source.location).eval()
    no, yes = (tokenizer.convert_tokens_to_ids(word) for word in PROMPT.words)
    expected = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(f"w7 {text} w50")["input_ids"]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, -1]
        expected.append(float(torch.softmax(logits[[no, yes]], dim=0)[1]))
    rows = prompt_rows(PROMPT, ["w7 "], TEXTS, source=source, max_tokens=32)
    recipe = recipe_of(prompt=PROMPT, predicts=("validation",))
    result = predict_by_words(
        recipe,
        data=PromptData({"validation": rows}, labels(*([0.9] * 8))),
        source=source,
        execution=Execution(gpus_per_worker=0, evaluation_batch=3),
        observer=Recorder(),
    )
    found = result.predicted["validation"].probabilities
    assert found == pytest.approx(expected, abs=1e-5)
    assert result.trained_parameters == 0
    assert result.validation_agreement == float(np.mean(np.array(expected) > 0.5))


def test_a_prompted_model_has_no_gradients_and_the_weights_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16 its products hold what the file holds, and give the numbers of fp32 weights."""
    folder = round_to_bf16(make_model(tmp_path / "m", seed=3))
    source = ModelSource(name="m", location=str(folder), identity="sha256:m")
    training, on_cpu = recipe_of({"precision": "bf16"}).training, Execution(gpus_per_worker=0)
    built = build_inference(training, source=source, execution=on_cpu, seed=0, form="text")
    weights = dict(built.model.named_parameters())
    assert not any(weight.requires_grad for weight in weights.values())
    layers = {name for name, weight in weights.items() if ".h." in name and weight.ndim == 2}
    assert {n for n, weight in weights.items() if weight.dtype == torch.bfloat16} == layers
    assert layers
    assert not hasattr(built, "_optimizer")
    found = predicted(source, TEXTS, precision="bf16").predicted["validation"].probabilities
    monkeypatch.setattr(inference, "hold_frozen_in_bf16", lambda model, **_: None)
    plain = predicted(source, TEXTS, precision="bf16").predicted["validation"].probabilities
    assert np.array_equal(found, plain)


def test_three_words_are_compared_and_calibrated_as_three_classes(source: ModelSource) -> None:
    """Against the model's own logits: q(c | x) is p(c | x) / mean p(c), normalized."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompt = Prompt(question="w50", words=("w57", "w58", "w59"), calibration="rows")
    tokenizer: Any = AutoTokenizer.from_pretrained(source.location)
    model: Callable[..., Any] = AutoModelForCausalLM.from_pretrained(source.location).eval()
    words = tokenizer.convert_tokens_to_ids(list(prompt.words))

    def of_model(texts: list[str]) -> np.ndarray:
        ids = [torch.tensor([tokenizer(f"{text} w50")["input_ids"]]) for text in texts]
        with torch.no_grad():
            logits = torch.stack([model(input_ids=i).logits[0, -1, words] for i in ids])
        return logits.softmax(dim=1).numpy()

    others = [f"w{i} w{i + 7}" for i in range(20, 30)]
    p_MC, prior_C = of_model(TEXTS), of_model(others).mean(axis=0)
    expected = p_MC / prior_C / (p_MC / prior_C).sum(axis=1, keepdims=True)
    rows, calibration = (
        prompt_rows(prompt, [], texts, source=source, max_tokens=32) for texts in (TEXTS, others)
    )
    labels_MC = np.eye(3, dtype=np.float32)[np.arange(len(TEXTS)) % 3]
    result = predict_by_words(
        recipe_of(form="categories", prompt=prompt, predicts=("validation",)),
        data=PromptData(
            {"validation": rows, "others": calibration},
            labels_MC,
            calibration="others",
            names=("a", "b", "c"),
        ),
        source=source,
        execution=Execution(gpus_per_worker=0, evaluation_batch=3),
        observer=Recorder(),
    )
    found = result.predicted["validation"]
    np.testing.assert_allclose(found.distribution, expected, atol=1e-5)  # type: ignore[arg-type]
    assert found.answers == tuple("abc"[i] for i in expected.argmax(axis=1))
    same = expected.argmax(axis=1) == labels_MC.argmax(axis=1)
    assert result.validation_agreement == pytest.approx(same.mean())
    assert result.validation_loss == pytest.approx(
        -np.log(expected[labels_MC == 1]).mean(), abs=1e-4
    )


def test_examples_of_three_classes_take_turns_and_a_class_may_be_absent() -> None:
    weak = np.eye(4, dtype=np.float32)[[0] * 9 + [1] * 2 + [3] * 9]
    chosen = examples(weak, shots=8, seed=5)
    assert sorted(weak[chosen].argmax(axis=1).tolist()) == [0, 0, 0, 1, 1, 3, 3, 3]


def test_examples_that_do_not_fit_are_omitted_whole_and_counted(source: ModelSource) -> None:
    shown = ["w1 w2\nw50 w59\n\n", "w3\nw50 w58\n\n"]
    texts = ["w5", "w5 w6 w7", " ".join(["w8"] * 9), " ".join(["w9"] * 20)]
    found = prompt_rows(PROMPT, shown, texts, source=source, max_tokens=10)
    assert found.shots_M.tolist() == [2, 1, 0, 0]
    rows = [found.with_word[1].tokens.row(i).tolist() for i in range(len(texts))]
    assert rows[0] == [1, 2, 50, 59, 3, 50, 58, 5, 50, 59]
    assert rows[1] == [3, 50, 58, 5, 6, 7, 50, 59]
    assert rows[2] == [8] * 8 + [50, 59]
    assert rows[3] == [9] * 8 + [50, 59]
    one = predicted(source, texts, shown=shown, max_tokens=10, part="test")
    assert one.figures == {
        "test_prompts": 4,
        "test_prompts_cut": 3,
        "test_shots_mean": 0.75,
        "test_prompt_limit": 10,
    }


def predicted(
    source: ModelSource,
    texts: list[str],
    *,
    shown: Sequence[str] = (),
    calibration: Sequence[str] | None = None,
    calibration_rows: np.ndarray | None = None,
    max_tokens: int = 32,
    part: str = "validation",
    precision: str = "fp32",
) -> FitResult:
    def rows(of: Sequence[str]) -> PromptRows:
        return prompt_rows(PROMPT, shown, of, source=source, max_tokens=max_tokens)

    parts = {"validation": rows(TEXTS), part: rows(texts)}
    if calibration is not None:
        parts["others"] = rows(calibration)
    return predict_by_words(
        recipe_of({"precision": precision}, prompt=PROMPT, predicts=(part,)),
        data=PromptData(
            parts,
            labels(*([0.9] * len(TEXTS))),
            shots=len(shown),
            most_tokens=max_tokens,
            calibration=None if calibration is None else "others",
            calibration_rows=calibration_rows,
        ),
        source=source,
        execution=Execution(gpus_per_worker=0, evaluation_batch=3),
        observer=Recorder(),
    )


def test_calibration_divides_by_the_mean_over_other_inputs(source: ModelSource) -> None:
    others = [f"w{i} w{i + 3} w{i + 1}" for i in range(20, 45)]
    shown = ["w1 w2\nw50 w59\n\n"] * 3  # three of one class: the model prefers it
    p_N = predicted(source, others, shown=shown, part="test").predicted["test"].probabilities
    p_M = predicted(source, TEXTS, shown=shown).predicted["validation"].probabilities
    prior = float(p_N.mean())
    expected = (p_M / prior) / (p_M / prior + (1 - p_M) / (1 - prior))
    result = predicted(source, TEXTS, shown=shown, calibration=others)
    assert result.predicted["validation"].probabilities == pytest.approx(expected, abs=1e-5)
    assert result.figures["calibration_prior"] == pytest.approx(prior, abs=1e-5)
    assert abs(prior - 0.5) > 0.01
    calibrated = predicted(source, others, shown=shown, calibration=others, part="test")
    share = float(np.mean(calibrated.predicted["test"].probabilities > 0.5))
    assert 0.2 < share < 0.8
    assert float(np.mean(p_N > 0.5)) in (0.0, 1.0)


def test_calibration_is_computed_from_rows_that_are_not_examples() -> None:
    found = calibration_places(PROMPT, 400, [3, 5], seed=1).tolist()
    assert len(set(found)) == 256
    assert not {3, 5} & set(found)
    assert found != sorted(found)
    assert set(calibration_places(PROMPT, 9, [3, 5], seed=1)) == set(range(9)) - {3, 5}


def test_calibration_uses_some_rows_of_a_part(source: ModelSource) -> None:
    """Their mean, although the part's other rows are read as well."""
    others = [f"w{i} w{i + 3} w{i + 1}" for i in range(20, 40)]
    few = predicted(source, TEXTS, calibration=others[5:9])
    some = predicted(source, TEXTS, calibration=others, calibration_rows=np.arange(5, 9))
    assert some.figures["calibration_prior"] == pytest.approx(few.figures["calibration_prior"])
    found, expected = (each.predicted["validation"].probabilities for each in (some, few))
    assert found == pytest.approx(expected, abs=1e-6)
