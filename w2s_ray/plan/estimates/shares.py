"""`gpus_per_worker: auto`: the share of a GPU that each fit of a plan gets, by its memory.

Owns the replacement of `auto` in a plan by numbers, for given nodes. A share has room on every GPU
that the fit may get. A fit whose memory can't be estimated gets a whole GPU, with the reason. GPUs
of unknown memory are refused. These are pure functions; they start no fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from w2s_ray.config import FORMS, Execution, FitRecipe, ModelSource
from w2s_ray.config.accelerators import matching_accelerators
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.plan.estimates.memory import memory
from w2s_ray.plan.estimates.placement import gpu_fraction
from w2s_ray.plan.graph import Plan, PlannedStudy
from w2s_ray.plan.nodes import ACCELERATOR, Nodes, ResourceError

CHANGES_MEMORY = tuple(
    f"training.{name}"
    for name in ("tuning", "batch_size", "max_tokens", "precision", "answer_tokens")
)
"""Settings on which memory depends. If a search changes one, its trials have no common share."""


@dataclass(frozen=True)
class GpuShare:
    """The GPUs of one worker."""

    gpus: float
    reason: str = ""
    """Why it is a whole GPU, if the memory is not the reason."""


def resolve_gpu_shares(plan: Plan, sizes: InputSizes, nodes: Nodes) -> Plan:
    """`plan` with every `gpus_per_worker: auto` replaced by a number for `nodes`.

    Raises:
        ResourceError: GPUs of `nodes` with unknown memory.
    """

    def resolved(
        recipe: FitRecipe, source: ModelSource, execution: Execution, keys: Iterable[str] = ()
    ):
        if execution.gpus_per_worker != "auto":
            return execution
        share = gpu_share(recipe, source, execution, sizes=sizes, nodes=nodes, searched=keys)
        return execution.model_copy(update={"gpus_per_worker": share.gpus})

    def resolved_study(study: PlannedStudy) -> PlannedStudy:
        keys, recipe = study.recipe.space, study.recipe
        between_recipes = recipe.between or ((),) * len(study.between)
        cells = zip(recipe.cells, study.sources, study.executions, strict=True)
        between = tuple(
            tuple(
                (source, resolved(cell, source, execution, keys))
                for cell, (source, execution) in zip(recipes, models, strict=True)
            )
            for recipes, models in zip(between_recipes, study.between, strict=True)
        )
        return replace(
            study, executions=tuple(resolved(*cell, keys) for cell in cells), between=between
        )

    return replace(
        plan,
        fits={
            id_: replace(fit, execution=resolved(fit.recipe, fit.source, fit.execution))
            for id_, fit in plan.fits.items()
        },
        studies={id_: resolved_study(study) for id_, study in plan.studies.items()},
    )


def whole_gpu_reasons(plan: Plan, sizes: InputSizes, nodes: Nodes) -> dict[str, str]:
    """Model -> why each of its fits gets a whole GPU under `auto`."""
    reasons: dict[str, str] = {}
    for fit in plan.fits.values():
        if fit.execution.gpus_per_worker == "auto":
            share = gpu_share(fit.recipe, fit.source, fit.execution, sizes=sizes, nodes=nodes)
            if share.reason:
                reasons[fit.source.name] = share.reason
    return reasons


def gpu_share(
    recipe: FitRecipe,
    source: ModelSource,
    execution: Execution,
    *,
    sizes: InputSizes,
    nodes: Nodes,
    searched: Iterable[str] = (),
) -> GpuShare:
    """The share of a GPU for a fit on `nodes`; `searched` are the settings that trials vary."""
    if not nodes.total("GPU") and execution.accelerator_type is None:
        return GpuShare(0.0)
    if execution.workers > 1:
        return GpuShare(1.0)
    model = sizes.architecture(source)
    changed = [key for key in searched if key.startswith(CHANGES_MEMORY)]
    not_estimated = FORMS[recipe.form].not_estimated
    if not_estimated is not None:
        return GpuShare(1.0, not_estimated)
    if isinstance(model, str):
        return GpuShare(1.0, model)
    if changed:
        return GpuShare(1.0, f"its search varies {changed[0]}, on which memory depends")
    needed = memory(
        model,
        training=recipe.training,
        execution=execution,
        longest=_longest(recipe, source, sizes, most=model.longest),
    )
    room = min(_memories(execution, nodes))
    fraction = gpu_fraction(needed, room)
    if fraction is None:
        return GpuShare(1.0, "its estimated memory is more than one GPU has")
    return GpuShare(fraction)


def _longest(
    recipe: FitRecipe, source: ModelSource, sizes: InputSizes, *, most: int | None
) -> float:
    """Tokens of the longest row that the fit reads; the upper bound if they are not counted."""
    bound = recipe.training.max_tokens
    parts = dict.fromkeys((recipe.train_on, "validation", *recipe.predicts))
    of_parts = [sizes.lengths(recipe.split, part, source, max_tokens=bound) for part in parts]
    if any(lengths.source != "tokenized" for lengths in of_parts):
        return float(min(bound, most or bound))
    return max(lengths.at(1.0) for lengths in of_parts)


def _memories(execution: Execution, nodes: Nodes) -> list[float]:
    """Memory in bytes of each type of GPU that a fit may get.

    Raises:
        ResourceError: the type of a GPU, or the memory of a type, is unknown.
    """
    if execution.accelerator_type is not None:
        names = {execution.accelerator_type}
    else:
        kinds = [kind for kind in nodes.kinds if kind.most > 0 and kind.resources.get("GPU")]
        named = [
            [n.removeprefix(ACCELERATOR) for n in kind.resources if n.startswith(ACCELERATOR)]
            for kind in kinds
        ]
        unnamed = [kind.name for kind, names in zip(kinds, named, strict=True) if not names]
        if unnamed:
            raise ResourceError(
                "execution.gpus_per_worker is auto, but the GPU type of node type "
                f"{unnamed[0]} is unknown; set execution.accelerator_type, or add "
                "`accelerator_type:L4` to its resources, or set gpus_per_worker to a number"
            )
        names = {name for of_kind in named for name in of_kind}
    by_name = {name: matching_accelerators(name) for name in names}
    for name, devices in by_name.items():
        if not devices:
            raise ResourceError(
                f"execution.gpus_per_worker is auto, but the memory of accelerator {name} is "
                "unknown; set gpus_per_worker to a number"
            )
    return [device.bytes for devices in by_name.values() for device in devices]
