"""Putting partial settings over whole ones, with errors that name the key and the remedy."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


def merged(base: M, overrides: Mapping[str, Any], *, where: str) -> M:
    """`base` with the top-level keys of `overrides` replaced.

    Raises:
        ValueError: a key that `base` doesn't have or a value it refuses, named with `where`.
    """
    if not overrides:
        return base
    for key in overrides:
        if key not in type(base).model_fields:
            raise ValueError(f"{where}: {unknown(key, type(base).model_fields)}")
    try:
        return type(base).model_validate({**base.model_dump(), **overrides})
    except ValidationError as error:
        raise ValueError(f"{where}.{first_error(error)}") from None


def set_path(base: M, path: str, value: Any, *, where: str) -> M:
    """`base` with the setting at the dotted `path` replaced by `value`.

    A setting that is null and has fields of its own (early stopping) comes into being.

    Raises:
        ValueError: the path names no setting, or the value is refused.
    """
    data = base.model_dump()
    _put(data, type(base), base, path.split("."), value, f"{where}: {path}")
    try:
        return type(base).model_validate(data)
    except ValidationError as error:
        raise ValueError(f"{where}: {path} = {value!r}: {first_error(error)}") from None


def unknown(key: str, known: Any) -> str:
    """A sentence for an unknown key, with the nearest known ones."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
    return f"unknown key {key!r}; {hint}"


def first_error(error: ValidationError) -> str:
    """The first of pydantic's errors as `key: message`."""
    detail = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    given = detail.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{key}: {message}{shown}" if key else f"{message}{shown}"


def _put(
    data: dict[str, Any], model: type[BaseModel], base: Any, keys: list[str], value: Any, where: str
) -> None:
    key, rest = keys[0], keys[1:]
    fields = type(base).model_fields if isinstance(base, BaseModel) else model.model_fields
    if key not in fields:
        raise ValueError(f"{where} names no setting: {unknown(key, fields)}")
    if not rest:
        data[key] = value
        return
    inner = getattr(base, key, None) if isinstance(base, BaseModel) else None
    inner_model = type(inner) if isinstance(inner, BaseModel) else _model_in(fields[key].annotation)
    if inner_model is None:
        raise ValueError(f"{where} names no setting: {key!r} has no settings of its own")
    if data.get(key) is None:
        data[key] = {}
    _put(data[key], inner_model, inner, rest, value, where)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The one model class in an optional annotation, if there is exactly one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        found = [m for m in map(_model_in, get_args(annotation)) if m is not None]
        return found[0] if len(found) == 1 else None
    return None
