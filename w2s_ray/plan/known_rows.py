"""The check that each slice of ground truth has as many rows as its part of the split.

Owns this check, with the settings of the sweep file. A search may try larger slices; their fits
fail with the same message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from w2s_ray.config.stages import Stage, kind_of
from w2s_ray.errors import InputError
from w2s_ray.methods.transforms import Transform
from w2s_ray.plan.graph import Plan


def check_known_rows(plan: Plan) -> None:
    """Refuse slices with more rows than their part.

    Raises:
        InputError: names the task, the stage and the rows that there are.
    """
    known = (split for split in plan.inputs.splits.values() if not split.provisional)
    counts = {split.fingerprint: split.counts for split in known}
    for task, split, stages in _stages(plan):
        for stage in stages:
            truth = stage.truth_slice if isinstance(stage, Transform) else None
            if truth is None or split not in counts:
                continue
            try:
                truth.check(available=counts[split][truth.of])
            except InputError as error:
                raise InputError(f"task {task}: stages.{kind_of(stage)}.{error}") from None


def _stages(plan: Plan) -> Iterator[tuple[str, str, Iterable[Stage]]]:
    """Task, split and stages of each fit and of each cell of a study."""
    for fit in (*plan.fits.values(), *(later.run for later in plan.later_fits.values())):
        yield fit.task, fit.recipe.split, fit.recipe.labels.transforms
    for study in plan.every_study:
        for task, cell in zip(study.tasks, study.recipe.cells, strict=True):
            yield task, cell.split, study.recipe.stages
