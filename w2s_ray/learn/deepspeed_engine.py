"""The sharded engine: DeepSpeed ZeRO 0 to 3 over the workers of one fit.

Owns the DeepSpeed configuration, the scaling of losses under its averaging, and sharded snapshots.
The process group may exist already (Ray Train makes one) or is made here for a single worker.
Resume state is what DeepSpeed's own checkpoints hold, as safetensors and JSON (`deepspeed_state`):
no pickle is written or loaded. DeepSpeed is imported inside functions only.
"""

from __future__ import annotations

import atexit
import os
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from w2s_ray.config import Execution, FormName, ModelSource, Training
from w2s_ray.config.tuning import Tuning, base_of
from w2s_ray.errors import InputError
from w2s_ray.learn.engine import CLASSES
from w2s_ray.learn.forms.language import LanguageModel
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.gpu import uses_gpu
from w2s_ray.learn.group import Group
from w2s_ray.learn.inference import Inference
from w2s_ray.learn.models import begin_with_head, check_files

TAG = "deepspeed"
SCRIPTS = "zero_to_*.py"
"""Converters of DeepSpeed's own format, which it copies beside every checkpoint."""


class ShardedInference(Inference):
    """`InferenceEngine` on one worker of a group, by DeepSpeed.

    `bf16` is DeepSpeed's autocast over the same weights as those of `Inference`.
    """

    def __init__(
        self,
        training: Training,
        *,
        source: ModelSource,
        execution: Execution,
        seed: int,
        form: FormName = "classes",
        classes: int = CLASSES,
        tuning: Tuning | None = None,
    ) -> None:
        self._stage = execution.zero_stage
        super().__init__(
            training,
            source=source,
            execution=execution,
            seed=seed,
            form=form,
            classes=classes,
            tuning=tuning,
        )

    @property
    def sharded(self) -> bool:
        return self._stage == 3

    def _joined(self, execution: Execution) -> Group:
        on_gpu = uses_gpu(execution)
        join_group(on_gpu)
        workers = distributed.get_world_size()
        if workers != execution.workers:
            raise InputError(
                f"execution.workers is {execution.workers}, but the process group has {workers}; "
                "start as many workers as the execution names"
            )
        index = torch.cuda.current_device() if on_gpu else None
        device = torch.device("cpu") if index is None else torch.device("cuda", index)
        return Group(distributed.get_rank(), workers, device)

    def _loaded(
        self,
        training: Training,
        *,
        source: ModelSource,
        execution: Execution,
        form: FormName,
        **named: Any,
    ) -> FormModel:
        """The model in DeepSpeed's hands; with an optimizer where something is trained."""
        import deepspeed

        on_gpu = self.device.type == "cuda"
        settings = _settings(training, execution, self.workers, on_gpu)
        if self.sharded:
            check_files(source, form=form)
        keep_alive = _shard_while_loading(settings) if self.sharded else None
        model = self._built(source=source, execution=execution, form=form, **named)
        del keep_alive
        if source.head is not None:
            head = model.get_submodule("head").parameters()
            with deepspeed.zero.GatheredParameters(list(head), modifier_rank=0):
                if not self.sharded or self.rank == 0:
                    begin_with_head(model, source)
        if self.sharded:
            _gather_with_their_layers(model)
        trained = [p for p in model.parameters() if p.requires_grad]
        fused = on_gpu and execution.offload == "none"
        self._engine: Any
        self._engine, *_ = deepspeed.initialize(
            model=model, optimizer=_adamw(trained, training, fused=fused), config=settings
        )
        try:
            self._check(model, source)
        except InputError:
            self.close()
            raise
        return model

    def close(self) -> None:
        self._engine.destroy()
        _forget_models()


class DeepSpeedEngine(ShardedInference):
    """`Engine` on one worker of a group that shares the model's state."""

    by_rows_on_cpu = False

    def __init__(
        self,
        training: Training,
        *,
        source: ModelSource,
        execution: Execution,
        seed: int,
        form: FormName = "classes",
        classes: int = CLASSES,
    ) -> None:
        if training.tuning.kind == "lp_ft" or training.weight_decay_to == "initial":
            raise InputError(
                "DeepSpeed can do neither tuning: lp_ft nor weight_decay_to: initial; set "
                "execution.engine: torch"
            )
        if base_of(training.tuning) is not None:
            raise InputError(
                "DeepSpeed can't shard training.tuning.base: nf4; set execution.engine: torch, or "
                "leave base out"
            )
        super().__init__(
            training,
            source=source,
            execution=execution,
            seed=seed,
            form=form,
            classes=classes,
            tuning=training.tuning,
        )
        self._engine.checkpoint_engine = _checkpoints(self._engine)
        self._trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self._best: dict[str, Tensor] | None = None

    def forward(self, *inputs: Any) -> Tensor:
        # DeepSpeed's own autocast takes this setting; see `learn.engine.autocast`.
        before = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)
        try:
            return self._engine(*inputs)
        finally:
            torch.set_autocast_cache_enabled(before)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        # DeepSpeed averages gradients over workers; the contract is their sum.
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss * self.workers, scale_wrt_gas=False)

    def expect(self, tokens: int) -> None:
        pass

    def train_head_alone(self, alone: bool) -> None:
        assert not alone, "refused when the engine is built"

    def step(self, lr: float) -> None:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        self._engine.step()

    def snapshot(self) -> None:
        if self._best is None:
            self._best = {
                name: torch.empty_like(self._own(p), device="cpu")
                for name, p in self._trained.items()
            }
        for name, kept in self._best.items():
            kept.copy_(self._own(self._trained[name]))

    @torch.no_grad()
    def restore(self) -> None:
        assert self._best is not None, "nothing to restore: no snapshot was taken"
        for name, kept in self._best.items():
            self._own(self._trained[name]).copy_(kept)
        if self.sharded:
            self._refresh_whole_parameters()

    def save(self, folder: Path) -> None:
        self._engine.save_checkpoint(
            str(folder), tag=TAG, save_latest=False, exclude_frozen_parameters=True
        )
        for script in folder.glob(SCRIPTS) if self.rank == 0 else ():
            script.unlink()
        if self._best is not None:
            save_file(self._best, folder / f"best-{self.rank}.safetensors")

    def load(self, folder: Path) -> None:
        where, _ = self._engine.load_checkpoint(
            str(folder), tag=TAG, load_module_strict=False, load_lr_scheduler_states=False
        )
        if where is None:
            raise InputError(
                f"{folder} holds no DeepSpeed state for {self.workers} worker(s) at stage "
                f"{self._stage}; resume with the workers it was written by, or delete it"
            )
        best = folder / f"best-{self.rank}.safetensors"
        self._best = load_file(best) if best.exists() else None

    def export(self, folder: Path) -> None:
        import deepspeed

        state: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            with deepspeed.zero.GatheredParameters([parameter], enabled=self.sharded):
                if self.rank == 0:
                    state[name] = parameter.detach().to("cpu", torch.float32, copy=True)
        if self.rank == 0:
            self.model.export(state, folder)
        if self.workers > 1:
            distributed.barrier()

    def _own(self, parameter: Any) -> Tensor:
        """The part of a parameter that this worker holds."""
        return parameter.ds_tensor if self.sharded else parameter.detach()

    def _refresh_whole_parameters(self) -> None:
        """Drop whole copies that stage 3 keeps of small parameters, and gather them anew."""
        from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus

        held: list[Any] = [
            p
            for p in self._trained.values()
            if p.ds_status == ZeroParamStatus.AVAILABLE  # pyright: ignore
        ]
        if held:
            held[0].partition(held, has_been_updated=False)
            held[0].all_gather(held)


def _deepspeed(on_gpu: bool) -> Any:
    """The deepspeed module, set to compile nothing on a machine without a GPU.

    Its CPU communication op takes minutes to build, and a build that is killed half-way leaves a
    lock that hangs the next one.
    """
    if not on_gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    import deepspeed
    import deepspeed.ops

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    if not on_gpu:
        deepspeed.ops.__compatible_ops__ = {}  # pyright: ignore
    return deepspeed


def _checkpoints(engine: Any) -> Any:
    from w2s_ray.learn.deepspeed_state import TensorCheckpoints

    return TensorCheckpoints(engine)


def join_group(on_gpu: bool) -> Any:
    """Make DeepSpeed use the process group, after making one if there is none; the module.

    A group made here lives as long as the process: DeepSpeed keeps references to it between fits.
    """
    deepspeed = _deepspeed(on_gpu)
    backend = "nccl" if on_gpu else "gloo"
    if not distributed.is_initialized():
        atexit.register(_leave_group)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            distributed.init_process_group(backend)
        else:
            store = distributed.HashStore()
            distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    local = torch.cuda.current_device() if on_gpu else distributed.get_rank()
    os.environ.setdefault("LOCAL_RANK", str(local))  # DeepSpeed refuses to start without it
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)
    return deepspeed


def _leave_group() -> None:
    """Gloo's threads may abort a process that ends with its group (pytorch issue 190489)."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _shard_while_loading(settings: dict[str, Any]) -> Any:
    """An object that, while it lives, makes transformers load weights already sharded."""
    from transformers.integrations.deepspeed import HfDeepSpeedConfig

    return HfDeepSpeedConfig(settings)


def _gather_with_their_layers(model: FormModel) -> None:
    """Make ZeRO-3 gather parameters together where its own way, by calls of modules, is wrong.

    peft keeps the adapters of an embedding in a dictionary. A head over the vocabulary is called
    once, but calls its own parts once for each chunk, and workers have different numbers of chunks.
    """
    import deepspeed
    from deepspeed.utils import set_z3_leaf_module

    if isinstance(model, LanguageModel) and model.parts is not None:
        set_z3_leaf_module(model.parts.head, True)
    for module in model.modules():
        for child in module.children():
            for parameter in child.parameters() if isinstance(child, nn.ParameterDict) else ():
                deepspeed.zero.register_external_parameter(module, parameter)


def _forget_models() -> None:
    """Have DeepSpeed's modules forget the models of this process.

    ZeRO-3 keeps each in a list, and in a cache without a limit, and with it the weights and the
    optimizer's state: a group's memory would grow by a whole model with each fit.
    """
    from deepspeed.runtime.zero import parameter_offload
    from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator

    parameter_offload.FWD_MODULE_STACK.clear()
    cached: Any = vars(PartitionedParameterCoordinator)[
        "_PartitionedParameterCoordinator__params_to_release"
    ]
    for cell in cached.__closure__:
        if hasattr(cell.cell_contents, "cache_clear"):
            cell.cell_contents.cache_clear()


def _adamw(trained: list[nn.Parameter], training: Training, *, fused: bool) -> Any:
    """The optimizer of the weights `trained`; None where there are none."""
    if not trained:
        return None
    return torch.optim.AdamW(
        trained,
        lr=training.lr,
        betas=training.betas,
        weight_decay=training.weight_decay,
        fused=fused,
    )


def _settings(
    training: Training, execution: Execution, workers: int, on_gpu: bool
) -> dict[str, Any]:
    """DeepSpeed's configuration. Batch sizes in it only describe; the loop marks the boundaries."""
    micro = execution.rows_at_once(training.batch_size)
    accumulation = -(-training.batch_size // (micro * workers))
    zero: dict[str, Any] = {
        "stage": execution.zero_stage,
        "reduce_bucket_size": 50_000_000,
        "allgather_bucket_size": 50_000_000,
        "overlap_comm": on_gpu,
        "contiguous_gradients": True,
    }
    if execution.zero_stage == 3:
        del zero["allgather_bucket_size"]
    if execution.offload == "cpu":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": on_gpu}
        if execution.zero_stage == 3:
            zero["offload_param"] = {"device": "cpu", "pin_memory": on_gpu}
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": accumulation,
        "train_batch_size": micro * accumulation * workers,
        "gradient_clipping": training.clip_norm or 0.0,
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**12,
    }
    if training.precision == "bf16":
        settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return settings
