"""Whether padding changes what a model computes, tried on the model itself.

Owns one small forward pass at a model's first use. A decoder is read without a mask, since no token
looks to its right; a model that does so all the same would give a row other results in every batch.
Shapes: B rows, L tokens.
"""

from __future__ import annotations

from typing import Any

import torch

from w2s_ray.config import ModelSource
from w2s_ray.errors import InputError
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.loading import called

_REAL = 2
"""Tokens of the row that is read."""
_TOLERANCE = 1e-4
"""Largest difference, relative to the largest value, that is rounding: both rows have one shape."""


@torch.no_grad()
def check_padding(model: FormModel, *, source: ModelSource, device: torch.device) -> None:
    """Read one row with two paddings; all workers of a fit call it alike.

    Raises:
        InputError: the results differ, or the model can't read tokens alone.
    """
    config: Any = model.backbone.config
    rows = config.get_text_config().vocab_size
    input_ids_BL = torch.tensor([[1, 2, 3, 3], [1, 2, 4, 4]], device=device) % rows
    lengths_B = torch.full((len(input_ids_BL),), _REAL, device=device)
    try:
        found_BD = model.pooled(input_ids_BL, lengths_B)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{called(source)} can't be read from tokens alone: {' '.join(str(error).split())}; "
            "name a causal language model or a BERT-like encoder"
        ) from error
    difference = float((found_BD[0] - found_BD[1]).abs().max())
    if difference > _TOLERANCE * float(found_BD.abs().max()):
        raise InputError(
            f"{called(source)} looks at tokens on both sides (bidirectional attention): padding "
            f"changes its output by {difference:.2g}; name a causal language model or a BERT-like "
            "encoder"
        )
