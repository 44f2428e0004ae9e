"""What every form gives to training: a model with a head, and data with its step and predictions.

Owns the contract between a form and the loop, and the cases that most forms share. A form is one
file beside this one; the loop and the engines call these methods and name no form. Ground truth is
not here: labels are the values in the data. Shapes: B rows, L tokens, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from w2s_ray.learn.adapters import merged_adapters
from w2s_ray.learn.contract import Arrays, Predicted
from w2s_ray.learn.loading import no_progress_bars

if TYPE_CHECKING:
    import numpy as np

    from w2s_ray.learn.engine import Engine
    from w2s_ray.methods.losses import Loss

R = TypeVar("R")


class FormModel(nn.Module):
    """A pretrained backbone and a form's head. Rows are padded on the right.

    A subclass gives `forward`, which takes what the form's rows are padded into, and `pooled`.
    """

    def __init__(self, backbone: Any, *, width: int, causal: bool, pad_id: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = width
        self.causal = causal
        self.pad_id = pad_id

    def pooled(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """One vector for each row, computed where the head reads the row."""
        raise NotImplementedError

    def export(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write the whole model's weights `state` to `folder` as a pretrained model.

        The folder can be a `ModelSource`'s location again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        backbone: Any = self.backbone
        inner = backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone
        with no_progress_bars():
            inner.save_pretrained(folder, state_dict=self.exported(state, inner))

    def exported(self, state: Mapping[str, Tensor], inner: Any) -> dict[str, Tensor]:
        """The weights of the backbone `inner` under their pretrained names, adapters merged."""
        prefix = "backbone."
        weights = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        return merged_adapters(self.backbone, weights)


class FormData(ABC):
    """The rows and labels of one fit, and how its form trains, predicts and judges them.

    A subclass is a frozen dataclass.
    """

    train: Any
    """Rows that are trained on."""
    validation: Any
    """Rows whose labels decide early stopping."""
    predict: Mapping[str, Any]
    """Parts that the trained model predicts, by name."""

    def part(self, name: str) -> Any:
        """The rows of a part that can be predicted: validation, or one of `predict`."""
        return self.validation if name == "validation" else predicted_part(self.predict, name)

    def prepared(self, loss: Loss) -> Loss:
        """The recipe's loss with the settings that depend on the training labels."""
        return loss

    @abstractmethod
    def step(
        self,
        rows: np.ndarray,
        *,
        engine: Engine,
        loss: Loss,
        recent: list[float],
        progress: float,
        micro_batch: int,
    ) -> Tensor:
        """Forward and backward passes over the global batch `rows`; this worker's part of the loss.

        `loss` is prepared; `recent` holds the latest predictions of class 1, as many as the loss
        remembers, and is brought up to date. `progress` is steps done over all steps.
        """

    @abstractmethod
    def predictions(self, engine: Engine, part: str, *, batch: int) -> Arrays:
        """Predictions of a part by the present weights."""

    @abstractmethod
    def judge(self, found: Arrays) -> tuple[float | None, float]:
        """Predictions of validation against its labels: agreement, if there are any, and loss."""

    @abstractmethod
    def predicted(self, found: Arrays) -> Predicted:
        """Predictions in the form that observers and results have."""

    def results(self, found: Mapping[str, Arrays]) -> tuple[dict[str, Predicted], dict[str, float]]:
        """Part -> predictions, and part -> nats a token of running text."""
        return {part: self.predicted(arrays) for part, arrays in found.items()}, {}


def predicted_part(parts: Mapping[str, R], name: str) -> R:
    """The part `name` of `parts`.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in parts:
        raise ValueError(f"no part {name!r} is predicted; choose one of {sorted(parts)}")
    return parts[name]
