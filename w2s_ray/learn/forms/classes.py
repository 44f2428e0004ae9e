"""The form `classes`: a text of one of two classes.

Owns the head, the optimizer step with the losses of classes, predictions and agreement; `pairs` and
`categories` share them. Where a loss needs a statistic of the global batch, a step of one
micro-batch takes it from its only forward pass; a step of several makes a first pass without
gradients over all of them. Shapes: B rows, L tokens, D width of the backbone, C classes, N training
and M other rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from w2s_ray.learn.batches import layout
from w2s_ray.learn.contract import Arrays, Predicted
from w2s_ray.learn.device_rows import to_device
from w2s_ray.learn.engine import CLASSES, Engine, InferenceEngine, model_inputs
from w2s_ray.learn.evaluate import (
    agreement,
    cross_entropy,
    forward,
    predict_margins,
    probabilities,
)
from w2s_ray.learn.forms.data import FormData, backward_sum
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.losses import labels_for, loss_sum
from w2s_ray.learn.rows import ClassRows
from w2s_ray.methods.losses import Loss
from w2s_ray.methods.losses.loss import class_1_probability

MARGIN = "margin"
HEAD_FILE = "head.safetensors"


class Head(nn.Module):
    """A linear map without bias from D to C, zero at first, so that the first loss is ln C.

    It computes in fp32 whatever the backbone's precision is: bf16 logits would tie, and a
    threshold over a batch needs an order.
    """

    def __init__(self, width: int, *, outputs: int = CLASSES) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, width))

    def forward(self, pooled_BD: Tensor) -> Tensor:
        with torch.autocast(pooled_BD.device.type, enabled=False):
            return nn.functional.linear(pooled_BD.float(), self.weight.float())


class TwoClass(FormModel):
    """Backbone and head. Padding is found by a row's length, never by an id.

    A causal decoder is read at its last real token and needs no attention mask: no real token
    looks to its right, where the padding is. An encoder (BERT-like) is read at its first token,
    [CLS], and gets a mask built from the lengths.
    """

    outputs: ClassVar[int | None] = CLASSES
    """Numbers that the head gives a text; None = one for each class."""

    def __init__(self, backbone: Any, *, width: int, **given: Any) -> None:
        super().__init__(backbone, width=width, **given)
        self.head = Head(width, outputs=self.outputs or self.classes)

    def forward(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """logits_BC in fp32."""
        return self.head(self.pooled(input_ids_BL, lengths_B))

    def pooled(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """pooled_BD, the hidden state that the head reads."""
        if self.causal:
            hidden_BLD = self.backbone(input_ids=input_ids_BL, use_cache=False).last_hidden_state
            row_B = torch.arange(len(lengths_B), device=lengths_B.device)
            return hidden_BLD[row_B, lengths_B - 1]
        column_L = torch.arange(input_ids_BL.shape[1], device=lengths_B.device)
        mask_BL = (column_L < lengths_B[:, None]).long()
        hidden_BLD = self.backbone(input_ids=input_ids_BL, attention_mask=mask_BL).last_hidden_state
        return hidden_BLD[:, 0]

    def activations(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """activations_BD, one vector for each row: of a text, its hidden state."""
        return self.pooled(input_ids_BL, lengths_B)

    def logits(self, activations_BD: Tensor) -> Tensor:
        """logits_BC in fp32, from what `activations` gave."""
        return self.head(activations_BD)

    def export(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write the backbone, and the head in a file of its own, which `load_head` reads."""
        super().export(state, folder)
        self.export_head(state, folder)

    def export_head(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write the head of the weights `state`."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weight": state["head.weight"].contiguous()}, folder / HEAD_FILE)

    def load_head(self, folder: Path) -> None:
        """Begin with the head that `export` wrote."""
        from safetensors.torch import load_file

        with torch.no_grad():
            self.head.weight.copy_(load_file(folder / HEAD_FILE)["weight"])


@dataclass(frozen=True)
class ClassData(FormData):
    """Texts and labels of one fit. Labels are distributions over the classes."""

    train: ClassRows
    train_targets_NC: np.ndarray
    """float32 [N, C]; rows sum to 1."""
    validation: ClassRows
    validation_targets_MC: np.ndarray
    """float32 [M, C]; what early stopping looks at: weak labels for a student."""
    predict: Mapping[str, ClassRows] = field(default_factory=dict)
    train_targets_KNC: np.ndarray | None = None
    """The same of each of several supervisors, for a loss that takes them."""
    train_weights_N: np.ndarray | None = None
    """How much each row counts, float32 with mean 1; None = all alike."""

    def __post_init__(self) -> None:
        if self.predict.get("validation", self.validation) is not self.validation:
            raise ValueError("predict has other validation rows; give `validation` itself there")
        _check("train", self.train, self.train_targets_NC, classes=self.classes)
        _check("validation", self.validation, self.validation_targets_MC, classes=self.classes)
        if len(self.train) == 0:
            raise ValueError("there are no training rows; give the split at least one")

    def logits(self, engine: InferenceEngine, inputs: tuple[Any, ...]) -> Tensor:
        """logits_BC of a micro-batch, from what `model_inputs` gave."""
        return forward(engine, inputs)

    def prepared(self, loss: Loss) -> Loss:
        return loss.prepared(self.train_targets_NC)

    def step(
        self,
        rows: np.ndarray,
        *,
        engine: Engine,
        loss: Loss,
        memory: list[float],
        progress: float,
        micro_batch: int,
    ) -> Tensor:
        lengths = self.train.lengths[rows]
        micros = layout(lengths, workers=engine.workers, micro_batch=micro_batch)[engine.rank]
        labels = to_device(
            labels_for(loss, self.train_targets_NC, self.train_targets_KNC)[..., rows, :],
            engine.device,
        )
        weights_B = (
            None
            if self.train_weights_N is None
            else to_device(self.train_weights_N[rows], engine.device)
        )
        passes = [
            (
                model_inputs(self.train, rows[micro.positions], engine),
                to_device(micro.positions, engine.device),
            )
            for micro in micros
        ]
        logits: Tensor | None = None
        statistic: Tensor | None = None
        if loss.needs_whole_batch:
            p1_B = torch.zeros(len(lengths), device=engine.device)
            with torch.set_grad_enabled(len(micros) == 1):
                for micro, (inputs, at_B) in zip(micros, passes, strict=True):
                    logits = self.logits(engine, inputs)
                    if micro.real:
                        p1_B[at_B] = class_1_probability(logits.detach())
            p1_B = engine.sum_over_workers(p1_B)
            statistic = loss.batch_statistic(p1_B, labels, memory=memory, progress=progress)
        known_BC = logits if len(micros) == 1 else None  # with gradients, of the statistic's pass

        def losses() -> Iterator[Tensor]:
            for micro, (inputs, at_B) in zip(micros, passes, strict=True):
                logits_BC = self.logits(engine, inputs) if known_BC is None else known_BC
                summed = loss_sum(
                    loss,
                    logits_BC,
                    labels[..., at_B, :],
                    _counted(logits_BC, weights_B, at_B, real=micro.real),
                    statistic=statistic,
                    progress=progress,
                )
                yield summed / len(lengths)

        return backward_sum(engine, losses(), count=len(micros))

    def predictions(self, engine: Engine, part: str, *, batch: int) -> Arrays:
        rows = self.part(part)
        return {MARGIN: predict_margins(engine, rows, batch=batch, logits=self.logits)}

    def judge(self, found: Arrays) -> tuple[float, float]:
        labels_MC = self.validation_targets_MC
        return agreement(found[MARGIN], labels_MC), cross_entropy(found[MARGIN], labels_MC)

    def predicted(self, found: Arrays, *, part: str) -> Predicted:
        return Predicted(probabilities(found[MARGIN]))


def _counted(
    logits_BC: Tensor, weights_B: Tensor | None, at_B: Tensor, *, real: bool
) -> Tensor | None:
    """How much the rows of a micro-batch count: nothing if they only fill a layout."""
    if not real:
        return torch.zeros_like(logits_BC[:, 0])
    return None if weights_B is None else weights_B[at_B]


def _check(part: str, rows: ClassRows, targets: np.ndarray, *, classes: int) -> None:
    if targets.shape != (len(rows), classes):
        raise ValueError(
            f"{part} has {len(rows)} rows, but targets of shape {targets.shape}; "
            f"give probabilities of shape ({len(rows)}, {classes})"
        )
    if targets.dtype != np.float32:
        raise ValueError(f"{part} targets are {targets.dtype}; give float32")
    wrong = ~(np.abs(targets.sum(axis=1) - 1.0) < 1e-3) | ~(targets >= 0).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{part} target {row} is {targets[row].tolist()}; give {classes} probabilities that "
            "sum to 1"
        )
