"""Prompting: the content of a prompt, and the probabilities of the answer words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.learn.tiny import Recorder, recipe_of
from tests.support import make_model
from w2s_ray.config import Execution, ModelSource, Prompt
from w2s_ray.learn.prompting import PromptData, context, examples, predict_by_words, prompt_rows
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
def test_examples_are_drawn_by_the_seed_with_classes_by_turns(
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


def test_a_context_shows_texts_with_the_words_of_their_labels() -> None:
    weak = labels(0.9, 0.1, 0.8, 0.3, 0.6, 0.2, 0.7, 0.4)
    shown = context(PROMPT, TEXTS, weak, seed=0)
    blocks = shown.split("\n\n")
    assert blocks.pop() == ""
    assert len(blocks) == 3
    for block in blocks:
        text, answer = block.split("\n")
        row = TEXTS.index(text)
        assert answer == f"w50 {PROMPT.words[int(weak[row].argmax())]}"
    assert context(PROMPT.model_copy(update={"shots": 0}), TEXTS, weak, seed=0) == ""


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
    rows = prompt_rows(PROMPT, "w7 ", TEXTS, source=source, max_tokens=32)
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


def test_a_long_prompt_is_truncated_from_the_left(source: ModelSource, tmp_path: Path) -> None:
    long = prompt_rows(PROMPT, " ".join(["w1"] * 100) + " ", ["w5"], source=source, max_tokens=8)
    tokens = long[1].tokens.row(0).tolist()
    assert len(tokens) == 8
    assert tokens[-3:] == [5, 50, 59]
