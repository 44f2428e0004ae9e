"""A model with a form's head, as the engines train it.

Owns what the heads of all forms share: the pretrained backbone, and writing it back in the
pretrained format. Shapes: B rows, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from w2s_ray.learn.adapters import merged_adapters
from w2s_ray.learn.engine import CLASSES
from w2s_ray.learn.loading import no_progress_bars


class FormModel(nn.Module):
    """A pretrained backbone and a form's head. Rows are padded on the right.

    A subclass gives `forward`, which takes what the form's rows are padded into, and `pooled`.
    `classes` is the number of classes of a row, for heads with an output for each.
    """

    def __init__(
        self, backbone: Any, *, width: int, causal: bool, pad_id: int, classes: int = CLASSES
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = width
        self.causal = causal
        self.classes = classes
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
