"""The estimate of memory against peaks that were measured: of one GPU, and of tensors on a CPU.

The GPU's: one NVIDIA H200, torch 2.11 with CUDA 13.0, batches of 32 rows of 512 tokens, peaks of
the allocator in GiB (benchmarks/README.md). "Then" is before `learn/kernels` fused activations and
norms, "now" after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.on_gpu.shapes import SHAPES
from w2s_ray.config import Execution, LoraTuning, ProbeTuning, Training
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_from_config
from w2s_ray.plan.estimates import activations, memory
from w2s_ray.plan.estimates.activations import LOGIT, Activations

GIB, BATCH, LONGEST = 2**30, 32, 512
LEAST, MOST = 0.95, 1.15
"""An estimate over what was measured."""
BF16: dict[str, Any] = {"precision": "bf16"}
LORA = {**BF16, "tuning": LoraTuning(rank=8)}
DEEPSPEED = {"engine": "deepspeed"}
NOW: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("gpt2-124m", {}, 6.9683),
    ("gpt2-124m", {"compile": "on"}, 6.5657),
    ("gpt2-124m", {**DEEPSPEED, "zero_stage": 0}, 6.9668),
    ("gpt2-124m", {**DEEPSPEED, "zero_stage": 1}, 7.7908),
    ("gpt2-124m", {**DEEPSPEED, "zero_stage": 2}, 7.7908),
    ("gpt2-124m", {**DEEPSPEED, "zero_stage": 3}, 8.0673),
    ("qwen2-0.5b", {}, 28.318),
    ("qwen2-0.5b", {"compile": "on"}, 21.982),
    ("llama-1.5b", {}, 53.932),
    ("llama-1.5b", {"compile": "on"}, 43.74),
)
THEN: tuple[tuple[str, dict[str, Any], dict[str, Any], float], ...] = (
    ("gpt2-124m", {}, {}, 17.655),
    ("gpt2-124m", BF16, {}, 14.06),
    ("gpt2-124m", BF16, {"micro_batch": 8}, 5.2052),
    ("gpt2-124m", BF16, {"activation_checkpointing": True}, 3.4957),
    ("gpt2-124m", LORA, {}, 11.771),
    ("qwen2-0.5b", {}, {}, 58.381),
    ("qwen2-0.5b", BF16, {}, 30.952),
    ("qwen2-0.5b", LORA, {}, 19.179),
    ("qwen2-0.5b", {**BF16, "tuning": ProbeTuning()}, {}, 2.57),
    ("llama-1.5b", BF16, {"micro_batch": 8}, 34.444),
    ("llama-7b", LORA, {"micro_batch": 4}, 46.01),
    ("llama-7b", LORA, {"micro_batch": 4, "activation_checkpointing": True}, 26.491),
)
PASSES = (("gpt2-124m", 2.2421), ("qwen2-0.5b", 3.8957), ("llama-1.5b", 10.309))
"""Predictions of batches of 64, then."""
TEXT = 22.77
"""A fit on text of GPT-2 124M then, with the logits of all tokens."""


def shape(name: str) -> Architecture:
    found = architecture_from_config(SHAPES[name].config)
    assert isinstance(found, Architecture), found
    return found


def estimated(name: str, training: dict[str, Any], execution: dict[str, Any]) -> float:
    """GiB at the peak of a fit."""
    settings = {"evaluation_batch": execution.get("micro_batch", BATCH), **execution}
    found = memory(
        shape(name),
        training=Training(batch_size=BATCH, **training),
        execution=Execution(**settings),
        longest=LONGEST,
    )
    return found.total / GIB


def powers(name: str, tokens: float, *, layers: int) -> float:
    """GiB that GELU took more then: autocast computes powers in fp32, so that three of its tensors
    had four bytes a number in place of two. They are saved by layers, and at work in one.
    """
    model = shape(name)
    more = 6.0 if model.activation == "gelu_new" else 0.0
    return more * model.matrices[-1].inner * tokens * (layers + 1) / GIB


def casts(name: str) -> float:
    """GiB of all weights in bf16, which autocast kept to the end of a pass then."""
    model = shape(name)
    return 2.0 * model.layers * sum(m.weights for m in model.matrices) / GIB


@pytest.mark.parametrize(("name", "execution", "measured"), NOW)
def test_peaks_of_a_gpu_are_estimated(name, execution, measured):
    assert LEAST <= estimated(name, BF16, execution) / measured <= MOST


@pytest.mark.parametrize(("name", "training", "execution", "measured"), THEN)
def test_peaks_of_a_gpu_were_those_of_plain_kernels(
    name, training, execution, measured, monkeypatch
):
    monkeypatch.setattr(activations, "kernels_of", lambda _: "plain")
    found = estimated(name, training, execution)
    if training:
        tokens = execution.get("micro_batch", BATCH) * LONGEST
        checkpointed = "activation_checkpointing" in execution
        found += powers(name, tokens, layers=1 if checkpointed else shape(name).layers)
        if checkpointed and "tuning" not in training:
            found += casts(name) * (1 - 1 / shape(name).layers)
    assert LEAST <= found / measured <= MOST


@pytest.mark.parametrize(("name", "measured"), PASSES)
def test_peaks_of_predictions_were_those_of_plain_kernels(name, measured, monkeypatch):
    monkeypatch.setattr(activations, "kernels_of", lambda _: "plain")
    model = shape(name)
    passed = Activations(model, Training(**BF16), Execution(), LONGEST, "classes").passing
    found = (passed + 4.0 * model.parameters) / GIB + powers(name, 64 * LONGEST, layers=0)
    found += casts(name)
    assert LEAST <= found / measured <= MOST


def test_a_logit_takes_the_bytes_that_were_measured(monkeypatch):
    monkeypatch.setattr(activations, "kernels_of", lambda _: "plain")
    model = shape("gpt2-124m")
    found = estimated("gpt2-124m", BF16, {}) + powers("gpt2-124m", BATCH * LONGEST, layers=12)
    logits = BATCH * (LONGEST - 1) * model.vocabulary
    assert LEAST <= (found + LOGIT * logits / GIB) / TEXT <= MOST


def test_the_vocabulary_is_counted_and_no_longer_by_token():
    model = shape("gpt2-124m")
    given: dict[str, Any] = {"execution": Execution(evaluation_batch=BATCH), "longest": LONGEST}
    training = Training(batch_size=BATCH, answer_tokens=16, **BF16)
    classes, answers, text = (
        memory(model, training=training, form=form, **given).total / GIB
        for form in ("classes", "answers", "text")
    )
    assert classes < answers < text
    assert text - classes < 0.25 * LOGIT * BATCH * LONGEST * model.vocabulary / GIB


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("form", ["text", "answers"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_takes_what_was_estimated(form, precision, tied, tmp_path, monkeypatch):
    from benchmarks.estimates import LiveBytes
    from tests.support import make_model
    from w2s_ray.config import ModelSource
    from w2s_ray.data.descriptions import architecture_of
    from w2s_ray.learn import vocabulary_head
    from w2s_ray.learn.forms.language import span_nll
    from w2s_ray.learn.forms.text import TextData
    from w2s_ray.learn.rows import SpanRows
    from w2s_ray.learn.tokens import TokenRows
    from w2s_ray.learn.torch_engine import TorchEngine
    from w2s_ray.methods.losses import XentLoss

    rows, longest, vocabulary, answer = 8, 48, 3000, 6
    for module in (vocabulary_head, activations):
        monkeypatch.setattr(module, "LOGITS_AT_ONCE", 64 * vocabulary)
    folder = make_model(tmp_path / "m", width=32, layers=3, vocabulary=vocabulary, tied=tied)
    source = ModelSource(name="m", location=str(folder), identity="sha256:m")
    model = architecture_of(source)
    assert isinstance(model, Architecture), model
    training = Training(batch_size=rows, precision=precision, answer_tokens=answer)
    execution = Execution(gpus_per_worker=0, evaluation_batch=rows)
    drawn = np.random.default_rng(0).integers(1, vocabulary, (rows, longest))
    starts = np.full(rows, 1 if form == "text" else longest - answer, np.int64)
    data = TextData(SpanRows(TokenRows.of(list(drawn)), starts), SpanRows.of([]))
    engine = TorchEngine(training, source=source, execution=execution, seed=0, form=form)
    with LiveBytes(engine.model.parameters()) as live:
        for _ in range(2):
            data.step(
                np.arange(rows),
                engine=engine,
                loss=XentLoss(),
                memory=[],
                progress=0.0,
                micro_batch=rows,
            )
            engine.step(1e-3)
        span_nll(engine, data.train, batch=rows)
    found = memory(model, training=training, execution=execution, longest=longest, form=form)
    assert LEAST <= found.total / live.peak <= MOST
