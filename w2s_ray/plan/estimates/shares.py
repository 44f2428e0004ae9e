"""`gpus_per_worker: auto`: the share of a GPU that each fit of a plan gets, by its memory.

Owns the way from a plan with `auto` in it to one with numbers, on given nodes. A share is safe on
every GPU that the fit may get. Where memory can't be told, a fit gets a whole GPU and the reason is
said; where the GPU isn't known, that is refused. Functions of values: it places nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from w2s_ray.config import FORMS, Execution, FitRecipe, ModelSource
from w2s_ray.config.accelerators import accelerators_called
from w2s_ray.data.shapes import Shapes
from w2s_ray.plan.estimates.memory import fit_memory
from w2s_ray.plan.estimates.placing import gpu_fraction
from w2s_ray.plan.graph import Plan, PlannedStudy
from w2s_ray.plan.nodes import ACCELERATOR, Nodes, ResourceError

CHANGES_MEMORY = tuple(
    f"training.{name}"
    for name in ("tuning", "batch_size", "max_tokens", "precision", "answer_tokens")
)
"""Settings on which memory depends; a search of one of them has no one share."""


@dataclass(frozen=True)
class Share:
    """What one worker gets."""

    gpus: float
    why: str = ""
    """Why it is a whole GPU, where memory doesn't say so."""


def settled(plan: Plan, shapes: Shapes, nodes: Nodes) -> Plan:
    """`plan` with every `auto` settled for `nodes`.

    Raises:
        ResourceError: GPUs of `nodes` whose memory isn't known.
    """

    def of(recipe: FitRecipe, source: ModelSource, execution: Execution, keys: Iterable[str] = ()):
        if execution.gpus_per_worker != "auto":
            return execution
        found = share(recipe, source, execution, shapes=shapes, nodes=nodes, searched=keys)
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
    """Model -> why its fits get a whole GPU each although they ask for `auto`."""
    found: dict[str, str] = {}
    for fit in plan.fits.values():
        if fit.execution.gpus_per_worker == "auto":
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
    if not nodes.total("GPU") and execution.accelerator_type is None:
        return Share(0.0)
    if execution.workers > 1:
        return Share(1.0)
    model = shapes.model(source)
    changed = [key for key in searched if key.startswith(CHANGES_MEMORY)]
    not_estimated = FORMS[recipe.form].not_estimated
    if not_estimated is not None:
        return Share(1.0, not_estimated)
    if isinstance(model, str):
        return Share(1.0, model)
    if changed:
        return Share(1.0, f"its search changes {changed[0]}, and with it what a trial needs")
    longest = _longest(recipe, source, shapes, most=model.longest)
    needs = fit_memory(recipe, execution, model=model, longest=longest)
    room = min(_memories(execution, nodes))
    fraction = gpu_fraction(needs, room)
    if fraction is None:
        return Share(1.0, "by the estimate it needs more than one GPU has")
    return Share(fraction)


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
