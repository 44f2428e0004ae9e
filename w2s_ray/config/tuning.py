"""The key `training.tuning`: train all weights, adapters, the head, or the last layers.

Owns the settings. `w2s_ray.learn` freezes the other weights.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import Field

from w2s_ray.config.names import Name
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen

Base = Literal["nf4"]
"""A format of frozen weights."""


class FullTuning(Frozen):
    """Train every weight."""

    kind: Literal["full"] = "full"


class LoraTuning(Frozen):
    """Train low-rank adapters and the head (Hu et al. 2021), through the peft library."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=8, ge=1, le=100_000)
    """Rank of each adapter."""
    alpha: float = Field(default=16.0, gt=0, le=1e6)
    """Scale: the adapter's output is multiplied by alpha / rank."""
    targets: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Names of the modules that get an adapter; null = the default of peft for the architecture."""
    base: Base | None = Field(default=None, exclude_if=lambda base: base is None)
    """nf4: the frozen weights of linear layers are held in 4 bits (QLoRA, Dettmers et al. 2023).
    Weights that a fit keeps are those in 4 bits as fp32 numbers, with the adapters added. Needs
    `pip install "w2s_ray[quantized]"` and the torch engine. null = as `precision` has it."""


class ProbeTuning(Frozen):
    """Train the head alone (a linear probe). The pretrained weights stay as they are. Their
    activations are computed once for all fits of the store.
    """

    kind: Literal["probe"] = "probe"
    base: Base | None = Field(default=None, exclude_if=lambda base: base is None)
    """nf4: the activations are of a model whose linear layers are held in 4 bits, as for `lora`."""


class LpFtTuning(Frozen):
    """Train the head first, then every weight (LP-FT, Kumar et al. 2022). Torch engine only."""

    kind: Literal["lp_ft"] = "lp_ft"
    probe_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of all steps in which the head alone is trained."""


class LastLayersTuning(Frozen):
    """Train the last layers, the modules after them, and the head."""

    kind: Literal["last_layers"] = "last_layers"
    layers: int = Field(default=2, ge=1, le=10_000)
    """How many layers, counted from the last."""


Tuning = Annotated[
    FullTuning | LoraTuning | ProbeTuning | LpFtTuning | LastLayersTuning,
    Field(discriminator="kind"),
]


def base_of(tuning: Tuning | None) -> Base | None:
    """The format of the frozen weights of linear layers; None = that of the precision."""
    return tuning.base if isinstance(tuning, LoraTuning | ProbeTuning) else None


def check_package(base: Base | None) -> None:
    """Refuse a format whose package is missing.

    Raises:
        InputError: it names the package.
    """
    if base is not None and find_spec("bitsandbytes") is None:
        raise InputError(
            "training.tuning.base: nf4 needs the package bitsandbytes, which is missing: "
            'pip install "w2s_ray[quantized]", or leave base out'
        )
