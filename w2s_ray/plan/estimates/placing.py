"""Whether a fit fits a device, by which ZeRO stage at the least, and how many share one.

Owns the choice over estimates of memory; what doesn't fit is said with what would. It places
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from w2s_ray.config import Execution, Training
from w2s_ray.data.architecture import Architecture
from w2s_ray.plan.estimates.memory import RESERVE, Memory, memory

FRACTIONS = (16, 12, 10, 8, 6, 5, 4, 3, 2, 1)
"""How many one-device fits may share a GPU."""
MOST_WORKERS = 64


@dataclass(frozen=True)
class Smallest:
    """The least sharding with which a fit fits."""

    execution: Execution
    memory: Memory

    @property
    def said(self) -> str:
        """In words."""
        e = self.execution
        if e.engine == "torch":
            return "1 device"
        offload = " + offload" if e.offload == "cpu" else ""
        return f"ZeRO-{e.zero_stage}{offload} x {e.workers}"


def fits(found: Memory, device_bytes: float) -> bool:
    """Whether a fit has room on a device, the reserve left free."""
    return found.total + RESERVE <= device_bytes


def gpu_fraction(found: Memory, device_bytes: float) -> float | None:
    """The share of a GPU that a one-device fit needs, such that whole numbers of them fill it.

    1 divided by how many fit together, each with a context of its own; None where not even one
    does.
    """
    for together in FRACTIONS:
        if (found.total + RESERVE) * together <= device_bytes:
            return 1 / together
    return None


def smallest(
    model: Architecture,
    *,
    training: Training,
    execution: Execution,
    longest: float,
    device_bytes: float,
) -> Smallest | None:
    """The least sharding with which a fit fits a device; None where none of those tried does.

    One device first; then the workers asked for (at least two) and each doubling, stage by stage.
    """
    for tried in _ladder(execution, batch_size=training.batch_size):
        needs = memory(model, training=training, execution=tried, longest=longest)
        if fits(needs, device_bytes):
            return Smallest(tried, needs)
    return None


def _ladder(execution: Execution, *, batch_size: int) -> Iterator[Execution]:
    """Executions from the simplest to the most sharded."""
    plain = {"gpus_per_worker": None, "offload": "none"}
    yield execution.model_copy(update={**plain, "engine": "torch", "workers": 1})
    workers = max(2, execution.workers)
    while workers <= min(MOST_WORKERS, max(2, batch_size)):
        for stage in (1, 2, 3):
            update = {**plain, "engine": "deepspeed", "workers": workers, "zero_stage": stage}
            yield execution.model_copy(update=update)
        workers *= 2
    yield execution.model_copy(
        update={
            "engine": "deepspeed",
            "workers": max(1, execution.workers),
            "zero_stage": 3,
            "offload": "cpu",
        }
    )
