"""Whether a fit has room on a device, the smallest sharding with room, and shares of a GPU.

Owns these decisions from estimates of memory. It starts no fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from w2s_ray.config import Execution, Training
from w2s_ray.config.tuning import base_of
from w2s_ray.plan.estimates.memory import RESERVE, Memory

FRACTIONS = (16, 12, 10, 8, 6, 5, 4, 3, 2, 1)
"""Numbers of one-device fits that may share a GPU."""
MOST_WORKERS = 64
"""Largest number of workers that `smallest_sharding` tries."""


@dataclass(frozen=True)
class Sharding:
    """An execution, and the memory that a fit needs with it."""

    execution: Execution
    memory: Memory

    @property
    def text(self) -> str:
        """The number of devices, and the ZeRO stage."""
        e = self.execution
        if e.engine == "torch":
            return "1 device"
        offload = " + offload" if e.offload == "cpu" else ""
        return f"ZeRO-{e.zero_stage}{offload} x {e.workers}"


def fits_on_device(needed: Memory, device_bytes: float) -> bool:
    """Whether a fit has room on a device in addition to the reserve."""
    return needed.total + RESERVE <= device_bytes


def gpu_fraction(needed: Memory, device_bytes: float) -> float | None:
    """The share of a GPU that a one-device fit needs; None if it needs more than one GPU.

    It is 1 / the number of such fits that have room together, each with its own reserve.
    """
    for count in FRACTIONS:
        if (needed.total + RESERVE) * count <= device_bytes:
            return 1 / count
    return None


def smallest_sharding(
    needs: Callable[[Execution], Memory],
    *,
    training: Training,
    execution: Execution,
    device_bytes: float,
) -> Sharding | None:
    """The smallest sharding with which a fit has room on each device; None if no candidate does.

    `needs` gives the fit's memory by its execution. The candidates are one device, then
    `execution.workers` (at least two) and its doublings, each with ZeRO stages 1 to 3, then ZeRO-3
    with offload. A base in 4 bits is never sharded.
    """
    is_shardable = base_of(training.tuning) is None
    candidates = _candidates(execution, batch_size=training.batch_size)
    for candidate in candidates if is_shardable else [next(candidates)]:
        needed = needs(candidate)
        if fits_on_device(needed, device_bytes):
            return Sharding(candidate, needed)
    return None


def _candidates(execution: Execution, *, batch_size: int) -> Iterator[Execution]:
    """Executions from the least to the most sharded."""
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
