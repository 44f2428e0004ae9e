"""Section `parity`: losses of tiny models on the device against those on the CPU in fp32.

Owns 32 steps of a fit from the same saved weights, once on the CPU in fp32 and once in each
precision mode of the device. The differences must come from rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.on_gpu import measure, rows
from benchmarks.on_gpu.measure import Options
from benchmarks.on_gpu.shapes import SHAPES, Shape, toy
from benchmarks.on_gpu.throughput import compiler
from w2s_ray.config import ModelSource
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.loop import fit
from w2s_ray.learn.tokens import TokenRows

STEPS, SEED = 32, 3
FAMILIES = ("gpt2-124m", "llama-1.5b")


@contextmanager
def _tf32():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[], AbstractContextManager]]] = {
    "fp32": ({"precision": "fp32"}, {}, nullcontext),
    "tf32": ({"precision": "fp32"}, {}, _tf32),
    "bf16": ({"precision": "bf16"}, {}, nullcontext),
    "micro-batches of 8": ({"precision": "fp32"}, {"micro_batch": 8}, nullcontext),
    "compiled": ({"precision": "fp32"}, {"compile": "on"}, nullcontext),
    "recorded": ({"precision": "fp32"}, {"compile": "max"}, nullcontext),
    "recorded, micro-batches of 8": (
        {"precision": "fp32"},
        {"compile": "max", "micro_batch": 8},
        nullcontext,
    ),
}
"""Name -> training, execution, and a setting of torch while it runs."""


class _Losses(measure.Silent):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def trained(self, *, loss: float, **_: Any) -> None:
        self.losses.append(loss)


def run(options: Options) -> None:
    """Each family by each way."""
    for name in FAMILIES:
        if options.shapes is not None and name not in options.shapes:
            continue
        shape = toy(SHAPES[name])
        source = _saved(shape, options.folder / "parity")
        base = _losses(shape, source, {"precision": "fp32"}, {"gpus_per_worker": 0})
        for way, (training, execution, setting) in WAYS.items():
            line: dict[str, Any] = {"shape": f"tiny {shape.config['model_type']}", "way": way}
            try:
                with setting(), compiler(options):
                    found = _losses(shape, source, training, execution)
                difference = np.abs(np.array(found) - np.array(base))
                line |= {"steps": len(found), "most": float(difference.max())}
                line |= {"mean": float(difference.mean()), "last_loss": found[-1]}
                line["last_loss_cpu_fp32"] = base[-1]
            except measure.FAILURES as error:
                line["error"] = measure.line_of(error)
            options.emit("parity", **line)


def _saved(shape: Shape, folder: Path) -> ModelSource:
    """Random weights in a folder, the same for every way."""
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(SEED)
    place = folder / shape.name
    AutoModel.from_config(AutoConfig.for_model(**shape.config)).save_pretrained(place)
    return ModelSource(name=shape.name, location=str(place), identity=f"sha256:{shape.name}")


def _losses(
    shape: Shape, source: ModelSource, training: dict[str, Any], execution: dict[str, Any]
) -> list[float]:
    read = rows.tokens(shape, STEPS * rows.BATCH // 2, small=True)
    upper = np.array([float(np.mean(read.row(i) > shape.vocabulary / 2)) for i in range(len(read))])
    class_1 = (upper > np.median(upper)).astype(np.float32)
    data = ClassData(
        read,
        np.stack([1 - class_1, class_1], axis=1),
        TokenRows.of([]),
        np.zeros((0, 2), np.float32),
    )
    seen = _Losses()
    fit(
        rows.recipe(**{"lr": 1e-3, **training}),
        data=data,
        source=source,
        execution=rows.execution(**execution),
        observer=seen,
    )
    return seen.losses
