"""Activations of a pretrained model, which transforms of labels can use besides the labels.

Owns the one pass over rows, on one device, without training anything, and its file cache. It reads
no labels. Shapes: B rows of a pass, N rows in all, D width of the model.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from w2s_ray.config import Execution, FormName, FullTuning, ModelSource, Training
from w2s_ray.learn.rows import PairRows
from w2s_ray.learn.tokens import TokenRows


def activations(
    rows: TokenRows | PairRows,
    *,
    source: ModelSource,
    training: Training,
    execution: Execution,
    form: FormName = "classes",
) -> np.ndarray:
    """The pretrained model's last hidden state of each row where its head would read it, fp32.

    Of a pair, the first text's minus the second's, as its head would compare them.
    """
    import torch

    from w2s_ray.learn.batches import layout
    from w2s_ray.learn.engine import to_device
    from w2s_ray.learn.forms.classes import TwoClass
    from w2s_ray.learn.models import build_model
    from w2s_ray.learn.padding import check_padding

    on_gpu = torch.cuda.is_available() and execution.gpus_per_worker != 0
    device = torch.device("cuda" if on_gpu else "cpu")
    model = build_model(source, tuning=FullTuning(), seed=0, form=form).to(device)
    assert isinstance(model, TwoClass)
    check_padding(model, source=source, device=device)
    found_ND: np.ndarray | None = None
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16")
    with torch.no_grad(), mixed:
        for micro in layout(rows.lengths, workers=1, micro_batch=execution.evaluation_batch)[0]:
            input_ids_BL, lengths_B = rows.pad(micro.positions, model.pad_id)
            inputs = (to_device(input_ids_BL, device), to_device(lengths_B, device))
            found_BD = model.activations(*inputs).float().numpy(force=True)
            if found_ND is None:
                found_ND = np.zeros((len(rows), found_BD.shape[1]), dtype=np.float32)
            found_ND[micro.positions] = found_BD
    assert found_ND is not None, "there are no rows"
    return found_ND


def cached(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """`make()`, or what an earlier call left at `path`; a reader never sees half a file."""
    try:
        return np.load(path, allow_pickle=False)
    except (FileNotFoundError, EOFError, ValueError):
        made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, made)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return made
