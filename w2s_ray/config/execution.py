"""How runs are carried out: engine, workers, memory, checkpoints, retries, limits.

Nothing here may change a number beyond floating-point rounding, so nothing here is hashed. It is
recorded beside each result instead. It knows nothing of what is trained.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen


class Execution(Frozen):
    """How one fit runs. Recorded with the result, never part of identity."""

    engine: Literal["torch", "deepspeed"] = "torch"
    """`torch`: one device, in the process of its Ray task or trial. `deepspeed`: a Ray Train worker
    group with ZeRO."""
    workers: int = Field(default=1, ge=1, le=100_000)
    """Ray Train workers of one fit (deepspeed only)."""
    zero_stage: Literal[0, 1, 2, 3] = 3
    """What DeepSpeed shards: nothing, optimizer state, + gradients, + weights."""
    offload: Literal["none", "cpu"] = "none"
    """Where ZeRO 2 and 3 keep optimizer state and, at stage 3, weights."""
    micro_batch: int | None = Field(default=None, ge=1, le=10_000_000)
    """Rows per forward pass and worker; null = batch_size / workers. The rest is accumulated."""
    evaluation_batch: int = Field(default=64, ge=1, le=10_000_000)
    """Rows per forward pass and worker without gradients."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass, for memory."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the model's layers by torch.compile (torch engine only). `auto`: on a GPU, where
    training takes long enough to pay for it."""
    gpus_per_worker: Annotated[float, Field(ge=0, le=1000)] | Literal["auto"] | None = None
    """GPUs of each worker; fractions for one-device fits; null = 1 where the cluster has GPUs.
    `auto`: there a one-device fit gets the share that its estimated memory needs, so that several
    have a GPU together; a whole one where memory can't be estimated."""
    accelerator_type: str | None = Field(
        default=None, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )
    """The GPU that each worker must get, by Ray's name for it (`A100`, `H100`, `L4`); null = any.
    On a cluster that autoscales it decides which nodes are started."""
    cpus_per_worker: int = Field(default=1, ge=1, le=10_000)
    """CPUs of each worker, and its threads."""
    checkpoint_every_s: float = Field(default=300.0, ge=0, le=1e8)
    """Least seconds between two checkpoints of a running fit; 0 = at every evaluation."""
    keep: Literal["none", "best", "last"] = "none"
    """Weights kept in the store as safetensors: none, the restored best state, or the last."""
    retries: int = Field(default=2, ge=0, le=1000)
    """How often a fit is tried again, from its last checkpoint, after a worker died, ran out of
    memory or stalled, or met a full disk or a store that failed. A preempted fit goes on too, and
    isn't counted."""
    stall_s: float | None = Field(default=1800.0, gt=0, le=1e8)
    """Seconds: a fit that makes no progress for so long is ended and tried again; null = never.
    Loading a model, an evaluation and a checkpoint must each take less."""

    @model_validator(mode="after")
    def _consistent(self) -> Execution:
        if self.engine == "torch" and self.workers > 1:
            raise InputError(
                f"workers is {self.workers}, but the torch engine runs on one device; "
                "set engine: deepspeed, or workers: 1"
            )
        gpus = 0 if self.gpus_per_worker == "auto" else self.gpus_per_worker or 0
        if gpus != int(gpus) and (gpus > 1 or self.workers > 1):
            raise InputError(
                f"gpus_per_worker is {gpus}; a fraction of a GPU is possible only below 1 and with "
                "one worker"
            )
        if self.accelerator_type is not None and self.gpus_per_worker == 0:
            raise InputError(
                f"accelerator_type is {self.accelerator_type}, but gpus_per_worker is 0; leave out "
                "one of them"
            )
        if self.offload == "cpu" and (self.engine != "deepspeed" or self.zero_stage < 2):
            raise InputError("offload: cpu needs engine: deepspeed and zero_stage 2 or 3")
        return self


class Limits(Frozen):
    """How much of a cluster a sweep takes, and how drivers share a store. Not part of identity."""

    studies_at_once: int | None = Field(default=None, ge=1, le=10_000)
    """Studies whose trials compete for the cluster at the same time; null = as many as keep it
    full, the longest first. Each takes some 250 MB on the driver's machine."""
    trials_at_once: int | None = Field(default=None, ge=1, le=10_000)
    """Trials of one study that run at once at most; null = as many as `search.concurrent_trials`
    and the cluster allow. Unlike that one, it never changes what is tried."""
    lease_s: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds after which what a driver claimed is free for another driver on the same store,
    unless the claim is renewed. Renewed several times in that span."""
