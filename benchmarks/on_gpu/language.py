"""Section `language`: fits of the forms `text` and `answers`, and completions.

Owns the same two passes as `throughput` with a head over the vocabulary, and the speed at which
completions of prompts are made.
"""

from __future__ import annotations

import time
from dataclasses import replace

from benchmarks.on_gpu import measure, rows
from benchmarks.on_gpu.measure import Options
from benchmarks.on_gpu.shapes import Shape, chosen, random_weights, source_of
from benchmarks.on_gpu.throughput import ours
from w2s_ray.learn.forms.answers import completions
from w2s_ray.learn.torch_engine import TorchEngine

NAMES = ("gpt2-124m", "qwen2-0.5b")


def run(options: Options) -> None:
    """Training by each form, then completions."""
    for whole in chosen(options.shapes, among=NAMES, small=options.toy):
        shape = replace(whole, steps=min(whole.steps, 16))
        for form, data in (("text", rows.text), ("answers", rows.answers)):
            measure.clean(options.device)
            try:
                made = data(shape, small=options.toy)
                recipe = rows.recipe(form=form)
                trained = replace(made, predict={})
                figures = ours(shape, options, data=trained, recipe=recipe)
                options.emit("language", shape=shape.name, form=form, **figures)
            except measure.FAILURES as error:
                options.emit("language", shape=shape.name, form=form, error=measure.line_of(error))
        measure.clean(options.device)
        _complete(shape, options)


def _complete(shape: Shape, options: Options) -> None:
    """Completions of 64 prompts; the second time counts."""
    data, execution = rows.answers(shape, small=options.toy), rows.execution()
    prompts = data.part("test")
    with random_weights(options.device):
        engine = TorchEngine(
            rows.recipe().training,
            source=source_of(shape, options.folder),
            execution=execution,
            seed=0,
            form="answers",
        )
    took: list[float] = []
    for _ in range(2):
        began = time.perf_counter()
        completions(engine, prompts, most=data.most, stop_id=data.stop_id, batch=32)
        took.append(time.perf_counter() - began)
    options.emit(
        "language",
        shape=shape.name,
        form="completions",
        completions_per_s=len(prompts) / took[1],
        tokens_per_s=len(prompts) * data.most / took[1],
        first_pass_s=took[0],
        **measure.memory_figures(options.device),
    )
