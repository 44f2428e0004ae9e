"""How fits run: engine, workers, memory, checkpoints, retries, limits.

Owns the settings that change results by no more than floating-point rounding. They are not part of
a run's id and are recorded with each result. It declares nothing about what is trained.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen

Attention = Literal["auto", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3"]
LOGITS_AT_ONCE = 2**27
"""Logits over a vocabulary that a fit makes at once, at most: 512 MiB in fp32."""
GPU_CONTEXT = 2**29
"""Bytes of a process's own on a GPU, which no allocator counts: an allowance, not measured."""
CPU_PASS_TOKENS = 1024
"""About the most tokens of a forward pass on a CPU, where each padded token takes time and small
tensors stay in the caches; a GPU needs large passes."""


class Execution(Frozen):
    """How a fit runs. It is recorded with the result and is not part of the run's id."""

    engine: Literal["torch", "deepspeed"] = "torch"
    """torch: one device in one process. deepspeed: a Ray Train worker group with ZeRO."""
    workers: int = Field(default=1, ge=1, le=100_000)
    """Number of Ray Train workers of one fit (deepspeed only)."""
    zero_stage: Literal[0, 1, 2, 3] = 3
    """What DeepSpeed shards: 0 = nothing, 1 = optimizer state, 2 = gradients too, 3 = weights
    too."""
    offload: Literal["none", "cpu"] = "none"
    """cpu: ZeRO 2 and 3 keep the optimizer state in CPU memory, ZeRO 3 the weights too."""
    micro_batch: Annotated[int, Field(ge=1, le=10_000_000)] | Literal["auto"] | None = None
    """Rows per forward pass and worker; null = batch_size / workers. One worker on a CPU divides
    batches of over 1,024 tokens further, unless the loss compares the rows of a batch. With fewer
    rows than the batch, gradients are accumulated. auto: as many as fit on the GPU by the estimate.
    The first attempt that runs out of GPU memory halves the rows of training and evaluation; with
    auto, every such attempt does."""
    evaluation_batch: int = Field(default=64, ge=1, le=10_000_000)
    """Rows per forward pass and worker in evaluation and prediction, if they are the longest; of
    shorter ones as many as have the same number of tokens. On a CPU a pass has at most 1,024
    tokens, and what the store keeps of a frozen model is read by so many rows."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass, to save memory."""
    attention: Attention = "auto"
    """Which attention of transformers a model uses; auto = its own choice, in general sdpa. The two
    flash attentions need a GPU, their package on each machine, and `training.precision: bf16`."""
    compile: Literal["auto", "on", "max", "off"] = "auto"
    """Compile the model's layers with torch.compile (torch engine only). auto: on a GPU, for fits
    that are long enough to gain from it. max: also record the steps of training as CUDA graphs,
    one for each length that rows are padded to, so that the GPU doesn't wait for launches. max was
    not tried on a GPU yet; with LP-FT or `activation_checkpointing` it is the same as on."""
    gpus_per_worker: Annotated[float, Field(ge=0, le=1000)] | Literal["auto"] | None = None
    """GPUs of each worker; none without GPUs in the cluster. null: a one-device fit takes the
    fraction of a GPU that its estimated memory needs, so that several fits share a GPU, or a whole
    GPU if that can't be estimated. auto: the same, but a GPU of unknown memory is an error. A
    number: for a one-device fit it may be a fraction. A process can't allocate more than its
    fraction."""
    accelerator_type: str | None = Field(
        default=None, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )
    """The type of GPU that each worker needs, by Ray's name for it (`A100`, `H100`, `L4`); null =
    any. With an autoscaler it decides which nodes are started."""
    cpus_per_worker: int = Field(default=1, ge=1, le=10_000)
    """CPUs of each worker, and the number of its threads."""
    checkpoint_every_s: float = Field(default=300.0, ge=0, le=1e8)
    """Seconds between two checkpoints of a running fit, at least; 0 = at every evaluation. Where a
    checkpoint holds up the training for long, the interval is longer, so that checkpoints take at
    most 5 % of the fit's time."""
    keep: Literal["none", "best", "last", "head"] = "none"
    """Which weights are kept in the store, as safetensors: none, those of the best evaluation, or
    the last ones. head: the best ones, and of a probe its head alone, without the frozen model."""
    retries: int = Field(default=2, ge=0, le=1000)
    """How often a fit is retried from its last checkpoint, for each cause of failure: a lost
    worker, no memory, a stall, a full disk, a failing store, a download without a network. A lost
    or preempted machine doesn't count."""
    stall_s: float | None = Field(default=1800.0, gt=0, le=1e8)
    """A fit without progress for so many seconds is ended and retried; null = never. Loading a
    model, an evaluation and a checkpoint must each take less. The download of a model isn't
    counted."""

    def rows_at_once(self, batch_size: int) -> int:
        """Rows of a forward pass of training, on each worker."""
        whole = -(-batch_size // self.workers)
        return min(self.micro_batch, whole) if isinstance(self.micro_batch, int) else whole

    def halved(self, batch_size: int) -> Execution | None:
        """Half the rows of every forward pass; None where they are one row already."""
        rows, evaluated = self.rows_at_once(batch_size), self.evaluation_batch
        if rows == evaluated == 1:
            return None
        half = {"micro_batch": -(-rows // 2), "evaluation_batch": -(-evaluated // 2)}
        return self.model_copy(update=half)

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
                f"gpus_per_worker is {gpus}, but a fraction of a GPU must be below 1 and needs "
                "workers: 1; give a whole number"
            )
        if self.accelerator_type is not None and self.gpus_per_worker == 0:
            raise InputError(
                f"accelerator_type is {self.accelerator_type}, but gpus_per_worker is 0; remove "
                "one of them"
            )
        if self.offload == "cpu" and (self.engine != "deepspeed" or self.zero_stage < 2):
            raise InputError("offload: cpu needs engine: deepspeed and zero_stage 2 or 3")
        return self


class Limits(Frozen):
    """How much runs at the same time, and how drivers share a store. Not part of a run's id."""

    studies_at_once: int | None = Field(default=None, ge=1, le=10_000)
    """Studies that run at the same time; null = as many as keep the cluster full, the longest
    first. Each takes some 250 MB on the driver's machine."""
    trials_at_once: int | None = Field(default=None, ge=1, le=10_000)
    """Trials of one study that run at the same time, at most; null = as many as
    `search.concurrent_trials` and the cluster allow. Unlike `search.concurrent_trials` it never
    changes what is tried."""
    lease_s: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds without a heartbeat after which another driver on the same store may take over a run.
    A running driver renews its leases several times in this span."""
