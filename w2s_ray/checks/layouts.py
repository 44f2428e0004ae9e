"""An optimizer step of fixed logits in several layouts, with the code that trains.

Owns an engine whose model is a linear map of the rows' logits, one for each worker; workers are
threads that sum their values together. Everything else is `ClassData.step`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from w2s_ray.learn.device_rows import DeviceRows
from w2s_ray.learn.engine import Engine
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.rows import ActivationRows
from w2s_ray.methods.losses import Loss


@dataclass(frozen=True)
class Layout:
    """How a batch is divided."""

    workers: int
    micro_batch: int

    def __str__(self) -> str:
        return (
            f"{self.workers} worker{'s'[: self.workers - 1]}, micro-batches of {self.micro_batch}"
        )


LAYOUTS = (Layout(1, 1000), Layout(1, 5), Layout(1, 1), Layout(2, 1000), Layout(2, 2))
"""The first is the whole batch."""
WAIT_S = 60.0


@dataclass
class _Workers:
    """What the workers of a step share."""

    count: int
    values: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.count, timeout=WAIT_S)


class _Engine:
    """The part of `Engine` that a step uses."""

    def __init__(self, rank: int, shared: _Workers) -> None:
        self.rank, self.workers, self._shared = rank, shared.count, shared
        self.device = torch.device("cpu")
        self.device_rows = DeviceRows(self.device)
        self.weight_CC = torch.eye(2, requires_grad=True)

    def forward(self, activations_BC: Tensor) -> Tensor:
        return activations_BC @ self.weight_CC.T

    def backward(self, loss: Tensor, *, last: bool) -> None:
        loss.backward()

    def sum_over_workers(self, values: Tensor) -> Tensor:
        self._shared.values[self.rank] = values
        self._shared.barrier.wait()
        total = torch.stack([self._shared.values[rank] for rank in range(self.workers)]).sum(dim=0)
        self._shared.barrier.wait()
        return total


def of_supervisors(labels_BC: Tensor) -> Tensor:
    """Labels of three supervisors [K, B, C], the first of them `labels_BC`."""
    return torch.stack([labels_BC, (labels_BC + 0.5) / 2, labels_BC.flip(1)])


def step_of(loss: Loss, logits_BC: Tensor, labels_BC: Tensor, layout: Layout) -> Tensor:
    """The mean loss of a batch, and the gradient of the model's weights: a vector."""
    lengths = np.random.default_rng(1).integers(3, 30, len(logits_BC))
    rows = ActivationRows(logits_BC.numpy(), lengths, frozen_parameters=0)
    data = ClassData(
        train=rows,
        train_targets_NC=labels_BC.numpy(),
        validation=rows.take([]),
        validation_targets_MC=np.zeros((0, 2), np.float32),
        train_targets_KNC=of_supervisors(labels_BC).numpy(),
    )
    shared = _Workers(layout.workers)

    def work(rank: int) -> tuple[Tensor, Tensor]:
        engine: Any = _Engine(rank, shared)
        try:
            total = data.step(
                np.arange(len(rows)),
                engine=cast("Engine", engine),
                loss=loss,
                memory=[],
                progress=0.5,
                micro_batch=layout.micro_batch,
            )
        except BaseException:
            shared.barrier.abort()
            raise
        gradient_CC = engine.weight_CC.grad
        none = torch.zeros_like(engine.weight_CC)
        return total, none if gradient_CC is None else gradient_CC

    with ThreadPoolExecutor(layout.workers) as pool:
        results = list(pool.map(work, range(layout.workers)))
    loss_, gradient_CC = (torch.stack(parts).sum(dim=0) for parts in zip(*results, strict=True))
    return torch.cat([loss_.reshape(1), gradient_CC.reshape(-1)])
