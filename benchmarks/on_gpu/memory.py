"""Section `memory`: the estimate of `w2s plan` against the peak that is measured.

Owns the cases. Each makes two optimizer steps on a batch of the longest rows and predicts one batch
of them, by our torch engine; measured is the peak of the allocator, without the CUDA context. On a
CPU only the estimate is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from benchmarks.on_gpu import measure, rows
from benchmarks.on_gpu.measure import Options
from benchmarks.on_gpu.shapes import SHAPES, Shape, random_weights, source_of, toy
from w2s_ray.config import Execution, FitRecipe, FormName, LoraTuning, ProbeTuning, Prompt
from w2s_ray.data.descriptions import architecture_of
from w2s_ray.learn.evaluate import predict_margins
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.forms.language import span_nll
from w2s_ray.learn.forms.text import TextData
from w2s_ray.learn.inference import Inference
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.step import optimizer_step
from w2s_ray.learn.tokens import TokenRows
from w2s_ray.learn.torch_engine import TorchEngine
from w2s_ray.plan.estimates.memory import fit_memory

LONGEST, TOY_LONGEST = 512, 16
FULL = 0.97
"""Share of the device's memory above which an estimate is not tried."""


@dataclass(frozen=True)
class Case:
    """One measurement."""

    name: str
    shape: str
    training: dict[str, Any] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)
    form: FormName = "classes"
    checkpoint: dict[str, Any] = field(default_factory=dict)
    """Added to the model's configuration."""
    prompted: bool = False
    """Whether the model is prompted and not trained."""


BF16 = {"dtype": "bfloat16"}
LORA = {"tuning": LoraTuning(rank=8)}
CASES = (
    Case("fp32", "gpt2-124m", {"precision": "fp32"}),
    Case("bf16", "gpt2-124m"),
    Case("bf16, micro-batches of 8", "gpt2-124m", {}, {"micro_batch": 8}),
    Case("bf16, checkpointing", "gpt2-124m", {}, {"activation_checkpointing": True}),
    Case("LoRA, bf16", "gpt2-124m", LORA),
    Case("text, bf16", "gpt2-124m", form="text"),
    Case("fp32", "qwen2-0.5b", {"precision": "fp32"}),
    Case("bf16", "qwen2-0.5b"),
    Case("LoRA, bf16", "qwen2-0.5b", LORA),
    Case("probe, bf16", "qwen2-0.5b", {"tuning": ProbeTuning()}),
    Case("bf16, micro-batches of 8", "llama-1.5b", {}, {"micro_batch": 8}),
    Case("LoRA, bf16 checkpoint", "llama-1.5b", LORA, {"micro_batch": 8}, checkpoint=BF16),
    Case("prompt, bf16 checkpoint", "llama-1.5b", form="text", checkpoint=BF16, prompted=True),
    Case("LoRA, bf16, micro-batches of 4", "llama-7b", LORA, {"micro_batch": 4}),
    Case(
        "LoRA, bf16, micro-batches of 4, checkpointing",
        "llama-7b",
        LORA,
        {"micro_batch": 4, "activation_checkpointing": True},
    ),
)


def run(options: Options) -> None:
    """Measure every case of the chosen shapes."""
    for case in CASES:
        if options.shapes is not None and case.shape not in options.shapes:
            continue
        measure.clean(options.device)
        shape = toy(SHAPES[case.shape]) if options.toy else SHAPES[case.shape]
        shape = replace(shape, config={**shape.config, **case.checkpoint})
        line: dict[str, Any] = {"shape": shape.name, "case": case.name}
        try:
            line |= _measured(case, shape, options)
        except measure.FAILURES as error:
            line["error"] = measure.line_of(error)
        options.emit("memory", **line)


def _measured(case: Case, shape: Shape, options: Options) -> dict[str, Any]:
    recipe = rows.recipe(form=case.form, **case.training)
    if case.prompted:
        recipe = recipe.model_copy(update={"form": "classes", "prompt": Prompt()})
    execution = rows.execution(
        **{"evaluation_batch": case.execution.get("micro_batch", rows.BATCH), **case.execution}
    )
    source = source_of(shape, options.folder)
    model, longest = architecture_of(source), TOY_LONGEST if options.toy else LONGEST
    assert not isinstance(model, str), model
    estimate = fit_memory(recipe, execution, model=model, longest=longest).total
    found: dict[str, Any] = {"estimate_gib": estimate / 2**30}
    on_gpu = options.device.type == "cuda"
    if on_gpu and estimate > FULL * torch.cuda.get_device_properties(0).total_memory:
        return {**found, "left_out": "the estimate is more than the device has"}
    data = _data(shape, longest, language=case.form != "classes")
    measure.synchronize(options.device)
    with random_weights(options.device):
        build: Any = Inference if case.prompted else TorchEngine
        engine = build(recipe.training, source=source, execution=execution, seed=0, form=case.form)
    found["loaded_gib"] = measure.memory_figures(options.device)["peak_gib"]
    if not case.prompted:
        _train(engine, data, recipe, execution)
    trained = measure.memory_figures(options.device)
    if isinstance(data, TextData):
        span_nll(engine, data.train, batch=execution.evaluation_batch)
    else:
        predict_margins(engine, data.train, batch=execution.evaluation_batch)
    whole = measure.memory_figures(options.device)
    peak = whole["peak_gib"]
    return {
        **found,
        "trained_gib": trained["peak_gib"],
        **whole,
        "estimate_to_peak": None if peak is None else found["estimate_gib"] / peak,
    }


def _train(
    engine: Any, data: ClassData | TextData, recipe: FitRecipe, execution: Execution
) -> None:
    """Two steps on the batch."""
    every = np.arange(rows.BATCH)
    for step in range(2):
        optimizer_step(
            every,
            recipe=recipe,
            loss=recipe.loss,
            memory=[],
            data=data,
            engine=engine,
            step=step,
            total_steps=2,
            micro_batch=execution.rows_at_once(rows.BATCH),
        )


def _data(shape: Shape, longest: int, *, language: bool) -> ClassData | TextData:
    """One batch of rows of `longest` tokens."""
    generator = np.random.default_rng(0)
    read = TokenRows.of(
        [generator.integers(1, shape.vocabulary, longest) for _ in range(rows.BATCH)]
    )
    if language:
        return TextData(SpanRows(read, np.ones(len(read), np.int64)), SpanRows.of([]))
    targets_NC = np.full((rows.BATCH, 2), 0.5, np.float32)
    return ClassData(read, targets_NC, TokenRows.of([]), np.zeros((0, 2), np.float32))
