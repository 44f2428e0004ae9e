"""The engine of a linear probe: the head alone, trained on a frozen backbone's activations.

Owns what differs from the torch engine: no backbone is loaded, and each worker of a group holds the
whole head and adds its rows' gradient to the others'. Activations are computed in `activations`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from w2s_ray.config import Execution, FormName, ModelSource, Training
from w2s_ray.config.tuning import base_of
from w2s_ray.errors import InputError
from w2s_ray.learn.engine import CLASSES
from w2s_ray.learn.forms import MODELS
from w2s_ray.learn.forms.classes import TwoClass
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.models import begin_with_head, build_model
from w2s_ray.learn.rows import ActivationRows
from w2s_ray.learn.torch_engine import STATE, TorchEngine


class ProbeEngine(TorchEngine):
    """`Engine` for rows that are activations (`ActivationRows`)."""

    def __init__(
        self,
        training: Training,
        *,
        source: ModelSource,
        execution: Execution,
        seed: int,
        form: FormName = "classes",
        classes: int = CLASSES,
        rows: ActivationRows,
    ) -> None:
        """`rows` are any rows that it will get; they give the backbone's sizes."""
        self._width = rows.activations_ND.shape[1]
        self._source, self._tuning = source, training.tuning
        self._head_alone = execution.keep == "head"
        self._whole = {"seed": seed, "form": form, "classes": classes}
        super().__init__(training, source=source, execution=execution, **self._whole)
        self.parameters += rows.frozen_parameters

    def _loaded(
        self, training: Training, *, source: ModelSource, form: FormName, classes: int, **_: Any
    ) -> FormModel:
        made = MODELS[form](None, width=self._width, causal=True, pad_id=0, classes=classes)
        begin_with_head(made, source)
        return made.to(self.device)

    def forward(self, *inputs: Any) -> Tensor:
        assert isinstance(self.model, TwoClass)
        return self.model.logits(*inputs)

    def expect(self, tokens: int) -> None:
        pass

    def step(self, lr: float) -> None:
        for parameter in self._list:
            assert parameter.grad is not None
            self._group.sum(parameter.grad)
        super().step(lr)

    def save(self, folder: Path) -> None:
        if self.rank == 0:
            super().save(folder)

    def load(self, folder: Path) -> None:
        if not (folder / STATE).exists():
            raise InputError(
                f"{folder} holds no state of a probe that is trained on activations; it is of an "
                "earlier version: delete it"
            )
        super().load(folder)

    def export(self, folder: Path) -> None:
        """Write the trained head; beside the backbone as it was loaded from, if that is kept."""
        if self.rank == 0 and self._head_alone:
            assert isinstance(self.model, TwoClass)
            self.model.export_head(self.model.state_dict(), folder)
        elif self.rank == 0:
            whole = build_model(self._source, tuning=self._tuning, **self._whole)
            if base_of(self._tuning) is not None:
                whole.to(self.device)  # where its activations were computed
            whole.load_state_dict(self.model.state_dict(), strict=False)
            whole.export(whole.state_dict(), folder)
        self._group.wait()
