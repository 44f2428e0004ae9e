"""Section `evaluation`: predictions of rows, as evaluations and weak labels are made.

Owns the passes without gradients of our torch engine over the rows of `throughput`. Two passes, of
which the second counts.
"""

from __future__ import annotations

import time

from benchmarks.on_gpu import measure, rows
from benchmarks.on_gpu.measure import Options
from benchmarks.on_gpu.shapes import chosen, random_weights, source_of
from w2s_ray.learn.evaluate import predict_margins
from w2s_ray.learn.torch_engine import TorchEngine

NAMES = ("gpt2-124m", "qwen2-0.5b", "llama-1.5b")


def run(options: Options) -> None:
    """Tokens a second of each shape."""
    for shape in chosen(options.shapes, among=NAMES, small=options.toy):
        measure.clean(options.device)
        execution, read = rows.execution(), rows.classes(shape, small=options.toy).train
        with random_weights(options.device):
            engine = TorchEngine(
                rows.recipe().training,
                source=source_of(shape, options.folder),
                execution=execution,
                seed=0,
            )
        took: list[float] = []
        for _ in range(2):
            began = time.perf_counter()
            predict_margins(engine, read, batch=execution.evaluation_batch)
            took.append(time.perf_counter() - began)
        flops = measure.operations(shape, read.lengths) / 3
        peak = measure.peak_flops(options.device)
        options.emit(
            "evaluation",
            shape=shape.name,
            tokens_per_s=read.size / took[1],
            tflops=flops / took[1] / 1e12,
            share_of_peak=None if peak is None else flops / took[1] / peak,
            first_pass_s=took[0],
            **measure.memory_figures(options.device),
        )
        del engine
