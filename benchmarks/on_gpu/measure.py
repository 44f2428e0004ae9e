"""Times, FLOPs and memory of a measurement, and its JSON line.

Owns the clock that synchronizes with the device at chosen steps only, the count of operations, and
the peak of the device. Operations are 6 x weights outside embeddings for each real token, and
attention's 12 x layers x width x length^2 for each row, causal or not; padding isn't counted. Peaks
are data sheets' (`w2s_ray/config/accelerators.yaml`).
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.on_gpu.shapes import Shape, weights_outside_embeddings
from w2s_ray.config.accelerators import matching_accelerators
from w2s_ray.learn.contract import Command

FAILURES = (RuntimeError, ValueError, ImportError, OSError, AttributeError, TypeError, KeyError)
"""Exceptions after which the other measurements continue."""
WARM = 8
"""Steps after which a pass that ran out of time is measured."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    seconds: float
    toy: bool
    rounds: int
    folder: Path
    shapes: list[str] | None = None
    contestants: list[str] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    began: float = field(default_factory=time.perf_counter)

    def emit(self, section: str, **figures: Any) -> None:
        """One JSON line: a measurement."""
        line = {"section": section, "device": device_name(self.device), **figures}
        line["at_s"] = round(time.perf_counter() - self.began, 1)
        print(json.dumps({k: _short(v) for k, v in line.items()}), flush=True)


def line_of(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


class Clock:
    """Records the times of the steps in `at`; `over` after the last one, or after `seconds`."""

    def __init__(self, device: torch.device, *, at: Collection[int], seconds: float) -> None:
        self.device, self.at, self.seconds = device, set(at), seconds
        self.moments: dict[int, float] = {}
        self.steps, self.began, self.over = 0, 0.0, False

    def start(self) -> None:
        """Start the clock, with the model loaded."""
        synchronize(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.began = time.perf_counter()

    def step(self) -> None:
        """Count a step that was submitted to the device."""
        self.steps += 1
        late = time.perf_counter() - self.began > self.seconds
        if self.steps in self.at or (late and self.steps > 2):
            synchronize(self.device)
            self.moments[self.steps] = time.perf_counter() - self.began
            self.over = late or self.steps >= max(self.at)

    def next_command(self) -> Command:
        """The command for the fit, as its control."""
        return "stop" if self.over else "go"


class Silent:
    """An observer that records nothing."""

    def trained(self, **_: Any) -> None:
        """A step."""

    def evaluated(self, **_: Any) -> None:
        """An evaluation."""


def marks(steps: int) -> set[int]:
    """The steps that are measured in two passes of `steps`."""
    return {1, min(WARM, steps), min(64, steps), steps, 2 * steps}


def rates(clock: Clock, *, steps: int, shape: Shape, lengths_of_step: list[np.ndarray]) -> dict:
    """Figures of the second pass, or of its steps before the time limit."""
    last = max(clock.moments)
    first = steps if last > steps else max(s for s in clock.moments if s < max(last, 2))
    took = clock.moments[last] - clock.moments[first]
    lengths = np.concatenate(lengths_of_step[first:last])
    tokens = int(lengths.sum())
    flops = operations(shape, lengths)
    peak = peak_flops(clock.device)
    return {
        "tokens_per_s": tokens / took,
        "tflops": flops / took / 1e12,
        "share_of_peak": None if peak is None else flops / took / peak,
        "step_ms": 1e3 * took / (last - first),
        "steps": [first, last],
        "passes": 2 if last == 2 * steps else 1,
        "first_step_s": clock.moments.get(1),
        "first_64_steps_s": clock.moments.get(64),
        "first_pass_s": clock.moments.get(steps),
        **memory_figures(clock.device),
    }


def operations(shape: Shape, lengths: np.ndarray) -> float:
    """Floating-point operations of training on rows of these lengths."""
    weights = weights_outside_embeddings(shape)
    squares = float(np.square(lengths.astype(np.float64)).sum())
    return 6.0 * weights * float(lengths.sum()) + 12.0 * shape.layers * shape.width * squares


def peak_flops(device: torch.device) -> float | None:
    """The device's peak in bf16, by its name; None if it is unknown."""
    if device.type != "cuda":
        return None
    words = device_name(device).replace("-", " ").split()
    for word in words:
        for found in matching_accelerators(word):
            return found.flops("bf16")
    return None


def device_name(device: torch.device) -> str:
    """The device's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def memory_figures(device: torch.device) -> dict[str, float | None]:
    """Peaks since the last reset, in GiB; None on a CPU."""
    if device.type != "cuda":
        return {"peak_gib": None, "reserved_gib": None}
    return {
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
    }


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def clean(device: torch.device) -> None:
    """Free the memory of the previous measurement."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
