"""How a row's student was tuned: trials, early stopping, and settings that differ from other fits'.

Owns the properties by which a comparison can be confounded: the number of trials of a method, and
settings of `training` and `early_stopping` that two compared fits don't share. It reads recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from w2s_ray.config.merge import kinds_at
from w2s_ray.config.recipe import default_bucket_batches
from w2s_ray.config.settings import FitSettings, Training
from w2s_ray.store import Cell, Record

NONE = "none"
"""The text of a setting that is null."""
_STOPPING = ("patience", "metric", "min_delta")
"""Settings that decide when a fit stops by its own labels."""
_LEFT_OUT = {
    name: to_jsonable_python(field.default)
    for name, field in Training.model_fields.items()
    if field.exclude_if is not None
}
"""Settings that a recipe leaves out at their default."""

StopsEarly = Literal["both", "neither", "method", "against", "some"]
"""Which students of two compared methods can stop early; `some`: it differs between rows."""


def trials(cell: Cell, records: Mapping[str, Record]) -> int | None:
    """Number of trials of the cell's study; 0 without a search, None before the study has ended."""
    if cell.study is None:
        return 0
    study = records.get(cell.study)
    ran = study.summary.get("trials") if study is not None and study.status == "done" else None
    return ran if isinstance(ran, int) else None


def stopping(fit: Record | None) -> str | None:
    """The fit's early stopping in words; None without."""
    if fit is None:
        return None
    early = fit.recipe.get("early_stopping")
    return f"patience {early.get('patience')}, {early.get('metric')}" if early else None


def stops_early(pairs: Iterable[tuple[Record, Record]]) -> StopsEarly:
    """Which of two methods stops early; `pairs`: a student of the method and one of the other."""
    found = {(stopping(ours) is not None, stopping(theirs) is not None) for ours, theirs in pairs}
    if len(found) > 1:
        return "some"
    match next(iter(found), (False, False)):
        case (True, True):
            return "both"
        case (False, False):
            return "neither"
        case (True, False):
            return "method"
        case _:
            return "against"


def differences(pairs: Sequence[tuple[Record | None, Record | None]], *, other: str) -> str | None:
    """The settings that differ in any of `pairs`, with both values; None if none do.

    `other` names the second of each pair. A setting whose values differ between the pairs is given
    without values.
    """
    found: dict[str, dict[tuple[str, str], None]] = {}
    for one, second in pairs:
        if one is not None and second is not None:
            for name, *values in _differing(one, second):
                found.setdefault(name, {})[values[0], values[1]] = None
    texts = (_text(name, list(values), other) for name, values in found.items())
    return "; ".join(texts) or None


def _text(name: str, values: Sequence[tuple[str, str]], other: str) -> str:
    if len(values) > 1:
        return name
    ((one, second),) = values
    return f"{name} {one} ({other} {second})"


def _differing(one: Record, other: Record) -> Iterator[tuple[str, str, str]]:
    """Each setting that both fits have with different values."""
    if one.recipe.get("prompt") and not other.recipe.get("prompt"):
        yield "training", "none, it is prompted", "trained"
        return
    if one.recipe.get("trained") is False and other.recipe.get("trained") is not False:
        yield "training", "none", "trained"
        return
    for key in ("training", "early_stopping"):
        ours, theirs = (fit.recipe.get(key) for fit in (one, other))
        if key == "training" and ours and theirs:
            ours, theirs = {**_LEFT_OUT, **ours}, {**_LEFT_OUT, **theirs}
        if key == "training" and _batches_follow_loss(one) and _batches_follow_loss(other):
            ours = {**ours, "bucket_batches": None} if ours else ours
            theirs = {**theirs, "bucket_batches": None} if theirs else theirs
        if key == "early_stopping":
            ours, theirs = _stopping_settings(ours), _stopping_settings(theirs)
        yield from _differing_values(key, ours, theirs)


def _batches_follow_loss(fit: Record) -> bool:
    """Whether batches are drawn as the fit's loss has it by default: that is part of the loss."""
    kind = (fit.recipe.get("loss") or {}).get("kind")
    drawn = (fit.recipe.get("training") or {}).get("bucket_batches")
    loss: Any = kinds_at(FitSettings, "loss").get(str(kind))
    return loss is not None and default_bucket_batches(loss) == drawn


def _differing_values(path: str, ours: Any, theirs: Any) -> Iterator[tuple[str, str, str]]:
    """Settings of other versions of this program, which only one side has, are passed over."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        if ours.get("kind") == theirs.get("kind"):
            for key in ours:
                if key in theirs:
                    yield from _differing_values(f"{path}.{key}", ours[key], theirs[key])
            return
        ours, theirs = ours.get("kind"), theirs.get("kind")
    if ours != theirs:
        yield path, _value(ours), _value(theirs)


def _stopping_settings(early: Any) -> Any:
    return {key: early[key] for key in _STOPPING if key in early} if early else None


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return NONE if value is None else str(value)
