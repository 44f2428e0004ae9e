"""The features of a part's rows for a probe, made once per machine.

Owns where they come from (a feature file, or a frozen model that looks at the task's images) and
their file cache. It knows no labels, no settings of training and no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from w2s_ray.config import Task
from w2s_ray.data.cache import cache_folder
from w2s_ray.data.images import FEATURE_FILES, features_in, images_of
from w2s_ray.identity import digest
from w2s_ray.plan import PlannedFit


def features(
    fit: PlannedFit, task: Task, part: str, ids: Sequence[str], *, contents: Sequence[str]
) -> np.ndarray:
    """The features that `fit`'s model has of the rows `ids` of `task`, float32 [N, D].

    `contents` are the rows' texts: hashes of their images.

    Raises:
        ValueError: a row without features or image, or a model that can't be used.
    """
    import torch

    from w2s_ray.learn.activations import cached
    from w2s_ray.learn.vision import features_of

    location = Path(fit.source.location)
    if location.suffix in FEATURE_FILES:
        return features_in(location, ids)
    on_gpu = torch.cuda.is_available() and fit.execution.gpus_per_worker != 0
    key = digest([fit.recipe.split, part, fit.recipe.model])
    return cached(
        cache_folder() / "features" / f"{key[:32]}.npy",
        lambda: features_of(
            images_of(task, ids, contents=contents),
            source=fit.source,
            on_gpu=on_gpu,
            batch=fit.execution.evaluation_batch,
        ),
    )
