"""A model in use on one device, without training: passes without gradients, and completions.

Owns loading a model to a device, its precision, and the sum over workers that each hold the whole
model. It has no optimizer and no gradients, and in bf16 the frozen weights of linear layers are the
checkpoint's own. The training engines extend it; sharding is theirs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from w2s_ray.config import Execution, FormName, ModelSource, Training
from w2s_ray.config.tuning import Base, Tuning, base_of
from w2s_ray.learn.device_rows import DeviceRows
from w2s_ray.learn.engine import CLASSES, autocast
from w2s_ray.learn.forms.classes import TwoClass
from w2s_ray.learn.forms.language import LanguageModel
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.frozen_weights import count, hold_frozen_in_bf16
from w2s_ray.learn.group import Group
from w2s_ray.learn.kernels import prepare_for_gpu
from w2s_ray.learn.models import begin_with_head, build_model
from w2s_ray.learn.padding import check_padding
from w2s_ray.learn.sampling import TokenDraw


class Inference:
    """`InferenceEngine` on the device of this process: a GPU, if there is one to be used."""

    by_rows_on_cpu = True

    sharded = False
    """Whether workers share the weights, so that all must make every pass."""

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
        """`tuning` says which weights get gradients; None of them by default."""
        self._group = self._joined(execution)
        self.rank, self.workers = self._group.rank, self._group.workers
        self.device = self._group.device
        self.device_rows = DeviceRows(self.device)
        self._bf16 = training.precision == "bf16"
        self._base: Base | None = base_of(training.tuning)
        self.model: FormModel = self._loaded(
            training,
            source=source,
            execution=execution,
            seed=seed,
            form=form,
            classes=classes,
            tuning=tuning,
        )
        self.parameters = sum(map(count, self.model.parameters()))
        self.trained_parameters = sum(count(p) for p in self.model.parameters() if p.requires_grad)
        self.compiled = False

    def _joined(self, execution: Execution) -> Group:
        """The workers of the fit."""
        return Group.of(execution)

    def _loaded(
        self,
        training: Training,
        *,
        source: ModelSource,
        execution: Execution,
        **named: Any,
    ) -> FormModel:
        """The model on the device."""
        model = self._built(source=source, execution=execution, **named)
        begin_with_head(model, source)
        model = model.to(self.device)
        self._check(model, source)
        return model

    def _built(self, *, execution: Execution, **named: Any) -> FormModel:
        """The model as it was loaded from its files, with its frozen weights in their precision."""
        model = build_model(
            activation_checkpointing=execution.activation_checkpointing,
            attention=execution.attention,
            base=self._base,
            **named,
        )
        if self._bf16:
            hold_frozen_in_bf16(model, on_any=self._group.any_of)
        if self.device.type == "cuda":
            prepare_for_gpu(model)
        return model

    def _check(self, model: FormModel, source: ModelSource) -> None:
        with autocast(self.device, enabled=self._bf16):
            check_padding(model, source=source, device=self.device)

    def forward(self, *inputs: Any) -> Tensor:
        with autocast(self.device, enabled=self._bf16):
            return self.model(*inputs)

    def activations(self, *inputs: Any) -> Tensor:
        assert isinstance(self.model, TwoClass)
        with autocast(self.device, enabled=self._bf16):
            return self.model.activations(*inputs).float()

    def complete(
        self,
        input_ids_BL: Tensor,
        mask_BL: Tensor,
        *,
        most: int,
        stop_id: int,
        draw: TokenDraw | None = None,
    ) -> Tensor:
        assert isinstance(self.model, LanguageModel)
        # A cache of keys and values grows with every token; compiled, each length is a version.
        half = autocast(self.device, enabled=self._bf16, keeps_casts=True)
        with half, torch.compiler.set_stance("force_eager"):
            return self.model.complete(
                input_ids_BL,
                mask_BL,
                most=most,
                stop_id=stop_id,
                together=self.sharded,
                draw=draw,
            )

    def sum_over_workers(self, values: Tensor) -> Tensor:
        return self._group.sum(values)

    def agree(self, decision: int) -> int:
        return self._group.agree(decision)

    def close(self) -> None:
        pass
