"""Accelerators: peak FLOPs and memory, from the shipped table and from a user's file.

Owns the format of these files and their reading. The figures are from data sheets. It has no
prices.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import Field

from w2s_ray.config.load import load_declared
from w2s_ray.config.names import Line, Name
from w2s_ray.config.settings import Frozen, Precision
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

SHIPPED = Path(__file__).with_name("accelerators.yaml")


class Accelerator(Frozen):
    """One device, with the figures of its data sheet."""

    bf16_tflops: float | None = Field(default=None, gt=0, le=1e9)
    """Peak of dense bf16 products in 10^12 FLOPs per second; null = no bf16."""
    tf32_tflops: float | None = Field(default=None, gt=0, le=1e9)
    """Peak of dense TF32 products in 10^12 FLOPs per second; null = no TF32."""
    fp32_tflops: float = Field(gt=0, le=1e9)
    """Peak of fp32 products in 10^12 FLOPs per second, without TF32."""
    memory_gb: float = Field(gt=0, le=1e6)
    """Memory in 10^9 bytes."""
    source: Line = ""
    """Source of the figures."""

    @property
    def bytes(self) -> float:
        """The memory in bytes."""
        return self.memory_gb * 1e9

    def flops(self, precision: Precision) -> float | None:
        """Peak FLOPs per second; None if the device doesn't have the precision."""
        tera = {
            "fp32": self.fp32_tflops,
            "tf32": self.tf32_tflops,
            "bf16": self.bf16_tflops,
        }[precision]
        return None if tera is None else tera * 1e12


class Accelerators(Frozen):
    """The content of a file of accelerators."""

    accelerators: dict[Name, Accelerator] = Field(min_length=1)
    """Name -> device."""


def find_accelerator(name: str, *, file: Path | None = None) -> Accelerator:
    """The accelerator `name` from `file` or the shipped table.

    Raises:
        InputError: no such accelerator; the message has the nearest name.
    """
    known: Mapping[str, Accelerator] = _shipped()
    if file is not None:
        read = load_declared(
            file, Accelerators, what="a file of accelerators", needs="accelerators"
        )
        known = {**known, **read.accelerators}
    if name not in known:
        raise InputError(_unknown(name, known, "known; --accelerators FILE adds one"))
    return known[name]


def matching_accelerators(name: str) -> list[Accelerator]:
    """The accelerators that Ray's `name` may mean (two for `A100`); empty for an unknown name."""
    return [
        device for key, device in _shipped().items() if key == name or key.startswith(f"{name}-")
    ]


def accelerator_of_device(device: str) -> Accelerator | None:
    """The shipped accelerator of a device with this driver's name, or None if it isn't known.

    For example, "NVIDIA H100 80GB HBM3" is H100, and "NVIDIA A100-SXM4-40GB" is A100-40G.
    """
    words = re.findall(r"[A-Z0-9]+", device.upper())
    for name, found in _shipped().items():
        model, _, memory = name.partition("-")
        if model in words and (not memory or f"{memory}B" in words):
            return found
    return None


def _shipped() -> Mapping[str, Accelerator]:
    needs = "accelerators"
    return load_declared(SHIPPED, Accelerators, what="the table", needs=needs).accelerators


def _unknown(name: str, known: Iterable[str], where: str) -> str:
    names = list(known)
    lowered = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.3)
    hint = f"did you mean {lowered[near[0]]}? " if near else ""
    return f"no accelerator {shown(name)}; {hint}{', '.join(names)} are {where}"
