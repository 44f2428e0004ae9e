"""The choice of an engine, with training and without.

Owns the choice alone: it imports only the engine that an execution names. How an engine is used is
the contract in `engine`.
"""

from __future__ import annotations

from collections.abc import Callable

from w2s_ray.config import Execution, FormName, ModelSource, Training
from w2s_ray.learn.engine import CLASSES, Engine, InferenceEngine

EngineFactory = Callable[..., Engine]
"""`build_engine` or a stand-in with its signature."""


def build_engine(
    training: Training,
    *,
    source: ModelSource,
    execution: Execution,
    seed: int,
    form: FormName = "classes",
    classes: int = CLASSES,
) -> Engine:
    """The engine that `execution` names, with the model at `source` loaded into it.

    `classes` is the number of outputs of the head of a form with several classes.
    """
    match execution.engine:
        case "torch":
            from w2s_ray.learn.torch_engine import TorchEngine as engine
        case "deepspeed":
            from w2s_ray.learn.deepspeed_engine import DeepSpeedEngine as engine
    return engine(
        training, source=source, execution=execution, seed=seed, form=form, classes=classes
    )


def build_inference(
    training: Training,
    *,
    source: ModelSource,
    execution: Execution,
    seed: int,
    form: FormName = "classes",
    classes: int = CLASSES,
) -> InferenceEngine:
    """The model at `source` without an optimizer and without gradients.

    Each worker holds the whole model, unless `execution` shards weights (ZeRO-3).
    """
    if execution.engine == "deepspeed" and execution.zero_stage == 3:
        from w2s_ray.learn.deepspeed_engine import ShardedInference as inference
    else:
        from w2s_ray.learn.inference import Inference as inference
    return inference(
        training, source=source, execution=execution, seed=seed, form=form, classes=classes
    )
