"""Partial settings merged into complete ones, with errors that name the key and the remedy.

Owns both ways of merging: top-level keys and dotted settings. It reads no files.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from w2s_ray.errors import InputError
from w2s_ray.methods.kinds import with_plugin_kinds
from w2s_ray.printable import shown
from w2s_ray.validation import first_problem, unknown_key

M = TypeVar("M", bound=BaseModel)


def merged(base: M, overrides: Mapping[str, Any], *, where: str) -> M:
    """`base` with the top-level keys of `overrides` replaced.

    Raises:
        InputError: an unknown key or an invalid value; the message begins with `where`.
    """
    if not overrides:
        return base
    for key in overrides:
        if key not in type(base).model_fields:
            raise InputError(f"{where}: {unknown_key(key, type(base).model_fields)}")
    data = {**base.model_dump(), **overrides}
    try:
        return type(base).model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}.{first_problem(error, type(base), data)}") from None


def with_settings(base: M, chosen: Mapping[str, Any], *, where: str) -> M:
    """`base` with each dotted setting in `chosen` replaced, all at once.

    A section that is null in `base` (early stopping) is created with its defaults. A chosen kind
    (`loss.kind`) starts from the defaults of that kind, not from the settings in `base`.

    Raises:
        InputError: an unknown setting, an invalid value, or values that contradict each other.
    """
    if not chosen:
        return base
    data = base.model_dump()
    for path, value in _grouped(chosen).items():
        _put(data, type(base), base, path.split("."), value, f"{where}: {path}")
    try:
        return type(base).model_validate(data)
    except ValidationError as error:
        values = ", ".join(f"{path} = {shown(value)}" for path, value in sorted(chosen.items()))
        why = first_problem(error, type(base), data)
        raise InputError(f"{where}: {values}: {why}") from None


def kinds_at(model: type[BaseModel], path: str) -> dict[str, type[BaseModel]]:
    """Kind -> its model, for the setting at the dotted `path`; empty if it has no kinds."""
    models = [model]
    for key in path.split("."):
        of_kind = [m for m in models if "kind" in m.model_fields and _kind(m) == key]
        annotations = [m.model_fields[key].annotation for m in models if key in m.model_fields]
        found = [m for annotation in annotations for m in _models_in(annotation)]
        models = of_kind or with_plugin_kinds(found)
    return {_kind(m): m for m in models if "kind" in m.model_fields}


def _grouped(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """`chosen` by path, where a kind and its settings are one mapping."""
    kinds = [path.removesuffix(".kind") for path in chosen if path.endswith(".kind")]
    grouped: dict[str, Any] = {kind: {} for kind in kinds}
    for path, value in chosen.items():
        kind = next((kind for kind in kinds if path.startswith(f"{kind}.")), None)
        if kind is None:
            grouped[path] = value
        else:
            grouped[kind][path.removeprefix(f"{kind}.")] = value
    return grouped


def _put(
    data: dict[str, Any], model: type[BaseModel], base: Any, keys: list[str], value: Any, where: str
) -> None:
    key, rest = keys[0], keys[1:]
    fields = {**(type(base) if isinstance(base, BaseModel) else model).model_fields}
    if isinstance(base, BaseModel):
        fields |= base.model_extra or {}  # of an absent kind
    if key not in fields:
        raise InputError(f"{where} is not a setting: {unknown_key(key, fields)}")
    if not rest:
        data[key] = value
        return
    inner = getattr(base, key, None) if isinstance(base, BaseModel) else None
    if isinstance(inner, tuple) and all(isinstance(one, BaseModel) for one in inner):
        _put_in_list(data[key], inner, rest, value, f"{where} ({key})")
        return
    inner_model = type(inner) if isinstance(inner, BaseModel) else _model_in(fields[key].annotation)
    if inner_model is None:
        raise InputError(f"{where} is not a setting: {key!r} has no settings; remove it")
    if data.get(key) is None:
        data[key] = {}
    _put(data[key], inner_model, inner, rest, value, where)


def _put_in_list(
    data: list[dict[str, Any]], base: tuple[Any, ...], keys: list[str], value: Any, where: str
) -> None:
    """Set a setting of the list's entry whose kind is `keys[0]`."""
    kinds = [entry.kind for entry in base]
    if keys[0] not in kinds or len(keys) == 1:
        listed = ", ".join(kinds) or "none"
        raise InputError(
            f"{where} is not a setting of the kinds listed there: {listed}; add {keys[0]!r} first"
        )
    index = kinds.index(keys[0])
    _put(data[index], type(base[index]), base[index], keys[1:], value, where)


def _kind(model: type[BaseModel]) -> str:
    return model.model_fields["kind"].default


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model class in an annotation, if there is exactly one."""
    models = _models_in(annotation)
    return models[0] if len(models) == 1 else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The model classes in an annotation: the annotation itself, or members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, tuple, Annotated):
        return [model for arg in get_args(annotation) for model in _models_in(arg)]
    return []
