"""Partial settings merged into complete ones, with errors that name the key and the remedy.

Owns both ways of merging (top-level keys and dotted settings) and the wording of pydantic's errors.
It reads no files.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from w2s_ray.errors import InputError
from w2s_ray.methods.kinds import with_plugin_kinds
from w2s_ray.printable import LONGEST, shown

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
    try:
        return type(base).model_validate({**base.model_dump(), **overrides})
    except ValidationError as error:
        raise InputError(f"{where}.{first_error(error)}") from None


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
        raise InputError(f"{where}: {values}: {first_error(error)}") from None


def kinds_at(model: type[BaseModel], path: str) -> dict[str, type[BaseModel]]:
    """Kind -> its model, for the setting at the dotted `path`; empty if it has no kinds."""
    models = [model]
    for key in path.split("."):
        of_kind = [m for m in models if "kind" in m.model_fields and _kind(m) == key]
        annotations = [m.model_fields[key].annotation for m in models if key in m.model_fields]
        found = [m for annotation in annotations for m in _models_in(annotation)]
        models = of_kind or with_plugin_kinds(found)
    return {_kind(m): m for m in models if "kind" in m.model_fields}


def unknown_key(key: str, known: Any, *, what: str = "key") -> str:
    """The message for an unknown key, or other `what`, with the nearest known one."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(key[:LONGEST], names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
    return f"unknown {what} {shown(key)}; {hint}"


def first_error(error: ValidationError) -> str:
    """The first of pydantic's errors as `key: message`."""
    detail = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in detail["loc"])
    message = error_message(detail) + given_value(detail)
    return f"{key}: {message}" if key else message


def error_message(detail: Any) -> str:
    """The message for one of pydantic's errors: what is wrong, or what to write instead."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _WRITE:
        return f"write {_WRITE[kind]}"
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"write {context['expected']}"
        case "union_tag_invalid":
            known = re.findall(r"'([^']*)'", context["expected_tags"])
            return unknown_key(str(context["tag"]), known, what=context["discriminator"].strip("'"))
        case "missing" | "union_tag_not_found":
            key = context.get("discriminator", "").strip("'")
            return f"its {key} is missing; add it" if key else "missing; add it"
        case "too_short":
            return f"give at least {context['min_length']}"
        case "too_long":
            return f"give at most {context['max_length']}"
        case "extra_forbidden":
            return "unknown key; remove it"
        case _:
            return detail["msg"]


def given_value(detail: Any) -> str:
    """The value that caused one of pydantic's errors, in brackets, if it is a scalar."""
    value = detail.get("input")
    simple = isinstance(value, str | int | float | bool)
    return f" (got {shown(value)})" if simple and detail["type"] not in _WITH_VALUE else ""


_WITH_VALUE = ("value_error", "union_tag_invalid", "missing", "extra_forbidden")
"""Types of pydantic's errors whose message includes the value, or that have no value."""

_MAPPING, _LIST = "a mapping, {key: value, ...}", "a list, [value, ...]"
_WRITE = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), _MAPPING),
    **dict.fromkeys(("tuple_type", "list_type"), _LIST),
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode"), "text"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-', a letter or digit first",
    "finite_number": "a finite number",
}
"""Type of pydantic's error -> what to write instead."""


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
