"""Training speed and memory of each model on each kind of device, from records of finished fits.

Owns what is summed and the words for it. FLOPs are those of the records (by parameters and tokens);
the peak of a device is its data sheet's for the fit's precision. It measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from w2s_ray.config.accelerators import accelerator_of_device
from w2s_ray.config.settings import Precision
from w2s_ray.plan.estimates.memory import GIB
from w2s_ray.store import Record

_NEEDED = ("tokens", "training_seconds", "training_flops", "evaluation_flops")


@dataclass(frozen=True)
class Speed:
    """Sums over the finished fits of one model on one kind of device with one precision."""

    model: str
    device: str
    """The driver's name of the GPU, or `cpu`."""
    precision: str
    fits: int
    compiled_fits: int
    """Fits whose layers were compiled."""
    tokens_per_second: float
    """Trained tokens per second and device; the seconds include evaluations, not loading."""
    flops_per_second: float
    """Of training and evaluation, per device."""
    share_of_peak: float | None
    """`flops_per_second` over the peak of the device; None if its peak isn't known."""
    peak_memory_bytes: float | None
    """The most that tensors of one worker took; None on a CPU."""

    @property
    def line(self) -> str:
        """The figures as text."""
        share = "" if self.share_of_peak is None else f", {self.share_of_peak:.1%} of its peak"
        memory = (
            ""
            if self.peak_memory_bytes is None
            else f", at most {self.peak_memory_bytes / GIB:.1f} GiB"
        )
        compiled = f", {self.compiled_fits} compiled" if self.compiled_fits else ""
        return (
            f"{self.model} on {self.device} in {self.precision}: {self.tokens_per_second:,.0f} "
            f"tokens/s{share}{memory} ({self.fits} {'fit' if self.fits == 1 else 'fits'}{compiled})"
        )


def speeds(records: Iterable[Record]) -> list[Speed]:
    """A row for each model, device and precision of the finished fits, in alphabetical order.

    Fits of features, which have no tokens, and records without these figures are left out.
    """
    grouped: dict[tuple[str, str, Precision], list[Record]] = {}
    for record in records:
        if record.status == "done" and record.kind == "fit" and _has_speed(record):
            key = (
                str(record.about.get("model")),
                str(record.environment.get("device", "")),
                record.recipe["training"]["precision"],
            )
            grouped.setdefault(key, []).append(record)
    return [_speed(*key, fits) for key, fits in sorted(grouped.items())]


def _has_speed(record: Record) -> bool:
    has_tokens = record.recipe.get("form") != "features"
    return has_tokens and all(_figure(record, name) for name in _NEEDED)


def _speed(model: str, device: str, precision: Precision, fits: list[Record]) -> Speed:
    seconds = sum(_figure(fit, "training_seconds") * _workers(fit) for fit in fits)
    flops = sum(_figure(f, "training_flops") + _figure(f, "evaluation_flops") for f in fits)
    accelerator = accelerator_of_device(device)
    peak = accelerator.flops(precision) if accelerator else None
    memory = [_figure(fit, "peak_memory_bytes") for fit in fits]
    return Speed(
        model=model,
        device=device,
        precision=precision,
        fits=len(fits),
        compiled_fits=sum(bool(fit.summary.get("compiled")) for fit in fits),
        tokens_per_second=sum(_figure(fit, "tokens") for fit in fits) / seconds,
        flops_per_second=flops / seconds,
        share_of_peak=flops / seconds / peak if peak else None,
        peak_memory_bytes=max(memory) or None,
    )


def _figure(record: Record, name: str) -> float:
    return float(record.summary.get(name) or 0.0)


def _workers(record: Record) -> int:
    return int(record.execution.get("workers", 1))
