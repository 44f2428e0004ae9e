"""Section `profile`: the kernels and gaps of 20 steps after warm-up, by torch.profiler.

Owns the window of steps and the evaluation of the trace: the ten longest kernels, kernel launches a
step, the share of time in which the GPU is busy, and its gaps. On a CPU the ten longest operators.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.on_gpu import measure, rows
from benchmarks.on_gpu.measure import Clock, Options
from benchmarks.on_gpu.shapes import chosen
from benchmarks.on_gpu.throughput import compiler, train

NAMES = ("gpt2-124m", "qwen2-0.5b")
STEPS, TOY_STEPS = 20, 4


class Window(Clock):
    """A clock of three phases: warm-up, `steps` timed steps, `steps` profiled steps."""

    def __init__(self, options: Options, *, begin: int, steps: int) -> None:
        self.begin, self.end, self.traced = begin, begin + steps, begin + 2 * steps
        super().__init__(
            options.device, at=(begin, self.end, self.traced), seconds=10 * options.seconds
        )
        self.waits: list[warnings.WarningMessage] = []
        self.catching = warnings.catch_warnings(record=True)
        kinds = [ProfilerActivity.CPU]
        if options.device.type == "cuda":
            kinds.append(ProfilerActivity.CUDA)
        self.profile = profile(activities=kinds)

    def step(self) -> None:
        """Count a step that was submitted to the device."""
        if self.steps + 1 == self.end:
            self._count_waits(False)
        super().step()
        if self.steps == self.begin:
            self._count_waits(True)
        if self.steps == self.end:
            self.profile.__enter__()
        elif self.steps == self.traced:
            self.profile.__exit__(None, None, None)
            self.over = True

    def _count_waits(self, begins: bool) -> None:
        """Of the CPU for the GPU."""
        if self.device.type != "cuda":
            return
        torch.cuda.set_sync_debug_mode("warn" if begins else "default")
        if begins:
            self.waits = self.catching.__enter__() or []
            warnings.simplefilter("always")
        else:
            self.catching.__exit__(None, None, None)


def run(options: Options) -> None:
    """One trace of each shape."""
    found = chosen(options.shapes, among=NAMES, small=options.toy)
    for shape, compiling in itertools.product(found, ("off", "on")):
        if options.contestants is not None and compiling not in options.contestants:
            continue
        measure.clean(options.device)
        steps = TOY_STEPS if options.toy else STEPS
        window = Window(options, begin=shape.steps // 2, steps=min(steps, shape.steps // 2))
        try:
            with compiler(options):
                train(
                    shape,
                    options,
                    data=rows.classes(shape, small=options.toy),
                    recipe=rows.recipe(),
                    execution=rows.execution(compile=compiling),
                    clock=window,
                )
            options.emit("profile", shape=shape.name, compile=compiling, **_figures(window))
        except measure.FAILURES as error:
            failure = measure.line_of(error)
            options.emit("profile", shape=shape.name, compile=compiling, error=failure)


def _figures(window: Window) -> dict[str, Any]:
    steps = window.end - window.begin
    took = window.moments[window.end] - window.moments[window.begin]
    on_gpu = window.device.type == "cuda"
    kind = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    averages = [e for e in window.profile.key_averages() if not on_gpu or _is_kernel(e)]
    averages.sort(key=lambda e: getattr(e, kind), reverse=True)
    total = sum(getattr(e, kind) for e in averages)
    longest = [
        {
            "name": e.key[:120],
            "ms_per_step": getattr(e, kind) / 1e3 / steps,
            "share": getattr(e, kind) / total,
            "calls_per_step": e.count / steps,
        }
        for e in averages[:10]
    ]
    for entry in longest:
        entry.update({k: round(v, 4) for k, v in entry.items() if isinstance(v, float)})
    return {
        "step_ms": 1e3 * took / steps,
        "waits_per_step": len(window.waits) / steps if on_gpu else None,
        "launches_per_step": sum(e.count for e in averages) / steps if on_gpu else None,
        **(_busy(window) if on_gpu else {"busy_share": None, "gaps": None}),
        "longest": longest,
    }


def _is_kernel(event: Any) -> bool:
    return "cuda" in str(getattr(event, "device_type", "")).lower()


def _busy(window: Window) -> dict[str, Any]:
    """Share of the traced time in which a kernel runs, and the gaps between kernels."""
    spans = sorted(
        (e.time_range.start, e.time_range.end)
        for e in window.profile.events() or ()
        if _is_kernel(e)
    )
    gaps: list[float] = []
    busy, end = 0.0, spans[0][0]
    for start, stop in spans:
        if start > end:
            gaps.append(start - end)
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    steps = window.end - window.begin
    return {
        "busy_share": busy / (end - spans[0][0]),
        "gaps": {
            "ms_per_step": round(sum(gaps) / 1e3 / steps, 3),
            "over_10_us_per_step": round(sum(gap > 10 for gap in gaps) / steps, 1),
            "longest_ms": round(max(gaps, default=0.0) / 1e3, 3),
        },
    }
