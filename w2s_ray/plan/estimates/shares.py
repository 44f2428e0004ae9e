"""The share of a GPU and the micro-batch that each fit of a plan gets, by its memory.

Owns the replacement of `auto` in a plan by numbers, for given nodes. A share has room on every GPU
that the fit may get. A fit whose memory can't be estimated gets a whole GPU, with the reason; with
`gpus_per_worker: auto`, GPUs of unknown memory are refused. These are pure functions; they start no
fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from w2s_ray.config import FORMS, Execution, FitRecipe, ModelSource
from w2s_ray.config.accelerators import matching_accelerators
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.plan.estimates.memory import Memory, fit_memory
from w2s_ray.plan.estimates.placement import fits_on_device, gpu_fraction
from w2s_ray.plan.graph import Plan, PlannedFit, PlannedStudy
from w2s_ray.plan.nodes import ACCELERATOR, Nodes, ResourceError

CHANGES_MEMORY = tuple(
    f"training.{name}"
    for name in (
        *("tuning", "batch_size", "max_tokens", "precision", "answer_tokens"),
        *("weight_decay_to", "pair_model"),
    )
)
"""Settings on which memory depends. If a search changes one, its trials have no common share."""


@dataclass(frozen=True)
class GpuShare:
    """The GPUs of one worker."""

    gpus: float
    reason: str = ""
    """Why it is a whole GPU, if the memory is not the reason."""


def resolve_gpu_shares(plan: Plan, sizes: InputSizes, nodes: Nodes) -> Plan:
    """`plan` with every share and micro-batch that depends on memory set for `nodes`.

    Raises:
        ResourceError: GPUs of `nodes` with unknown memory.
    """

    def resolved(
        recipe: FitRecipe, source: ModelSource, execution: Execution, keys: Iterable[str] = ()
    ) -> Execution:
        given = {"sizes": sizes, "nodes": nodes, "searched": tuple(keys)}
        if execution.micro_batch == "auto":
            rows = fitting_rows(recipe, source, execution, **given)
            execution = execution.model_copy(update={"micro_batch": rows})
        if not _by_memory(execution, nodes):
            return execution
        share = gpu_share(recipe, source, execution, **given)
        return execution.model_copy(update={"gpus_per_worker": share.gpus})

    def resolved_study(study: PlannedStudy) -> PlannedStudy:
        keys, recipe = study.recipe.space, study.recipe
        between_recipes = recipe.between or ((),) * len(study.between)
        cells = zip(recipe.cells, study.sources, study.executions, strict=True)
        between = tuple(
            tuple(
                (source, resolved(cell, source, execution, keys))
                for cell, (source, execution) in zip(recipes, those, strict=True)
            )
            for recipes, those in zip(between_recipes, study.between, strict=True)
        )
        return replace(
            study, executions=tuple(resolved(*cell, keys) for cell in cells), between=between
        )

    def resolved_fit(fit: PlannedFit) -> PlannedFit:
        return replace(fit, execution=resolved(fit.recipe, fit.source, fit.execution))

    return replace(
        plan,
        fits={id_: resolved_fit(fit) for id_, fit in plan.fits.items()},
        studies={id_: resolved_study(study) for id_, study in plan.studies.items()},
        later_fits={
            id_: replace(later, run=resolved_fit(later.run))
            for id_, later in plan.later_fits.items()
        },
        later_studies={
            id_: replace(later, run=resolved_study(later.run))
            for id_, later in plan.later_studies.items()
        },
    )


def whole_gpu_reasons(plan: Plan, sizes: InputSizes, nodes: Nodes) -> dict[str, str]:
    """Model -> why each of its fits gets a whole GPU, although shares may depend on memory."""
    reasons: dict[str, str] = {}
    for fit in plan.fits.values():
        if _by_memory(fit.execution, nodes):
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
    if not _has_gpus(execution, nodes):
        return GpuShare(0.0)
    if execution.workers > 1:
        return GpuShare(1.0)
    model = _estimated(recipe, source, sizes=sizes, searched=searched)
    if isinstance(model, str):
        return GpuShare(1.0, model)
    room = _room(execution, nodes)
    if isinstance(room, str):
        return GpuShare(1.0, room)
    needs = _memory_of(recipe, source, sizes, model=model)
    fraction = gpu_fraction(needs(execution), room)
    if fraction is None:
        return GpuShare(1.0, "its estimated memory is more than one GPU has")
    return GpuShare(fraction)


def fitting_rows(
    recipe: FitRecipe,
    source: ModelSource,
    execution: Execution,
    *,
    sizes: InputSizes,
    nodes: Nodes,
    searched: Iterable[str] = (),
) -> int | Literal["auto"]:
    """The largest of equal micro-batches with which a fit has room on its GPU or its share.

    `auto` if that can't be estimated: the whole batch, and less after memory has run out.
    """
    model = _estimated(recipe, source, sizes=sizes, searched=searched)
    if not _has_gpus(execution, nodes) or isinstance(model, str):
        return "auto"
    room = _room(execution, nodes)
    if isinstance(room, str):
        return "auto"
    given = execution.gpus_per_worker
    if isinstance(given, float | int):
        room *= min(1.0, given)
    needs = _memory_of(recipe, source, sizes, model=model)
    whole = execution.rows_at_once(recipe.training.batch_size)
    for rows in dict.fromkeys(-(-whole // passes) for passes in range(1, whole + 1)):
        tried = execution.model_copy(update={"micro_batch": rows})
        if fits_on_device(needs(tried), room):
            return rows
    return "auto"


def _by_memory(execution: Execution, nodes: Nodes) -> bool:
    """Whether a fit's share depends on its memory: with `auto`, and by default for a fit with one
    worker on nodes with GPUs.
    """
    if execution.gpus_per_worker is None:
        return execution.workers == 1 and _has_gpus(execution, nodes)
    return execution.gpus_per_worker == "auto"


def _has_gpus(execution: Execution, nodes: Nodes) -> bool:
    if execution.gpus_per_worker == 0:
        return False
    return nodes.total("GPU") > 0 or execution.accelerator_type is not None


def _estimated(
    recipe: FitRecipe, source: ModelSource, *, sizes: InputSizes, searched: Iterable[str]
) -> Architecture | str:
    """The architecture of a fit's model, or why its memory isn't estimated."""
    not_estimated = FORMS[recipe.form].not_estimated
    if not_estimated is not None:
        return not_estimated
    changed = [key for key in searched if key.startswith(CHANGES_MEMORY)]
    model = sizes.architecture(source)
    if changed and not isinstance(model, str):
        return f"its search varies {changed[0]}, on which memory depends"
    return model


def _room(execution: Execution, nodes: Nodes) -> float | str:
    """Bytes of the smallest GPU that a fit may get, or why they are unknown.

    Raises:
        ResourceError: they are unknown, and `gpus_per_worker` is auto.
    """
    try:
        return min(_memories(execution, nodes))
    except ResourceError:
        if execution.gpus_per_worker == "auto":
            raise
        return "the memory of the GPUs is unknown"


def _memory_of(
    recipe: FitRecipe, source: ModelSource, sizes: InputSizes, *, model: Architecture
) -> Callable[[Execution], Memory]:
    """The memory of a fit, by its execution."""
    most = recipe.training.max_tokens
    rows = sizes.lengths(recipe.split, recipe.train_on, source, max_tokens=most)
    longest = _longest(recipe, source, sizes, most=model.longest)
    of_rows = {"choices": rows.choices, "classes": rows.classes}
    return partial(fit_memory, recipe, model=model, longest=longest, **of_rows)


def _longest(
    recipe: FitRecipe, source: ModelSource, sizes: InputSizes, *, most: int | None
) -> float:
    """Tokens of the longest row that the fit reads; the upper bound if they are not counted."""
    bound = recipe.training.max_tokens
    parts = dict.fromkeys((recipe.train_on, "validation", *recipe.predicts))
    found = [sizes.lengths(recipe.split, part, source, max_tokens=bound) for part in parts]
    if any(lengths.source != "tokenized" for lengths in found):
        return float(min(bound, most or bound))
    return max(lengths.at(1.0) for lengths in found)


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
