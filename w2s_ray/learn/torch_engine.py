"""The one-device engine: plain PyTorch on a GPU or on the CPU.

Owns AdamW, clipping and its own resume format: tensors as safetensors, never a pickle. Trained
weights and optimizer state are fp32; `bf16` is autocast over them. It has no other workers. Loading
and passes are those of `inference`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from w2s_ray.config import Execution, FormName, ModelSource, Training
from w2s_ray.learn.compute import training_flops
from w2s_ray.learn.engine import CLASSES
from w2s_ray.learn.inference import Inference
from w2s_ray.learn.kernels import COMPILED_FROM, compile_layers

STATE = "state.safetensors"


class TorchEngine(Inference):
    """`Engine` on one device: a GPU where there is one and `gpus_per_worker` isn't 0."""

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
        super().__init__(
            training,
            source=source,
            execution=execution,
            seed=seed,
            form=form,
            classes=classes,
            tuning=training.tuning,
        )
        self._trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self._list = list(self._trained.values())
        self._compile = execution.compile
        # LP-FT has no gradients of the backbone at first, and recomputed layers run in backward.
        self._may_record = (
            training.tuning.kind != "lp_ft" and not execution.activation_checkpointing
        )
        self._graphs = False
        """Whether the launches of a pass are recorded as CUDA graphs."""
        self._clip = training.clip_norm
        self._best: dict[str, Tensor] | None = None
        self._optimizer = torch.optim.AdamW(
            self._list,
            lr=training.lr,
            betas=training.betas,
            weight_decay=training.weight_decay if training.weight_decay_to == "zero" else 0.0,
            fused=True,
        )
        self._decay = training.weight_decay
        self._initial = (
            [p.detach().clone() for p in self._list]
            if training.weight_decay_to == "initial" and training.weight_decay > 0
            else None
        )

    def expect(self, tokens: int) -> None:
        operations = training_flops(
            parameters=self.parameters,
            passed_parameters=self.parameters,
            trained_parameters=self.trained_parameters,
            tokens=tokens,
        )
        pays = self.device.type == "cuda" and operations >= COMPILED_FROM
        if self._compile == "off" or (self._compile == "auto" and not pays):
            return
        self._graphs = self._compile == "max" and self._may_record
        compile_layers(self.model.backbone, graphs=self._graphs)
        self.compiled = True
        for parameter in self._list if self._graphs else ():
            parameter.grad = torch.zeros_like(parameter)  # outside the memory of the graphs

    def forward(self, *inputs: Any) -> Tensor:
        if not self._graphs:
            return super().forward(*inputs)
        if torch.is_grad_enabled():
            torch.compiler.cudagraph_mark_step_begin()
            return super().forward(*inputs)
        with torch.compiler.set_stance("force_eager"):  # evaluations have too many shapes
            return super().forward(*inputs)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        loss.backward()

    def train_head_alone(self, alone: bool) -> None:
        for name, parameter in self._trained.items():
            if not name.startswith("head."):
                parameter.requires_grad_(not alone)

    def step(self, lr: float) -> None:
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(self._list, self._clip)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._decay_to_initial(lr)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=not self._graphs)

    def snapshot(self) -> None:
        if self._best is None:
            self._best = {n: torch.empty_like(p, device="cpu") for n, p in self._trained.items()}
        for name, kept in self._best.items():
            kept.copy_(self._trained[name].detach())

    @torch.no_grad()
    def restore(self) -> None:
        assert self._best is not None, "nothing to restore: no snapshot was taken"
        for name, kept in self._best.items():
            self._trained[name].copy_(kept)

    def save(self, folder: Path) -> None:
        tensors = {f"weight/{name}": p.detach() for name, p in self._trained.items()}
        for name, parameter in self._trained.items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = value
        tensors |= {f"best/{name}": kept for name, kept in (self._best or {}).items()}
        tensors["random/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(self.device)
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / STATE)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        best: dict[str, Tensor] = {}
        for full, value in load_file(folder / STATE).items():
            kind, _, name = full.partition("/")
            match kind:
                case "weight":
                    self._trained[name].copy_(value)
                case "optimizer":
                    key, _, name = name.partition("/")
                    state: dict[str, Any] = self._optimizer.state[self._trained[name]]
                    state[key] = value.to(self.device)
                case "best":
                    best[name] = value
                case "random":
                    self._set_random_state(name, value)
        self._best = best or None

    def export(self, folder: Path) -> None:
        state = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        for name, value in state.items():
            if value.dtype == torch.bfloat16:  # frozen; adapters are merged into it in fp32
                state[name] = value.float()
        self.model.export(state, folder)

    def close(self) -> None:
        if self._graphs:  # they and their memory would stay with this process
            torch.compiler.reset()

    @torch.no_grad()
    def _decay_to_initial(self, lr: float) -> None:
        """AdamW's decoupled decay, towards the weights that training began with."""
        if self._initial is None:
            return
        for parameter, initial in zip(self._list, self._initial, strict=True):
            if parameter.grad is not None:
                parameter.lerp_(initial, lr * self._decay)

    def _set_random_state(self, name: str, value: Tensor) -> None:
        if name == "cpu":
            torch.set_rng_state(value)
        elif self.device.type == "cuda":
            torch.cuda.set_rng_state(value, self.device)
