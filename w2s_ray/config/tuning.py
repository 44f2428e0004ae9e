"""The key `training.tuning`: train all weights, adapters, the head, or the last layers.

Owns the settings. `w2s_ray.learn` freezes the other weights.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from w2s_ray.config.names import Name
from w2s_ray.frozen import Frozen


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


class ProbeTuning(Frozen):
    """Train the head alone (a linear probe). The pretrained weights stay as they are. Their
    activations are computed once for all fits of the store.
    """

    kind: Literal["probe"] = "probe"


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
