"""The head of kept weights, read without its model: class probabilities of stored activations.

It reads what `export` of the forms `classes`, `pairs` and `features` writes. Shapes: N rows, D
width, H numbers that the head gives a row, C classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from w2s_ray.learn.forms.classes import HEAD_FILE
from w2s_ray.learn.forms.features import FILE as PROBE_FILE

_FILES = (HEAD_FILE, PROBE_FILE)
"""Of a language model's head, and of a probe on features."""


def head_probabilities(folder: Path, activations_ND: np.ndarray) -> np.ndarray:
    """The class probabilities that the head in `folder` gives activations, float32 [N, C].

    A head of one number is that of pairs, and these activations are differences of two texts.
    """
    tensors = load_file(next(folder / name for name in _FILES if (folder / name).exists()))
    weight_HD = tensors["weight"].astype(np.float64)
    logits_NC = activations_ND.astype(np.float64) @ weight_HD.T + tensors.get("bias", 0.0)
    if len(weight_HD) == 1:
        logits_NC = np.concatenate([np.zeros_like(logits_NC), logits_NC], axis=1)
    raised_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return (raised_NC / raised_NC.sum(axis=1, keepdims=True)).astype(np.float32)
