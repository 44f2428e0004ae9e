"""Checks of a search space against the settings that it searches, before any training.

Owns these checks and their error messages. Values are checked by the validation of the settings
models. It proposes no values.
"""

from __future__ import annotations

import itertools
import math
from typing import TypeGuard

from w2s_ray.config.merge import kinds_at, with_settings
from w2s_ray.config.settings import FitSettings
from w2s_ray.config.space import Branch, Choices, OneOf, Space, branches, grid_size
from w2s_ray.errors import InputError
from w2s_ray.validation import unknown_key

MOST_CORNERS = 4096
"""Largest number of combinations of bounds and kinds in a space; each is validated before training.
It allows 12 settings without kinds."""
MOST_POINTS = 100_000
"""Largest number of points of a grid."""


def check_space(space: Space, *, settings: FitSettings, sampler: str, where: str) -> None:
    """Refuse a space with values that a fit with `settings` can't have; `where` is the space's key.

    Every choice, every bound, and every combination of smallest and largest values is validated.

    Raises:
        InputError: names the key, the value and the remedy.
    """
    for path, declared in space.items():
        _check_path(path, space, where=where)
        if isinstance(declared, OneOf):
            _check_kinds(path, declared, where=where)
    _check_size(space, where=where)
    for branch in branches(space):
        if sampler == "grid":
            _check_grid(branch, where=where)
        _check_values(branch, settings, where=where)
    if sampler == "grid" and grid_size(space) > MOST_POINTS:
        raise InputError(
            f"{where}: the grid has {grid_size(space):,} points, and at most {MOST_POINTS:,} are "
            "possible; give fewer choices, or set sampler: tpe"
        )


def _check_size(space: Space, *, where: str) -> None:
    """Refuse a space with more combinations of bounds and kinds than are validated."""
    corners = math.prod(len(choices.one_of) for choices in space.values() if _has_kinds(choices))
    if corners <= MOST_CORNERS:
        corners = sum(
            math.prod(len(distribution.extremes()) for distribution in branch.free.values())
            for branch in branches(space)
        )
    if corners > MOST_CORNERS:
        raise InputError(
            f"{where} searches {len(space)} settings, whose bounds and kinds have {corners:,} "
            f"combinations; at most {MOST_CORNERS:,} are possible: search fewer settings"
        )


def _check_path(path: str, space: Space, *, where: str) -> None:
    if path == "early_stopping.oracle":
        raise InputError(
            f"{where}.{path}: a search may not choose between ground truth and weak labels; "
            "set oracle in a method of its own"
        )
    if path.startswith("stages.") and path.endswith(".truth.of"):
        raise InputError(
            f"{where}.{path}: a search may not choose whose ground truth is used; set it in a "
            "method of its own"
        )
    if path == "early_stopping.finish_schedule":
        raise InputError(f"{where}.{path} changes no student's result; set it outside a search")
    if path in ("stages.self_consistency.samples", "stages.self_consistency.temperature"):
        raise InputError(
            f"{where}.{path} belongs to the supervisor, which a search of a method's students does "
            "not train; set it outside a search"
        )
    setting, _, last = path.rpartition(".")
    if last == "kind":
        raise InputError(
            f"{where}.{path}: each kind has its own settings; "
            f"write {setting}: {{one_of: [{{kind: ...}}, ...]}}"
        )
    parent = next((p for p, c in space.items() if _has_kinds(c) and path.startswith(p + ".")), "")
    if parent:
        raise InputError(
            f"{where}.{path} can't be searched beside the one_of of {parent}; move "
            f"{path.removeprefix(parent + '.')} into the entries of one_of that have it"
        )


def _has_kinds(choices: Choices) -> TypeGuard[OneOf]:
    return isinstance(choices, OneOf)


def _check_kinds(path: str, declared: OneOf, *, where: str) -> None:
    known = kinds_at(FitSettings, path)
    if not known:
        raise InputError(
            f"{where}.{path} has no kinds; use one_of for settings that have (loss, "
            "training.tuning)"
        )
    for kind in declared.kinds():
        if kind not in known:
            raise InputError(f"{where}.{path}: {unknown_key(kind, known, what='kind')}")
        for key in declared.entry(kind):
            if key not in known[kind].model_fields:
                problem = unknown_key(key, known[kind].model_fields)
                raise InputError(f"{where}.{path}.one_of.{kind}.{key}: {problem}")


def _check_grid(branch: Branch, *, where: str) -> None:
    for path, distribution in branch.free.items():
        if distribution.grid() is None:
            raise InputError(
                f"{where}.{_file_key(path, branch)}: sampler grid needs choices; "
                "use {choice: [...]} or sampler: tpe"
            )


def _check_values(branch: Branch, settings: FitSettings, *, where: str) -> None:
    with_settings(settings, branch.fixed, where=where)
    for path, distribution in branch.free.items():
        parent = next((p for p in branch.kinds if path.startswith(p + ".")), None)
        siblings = {p: v for p, v in branch.fixed.items() if parent and p.startswith(parent + ".")}
        for value in distribution.examples():
            with_settings(settings, {path: value, **siblings}, where=where)
    for corner in itertools.product(*(free.extremes() for free in branch.free.values())):
        chosen = {**dict(zip(branch.free, corner, strict=True)), **branch.fixed}
        with_settings(settings, chosen, where=where)


def _file_key(path: str, branch: Branch) -> str:
    """The key of a setting in the sweep file."""
    for parent, kind in branch.kinds.items():
        if path.startswith(parent + "."):
            return f"{parent}.one_of.{kind}.{path.removeprefix(parent + '.')}"
    return path
