"""The share of a GPU and the micro-batch that each fit of a plan gets, by its memory.

Owns the way from a plan with `auto` in it to one with numbers, on given nodes. A share is safe on
every GPU that the fit may get. Where memory can't be estimated, a fit gets a whole GPU, with the
reason; a GPU of unknown memory is an error for `gpus_per_worker: auto`. Functions of values: it
places nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from w2s_ray.config import FORMS, Execution, FitRecipe, ModelSource
from w2s_ray.config.accelerators import accelerators_called
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.shapes import Shapes
from w2s_ray.plan.estimates.memory import fit_memory
from w2s_ray.plan.estimates.placing import fits, gpu_fraction
from w2s_ray.plan.graph import Plan, PlannedStudy
from w2s_ray.plan.nodes import ACCELERATOR, Nodes, ResourceError

CHANGES_MEMORY = tuple(
    f"training.{name}"
    for name in (
        *("tuning", "batch_size", "max_tokens", "precision", "answer_tokens"),
        "weight_decay_to",
    )
)
"""Settings on which memory depends; a search of one of them has no one share."""


@dataclass(frozen=True)
class Share:
    """The share of one worker."""

    gpus: float
    why: str = ""
    """Why it is a whole GPU, where memory doesn't say so."""


def settled(plan: Plan, shapes: Shapes, nodes: Nodes) -> Plan:
    """`plan` with every share and micro-batch that memory decides settled for `nodes`.

    Raises:
        ResourceError: GPUs of `nodes` whose memory isn't known.
    """

    def of(recipe: FitRecipe, source: ModelSource, execution: Execution, keys: Iterable[str] = ()):
        given = {"shapes": shapes, "nodes": nodes, "searched": tuple(keys)}
        if execution.micro_batch == "auto":
            rows = fitting_rows(recipe, source, execution, **given)
            execution = execution.model_copy(update={"micro_batch": rows})
        if not _by_memory(execution, nodes):
            return execution
        found = share(recipe, source, execution, **given)
        return execution.model_copy(update={"gpus_per_worker": found.gpus})

    def of_study(study: PlannedStudy) -> PlannedStudy:
        keys, recipe = study.recipe.space, study.recipe
        tried = recipe.between or ((),) * len(study.between)
        cells = zip(recipe.cells, study.sources, study.executions, strict=True)
        between = tuple(
            tuple(
                (source, of(cell, source, execution, keys))
                for cell, (source, execution) in zip(recipes, those, strict=True)
            )
            for recipes, those in zip(tried, study.between, strict=True)
        )
        return replace(study, executions=tuple(of(*cell, keys) for cell in cells), between=between)

    return replace(
        plan,
        fits={
            id_: replace(fit, execution=of(fit.recipe, fit.source, fit.execution))
            for id_, fit in plan.fits.items()
        },
        studies={id_: of_study(study) for id_, study in plan.studies.items()},
    )


def whole_gpus(plan: Plan, shapes: Shapes, nodes: Nodes) -> dict[str, str]:
    """Model -> why its fits get a whole GPU each although memory may decide."""
    found: dict[str, str] = {}
    for fit in plan.fits.values():
        if _by_memory(fit.execution, nodes):
            got = share(fit.recipe, fit.source, fit.execution, shapes=shapes, nodes=nodes)
            if got.why:
                found[fit.source.name] = got.why
    return found


def share(
    recipe: FitRecipe,
    source: ModelSource,
    execution: Execution,
    *,
    shapes: Shapes,
    nodes: Nodes,
    searched: Iterable[str] = (),
) -> Share:
    """The share of a GPU that a fit gets on `nodes`; `searched` are settings that trials change."""
    if not _has_gpus(execution, nodes):
        return Share(0.0)
    if execution.workers > 1:
        return Share(1.0)
    model = _estimated(recipe, source, shapes=shapes, searched=searched)
    if isinstance(model, str):
        return Share(1.0, model)
    room = _room(execution, nodes)
    if isinstance(room, str):
        return Share(1.0, room)
    longest = _longest(recipe, source, shapes, most=model.longest)
    fraction = gpu_fraction(fit_memory(recipe, execution, model=model, longest=longest), room)
    if fraction is None:
        return Share(1.0, "by the estimate it needs more than one GPU has")
    return Share(fraction)


def fitting_rows(
    recipe: FitRecipe,
    source: ModelSource,
    execution: Execution,
    *,
    shapes: Shapes,
    nodes: Nodes,
    searched: Iterable[str] = (),
) -> int | Literal["auto"]:
    """The largest micro-batch of equal ones with which a fit has room on its GPU or share of one.

    `auto` where that can't be estimated: as many rows as there are, fewer once memory runs out.
    """
    model = _estimated(recipe, source, shapes=shapes, searched=searched)
    if not _has_gpus(execution, nodes) or isinstance(model, str):
        return "auto"
    room = _room(execution, nodes)
    if isinstance(room, str):
        return "auto"
    given = execution.gpus_per_worker
    if isinstance(given, float | int):
        room *= min(1.0, given)
    longest = _longest(recipe, source, shapes, most=model.longest)
    whole = execution.rows_at_once(recipe.training.batch_size)
    for rows in dict.fromkeys(-(-whole // passes) for passes in range(1, whole + 1)):
        tried = execution.model_copy(update={"micro_batch": rows})
        if fits(fit_memory(recipe, tried, model=model, longest=longest), room):
            return rows
    return "auto"


def _by_memory(execution: Execution, nodes: Nodes) -> bool:
    """Whether memory decides a fit's share: nothing is left to decide without a GPU, or for a group
    of workers, unless `auto` was written.
    """
    if execution.gpus_per_worker is None:
        return execution.workers == 1 and _has_gpus(execution, nodes)
    return execution.gpus_per_worker == "auto"


def _has_gpus(execution: Execution, nodes: Nodes) -> bool:
    if execution.gpus_per_worker == 0:
        return False
    return nodes.total("GPU") > 0 or execution.accelerator_type is not None


def _estimated(
    recipe: FitRecipe, source: ModelSource, *, shapes: Shapes, searched: Iterable[str]
) -> Architecture | str:
    """The shape of a fit's model, or why its memory isn't estimated."""
    not_estimated = FORMS[recipe.form].not_estimated
    if not_estimated is not None:
        return not_estimated
    changed = [key for key in searched if key.startswith(CHANGES_MEMORY)]
    model = shapes.model(source)
    if changed and not isinstance(model, str):
        return f"its search changes {changed[0]}, and with it what a trial needs"
    return model


def _room(execution: Execution, nodes: Nodes) -> float | str:
    """Bytes of the smallest GPU that a fit may get, or why they aren't known.

    Raises:
        ResourceError: they aren't known, and `gpus_per_worker` is auto.
    """
    try:
        return min(_memories(execution, nodes))
    except ResourceError:
        if execution.gpus_per_worker == "auto":
            raise
        return "the memory of the GPUs isn't known"


def _longest(recipe: FitRecipe, source: ModelSource, shapes: Shapes, *, most: int | None) -> float:
    """Tokens of the longest row that the fit reads: at their bound, unless they were counted."""
    bound = recipe.training.max_tokens
    parts = dict.fromkeys((recipe.train_on, "validation", *recipe.predicts))
    found = [shapes.lengths(recipe.split, part, source, max_tokens=bound) for part in parts]
    if any(lengths.how != "tokenized" for lengths in found):
        return float(min(bound, most or bound))
    return max(lengths.at(1.0) for lengths in found)


def _memories(execution: Execution, nodes: Nodes) -> list[float]:
    """Bytes of every GPU that a fit may get.

    Raises:
        ResourceError: they aren't known.
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
                "execution.gpus_per_worker is auto, and nothing says which GPUs a machine of kind "
                f"{unnamed[0]} has; name them by execution.accelerator_type, or as "
                "`accelerator_type:L4` among its resources; or give gpus_per_worker a number"
            )
        names = {name for of_kind in named for name in of_kind}
    found = {name: accelerators_called(name) for name in names}
    for name, devices in found.items():
        if not devices:
            raise ResourceError(
                f"execution.gpus_per_worker is auto, and the memory of accelerator {name} isn't "
                "known; give gpus_per_worker a number"
            )
    return [device.bytes for devices in found.values() for device in devices]
