"""Specifications of accelerators: the table that ships with the package, and a user's own file.

Owns the format of the files and their reading. Figures are from data sheets. It makes no estimates
and has no prices.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from w2s_ray.config.load import load_declared
from w2s_ray.config.names import Line, Name
from w2s_ray.config.settings import Frozen
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

SHIPPED = Path(__file__).with_name("accelerators.yaml")


class Accelerator(Frozen):
    """One device, by its data sheet."""

    bf16_tflops: float | None = Field(default=None, gt=0, le=1e9)
    """Dense bf16 products, in 10^12 operations a second; null = it has none."""
    fp32_tflops: float = Field(gt=0, le=1e9)
    """The same of fp32, without TF32."""
    memory_gb: float = Field(gt=0, le=1e6)
    """In 10^9 bytes."""
    source: Line = ""
    """Where the figures are from."""

    @property
    def bytes(self) -> float:
        """Its memory in bytes."""
        return self.memory_gb * 1e9

    def flops(self, precision: Literal["fp32", "bf16"]) -> float | None:
        """Peak operations a second; None where it doesn't have the precision."""
        tera = self.fp32_tflops if precision == "fp32" else self.bf16_tflops
        return None if tera is None else tera * 1e12


class Accelerators(Frozen):
    """A file of accelerators."""

    accelerators: dict[Name, Accelerator] = Field(min_length=1)
    """Name -> device."""


def accelerator(name: str, *, file: Path | None = None) -> Accelerator:
    """The accelerator called `name`, of the table that ships with the package and of `file`.

    Raises:
        InputError: no such accelerator; the message names the nearest.
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


def accelerators_called(name: str) -> list[Accelerator]:
    """Accelerators that Ray's `name` may stand for: `A100` has two; none where it isn't known."""
    return [found for key, found in _shipped().items() if key == name or key.startswith(f"{name}-")]


def _shipped() -> Mapping[str, Accelerator]:
    needs = "accelerators"
    return load_declared(SHIPPED, Accelerators, what="the table", needs=needs).accelerators


def _unknown(name: str, known: Iterable[str], where: str) -> str:
    names = list(known)
    lowered = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.3)
    hint = f"did you mean {lowered[near[0]]}? " if near else ""
    return f"no accelerator {shown(name)}; {hint}{', '.join(names)} are {where}"
