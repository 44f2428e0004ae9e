"""The sources of plugins that the runs of a sweep in a store were trained with.

Owns their search in the recipes of done students, which have the digest of each kind's source. It
loads no plugins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from w2s_ray.config import Sweep
    from w2s_ray.plugins import Plugin
    from w2s_ray.store import Manifest, Store


def with_sources_of_runs(sweep: Sweep, manifest: Manifest, store: Store) -> Sweep:
    """`sweep`, where a plugin has the digest that the manifest's done students were trained with.

    A plugin that no done student used keeps its digest.
    """
    if not sweep.plugins:
        return sweep
    students = {cell.student for cell in manifest.cells if cell.student is not None}
    ran: dict[tuple[str, str], str] = {}
    for record in store.records(store.done(students)):
        ran |= dict(_sources(record.recipe))
    plugins = tuple(_with_source(plugin, ran) for plugin in sweep.plugins)
    return sweep.model_copy(update={"plugins": plugins})


def _sources(recipe: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """(loss or transform, kind) -> the digest of its source, of the plugins' kinds in a recipe."""
    from w2s_ray.methods.kinds import SOURCE

    transforms = (recipe.get("labels") or {}).get("transforms") or ()
    kinds = [("loss", recipe.get("loss") or {}), *(("transform", each) for each in transforms)]
    for what, settings in kinds:
        if SOURCE in settings:
            yield (what, settings["kind"]), settings[SOURCE]


def _with_source(plugin: Plugin, ran: Mapping[tuple[str, str], str]) -> Plugin:
    from w2s_ray.methods.kinds import kind_of
    from w2s_ray.methods.losses import Loss

    for kind in plugin.kinds:
        digest = ran.get(("loss" if issubclass(kind, Loss) else "transform", kind_of(kind)))
        if digest is not None:
            return replace(plugin, source=replace(plugin.source, digest=digest))
    return plugin
