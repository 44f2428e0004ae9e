"""Whether a search space fits the settings that it searches, asked before anything is trained.

Owns the checks of a space against a model's settings, and their wording. It proposes nothing, and
knows a setting only through the settings' own validation.
"""

from __future__ import annotations

import itertools
import math

from w2s_ray.config.merge import kinds_at, unknown, with_settings
from w2s_ray.config.settings import FitSettings
from w2s_ray.config.space import Branch, OneOf, Space, branches, grid_size
from w2s_ray.errors import InputError

MOST_CORNERS = 4096
"""Combinations of bounds and kinds of a space, each of which is tried before anything is trained:
12 settings without kinds."""
MOST_POINTS = 100_000
"""Points of a grid."""


def check_space(space: Space, *, settings: FitSettings, sampler: str, where: str) -> None:
    """Refuse a space that holds what a fit with `settings` can't have; `where` is its key.

    Every choice, every bound, and every combination of least and greatest values is tried.

    Raises:
        InputError: it names the key, the value and the remedy.
    """
    for path, declared in space.items():
        _check_path(path, space, where=where)
        if isinstance(declared, OneOf):
            _check_kinds(path, declared, where=where)
    _check_size(space, where=where)
    for way in branches(space):
        if sampler == "grid":
            _check_grid(way, where=where)
        _check_values(way, settings, where=where)
    if sampler == "grid" and grid_size(space) > MOST_POINTS:
        raise InputError(
            f"{where}: the grid has {grid_size(space):,} points, and at most {MOST_POINTS:,} are "
            "possible; give fewer choices, or set sampler: tpe"
        )


def _check_size(space: Space, *, where: str) -> None:
    """Refuse a space of which not every combination of bounds can be tried here."""
    corners = math.prod(len(found.one_of) for found in space.values() if isinstance(found, OneOf))
    if corners <= MOST_CORNERS:
        ways = branches(space)
        corners = sum(math.prod(len(f.extremes()) for f in way.free.values()) for way in ways)
    if corners > MOST_CORNERS:
        raise InputError(
            f"{where} searches {len(space)} settings at once, whose bounds and kinds have "
            f"{corners:,} combinations; at most {MOST_CORNERS:,} are possible: search fewer"
        )


def _check_path(path: str, space: Space, *, where: str) -> None:
    if path == "early_stopping.oracle":
        raise InputError(
            f"{where}.{path}: a search may not choose between ground truth and weak labels; "
            "set oracle in a method of its own"
        )
    setting, _, last = path.rpartition(".")
    if last == "kind":
        raise InputError(
            f"{where}.{path}: kinds have settings of their own; "
            f"write {setting}: {{one_of: [{{kind: ...}}, ...]}}"
        )
    fork = next(
        (f for f, d in space.items() if isinstance(d, OneOf) and path.startswith(f + ".")), ""
    )
    if fork:
        raise InputError(
            f"{where}.{path} stands beside {fork}, whose one_of decides over it; move "
            f"{path.removeprefix(fork + '.')} into the entries of one_of that have it"
        )


def _check_kinds(path: str, declared: OneOf, *, where: str) -> None:
    known = kinds_at(FitSettings, path)
    if not known:
        raise InputError(
            f"{where}.{path}: one_of is for a setting that has kinds (loss, training.tuning)"
        )
    for kind in declared.kinds():
        if kind not in known:
            raise InputError(f"{where}.{path}: {unknown(kind, known, what='kind')}")
        for key in declared.entry(kind):
            if key not in known[kind].model_fields:
                said = unknown(key, known[kind].model_fields)
                raise InputError(f"{where}.{path}.one_of.{kind}.{key}: {said}")


def _check_grid(way: Branch, *, where: str) -> None:
    for path, free in way.free.items():
        if free.grid() is None:
            raise InputError(
                f"{where}.{_written(path, way)}: sampler grid needs choices; "
                "use {choice: [...]} or sampler: tpe"
            )


def _check_values(way: Branch, settings: FitSettings, *, where: str) -> None:
    with_settings(settings, way.fixed, where=where)
    for path, free in way.free.items():
        fork = next((f for f in way.kinds if path.startswith(f + ".")), None)
        beside = {p: v for p, v in way.fixed.items() if fork and p.startswith(fork + ".")}
        for value in free.examples():
            with_settings(settings, {path: value, **beside}, where=where)
    for corner in itertools.product(*(free.extremes() for free in way.free.values())):
        chosen = {**dict(zip(way.free, corner, strict=True)), **way.fixed}
        with_settings(settings, chosen, where=where)


def _written(path: str, way: Branch) -> str:
    """The key of a setting as it stands in the file."""
    for fork, kind in way.kinds.items():
        if path.startswith(fork + "."):
            return f"{fork}.one_of.{kind}.{path.removeprefix(fork + '.')}"
    return path
