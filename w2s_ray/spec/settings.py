"""The settings of one fit: training schedule, loss, early stopping.

Owns the models that a sweep file and a recipe share, so that what a user writes is what is hashed.
The docstrings of the fields are the manual. It refuses unknown keys, and knows nothing of grids,
of execution or of files.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """Base of every declared value: immutable, unknown keys refused, no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class FullTuning(Frozen):
    """Train every weight."""

    kind: Literal["full"] = "full"


class LoraTuning(Frozen):
    """Train low-rank adapters and the head (Hu et al. 2021), through the peft library."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=8, ge=1)
    """Rank of each adapter."""
    alpha: float = Field(default=16.0, gt=0)
    """Scale: the adapter's output is multiplied by alpha / rank."""
    targets: tuple[str, ...] | None = None
    """Names of the modules that get an adapter; null = peft's default for the architecture."""


Tuning = Annotated[FullTuning | LoraTuning, Field(discriminator="kind")]


class Training(Frozen):
    """How a model is finetuned. Part of identity."""

    batch_size: int = Field(default=32, ge=1)
    """Rows per optimizer step over all workers and accumulation (the global batch)."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the training rows."""
    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Decay of the learning rate after warm-up: to zero by cosine or linearly, or none."""
    lr_warmup_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of all steps over which the learning rate rises linearly from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's moment decay rates."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest norm of the whole gradient; null = no clipping."""
    max_tokens: int = Field(default=512, ge=2)
    """Longer texts lose their beginning, for every tokenizer; no row is dropped for its length."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward and backward pass; the optimizer keeps fp32 weights."""
    bucket_batches: int = Field(default=16, ge=1)
    """Batches drawn together and sorted by length, against padding; 1 = plain shuffling."""
    evaluations_per_epoch: int = Field(default=4, ge=1)
    """How often validation is evaluated, for curves, early stopping and pruning."""
    tuning: Tuning = FullTuning()
    """What is trained: everything, or LoRA adapters."""

    @property
    def evaluations(self) -> int:
        """How often a whole training evaluates at most."""
        return self.epochs * self.evaluations_per_epoch


class XentLoss(Frozen):
    """Cross-entropy with the (soft) labels: the paper's naive method."""

    kind: Literal["xent"] = "xent"


class ConfidenceLoss(Frozen):
    """The auxiliary confidence loss exactly as the paper's appendix A.4."""

    kind: Literal["confidence"] = "confidence"
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of the student's own hardened prediction after warm-up (the paper: .5, .75 for the
    largest students)."""
    warmup_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of all steps over which alpha rises linearly from 0."""
    prior: float = Field(default=0.5, gt=0, lt=1)
    """Share of the global batch that the threshold puts in class 1."""


class ConfidenceReferenceLoss(Frozen):
    """The public reference implementation's variant of the confidence loss.

    Its threshold is the quantile of the batch's mean weak label, and its warm-up jumps: the
    coefficient is the share of training done until `warmup_fraction`, then 1, times `alpha`.
    """

    kind: Literal["confidence_reference"] = "confidence_reference"
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of the student's own hardened prediction."""
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    """Share of training before the coefficient jumps to `alpha`."""


class ProductLoss(Frozen):
    """The public reference implementation's product loss: target ∝ student^beta · label^alpha."""

    kind: Literal["product"] = "product"
    alpha: float = Field(default=1.0, ge=0)
    """Exponent of the labels."""
    beta: float = Field(default=1.0, ge=0)
    """Exponent of the student's own (detached) prediction."""


Loss = Annotated[
    XentLoss | ConfidenceLoss | ConfidenceReferenceLoss | ProductLoss, Field(discriminator="kind")
]


class EarlyStopping(Frozen):
    """Stop when validation no longer improves, and restore the best state seen."""

    patience: int = Field(default=2, ge=1)
    """Evaluations without improvement after which training stops."""
    metric: Literal["accuracy", "loss"] = "accuracy"
    """What must improve on validation: agreement with its labels, or cross-entropy with them."""
    min_delta: float = Field(default=0.0, ge=0)
    """Smallest change that counts as an improvement."""
    oracle: bool = False
    """True: a student's validation labels are the ground truth. An upper bound, shown as such."""


class FitSettings(Frozen):
    """All settings of a fit that a method or a search may choose."""

    training: Training = Training()
    loss: Loss = XentLoss()
    early_stopping: EarlyStopping | None = None

    @model_validator(mode="after")
    def _stopping_can_happen(self) -> FitSettings:
        stop = self.early_stopping
        evaluations = self.training.evaluations
        if stop is not None and stop.patience > evaluations:
            raise ValueError(
                f"early_stopping.patience is {stop.patience}, but training evaluates only "
                f"{evaluations} times; lower the patience or raise evaluations_per_epoch"
            )
        return self
