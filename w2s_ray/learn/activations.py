"""Activations of a pretrained model: what a probe is trained on, and transforms of labels use.

Owns the one pass over rows, which trains nothing, through the engine that the execution names, so
that a sharded model is read sharded. It reads no labels. Shapes: N rows, B rows of a pass, D width
of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from w2s_ray.config import Execution, FormName, ModelSource, Training
from w2s_ray.learn.device_rows import to_device
from w2s_ray.learn.engine import InferenceEngine, evaluation_passes, model_inputs
from w2s_ray.learn.engines import build_inference
from w2s_ray.learn.frozen_weights import count
from w2s_ray.learn.rows import PairRows
from w2s_ray.learn.tokens import TokenRows

SUMMED_ROWS = 8192
"""Rows that workers sum at once on their devices."""


@dataclass(frozen=True)
class Activations:
    """What a model that isn't trained computes of a part's rows."""

    values_ND: np.ndarray
    """float32: the last hidden state of each row where the head would read it; of a pair, the first
    text's minus the second's, as the head would compare them. Of a policy's reference, the
    log-probabilities of both texts; of prompts, the words' log-odds."""
    parameters: int
    """Weights of the model."""


def activations(
    parts: Mapping[str, TokenRows | PairRows],
    *,
    source: ModelSource,
    training: Training,
    execution: Execution,
    form: FormName = "classes",
    on_pass: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, Activations]]:
    """Each part with its activations, computed when it is requested, with the model loaded once.

    Every worker of a fit calls it alike and gets the same. `on_pass` is called before each forward
    pass and may raise.
    """
    built = build_inference(training, source=source, execution=execution, seed=0, form=form)
    head = built.model.get_submodule("head").parameters()
    parameters = built.parameters - sum(map(count, head))
    try:
        for part, rows in parts.items():
            found_ND = _read(built, rows, batch=execution.evaluation_batch, on_pass=on_pass)
            yield part, Activations(found_ND, parameters)
    finally:
        built.close()


def _read(
    engine: InferenceEngine, rows: TokenRows | PairRows, *, batch: int, on_pass: Callable[[], None]
) -> np.ndarray:
    found_ND = np.zeros((len(rows), engine.model.width), dtype=np.float32)
    if len(rows) == 0:
        return found_ND
    with torch.no_grad():
        for micro in evaluation_passes(rows, engine, batch=batch):
            on_pass()
            inputs = model_inputs(rows, micro.positions, engine)
            found_BD = engine.activations(*inputs).numpy(force=True)
            if micro.real:
                found_ND[micro.positions] = found_BD
        for start in range(0, len(rows), SUMMED_ROWS) if engine.workers > 1 else ():
            own_BD = to_device(found_ND[start : start + SUMMED_ROWS], engine.device)
            found_ND[start : start + SUMMED_ROWS] = engine.sum_over_workers(own_BD).numpy(
                force=True
            )
    return found_ND
