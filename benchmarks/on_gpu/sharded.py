"""Section `sharded`: ZeRO 0 to 3 on one device by our DeepSpeed engine, beside the torch engine.

Owns the stages; the rows and passes are those of `throughput`. It needs DeepSpeed.
"""

from __future__ import annotations

from benchmarks.on_gpu import measure, rows
from benchmarks.on_gpu.measure import Options
from benchmarks.on_gpu.shapes import chosen
from benchmarks.on_gpu.throughput import ours

NAMES = ("gpt2-124m", "qwen2-0.5b")


def run(options: Options) -> None:
    """Each shape by the torch engine and by each stage."""
    for shape in chosen(options.shapes or ["gpt2-124m"], among=NAMES, small=options.toy):
        base: float | None = None
        for stage in (None, 0, 1, 2, 3):
            measure.clean(options.device)
            name = "torch" if stage is None else f"ZeRO-{stage}"
            sharding = {} if stage is None else {"engine": "deepspeed", "zero_stage": stage}
            try:
                figures = ours(shape, options, execution=rows.execution(**sharding))
            except measure.FAILURES as error:
                options.emit("sharded", shape=shape.name, engine=name, error=measure.line_of(error))
                continue
            base = base or figures["tokens_per_s"]
            figures["to_torch"] = figures["tokens_per_s"] / base
            options.emit("sharded", shape=shape.name, engine=name, **figures)
