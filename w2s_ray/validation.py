"""Pydantic's errors as one line for each key: the key, what is wrong, and the remedy.

Owns their wording, the dotted keys, and the choice among the errors that pydantic reports for the
members of a union. It reads no files and validates nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from w2s_ray.printable import LONGEST, shown

TAG = r"function-after|\[key\]$|\((?:distribution|value|one_of|task|pair|count|file)\)$"
"""Parts of pydantic's locations that are not keys: validators, and tags of unions."""
SINGULAR = {"tasks": "task"}
"""A list -> the key that may have its only entry instead."""

Models = Sequence[type[BaseModel]]


@dataclass(frozen=True)
class Problem:
    """What is wrong at one key."""

    path: tuple[str | int, ...]
    """The keys that lead there, and numbers of entries; empty for the whole."""
    message: str
    """What is wrong or what to write instead, and the value."""

    @property
    def key(self) -> str:
        return ".".join(map(str, self.path))

    @property
    def line(self) -> str:
        return f"{self.key}: {self.message}" if self.path else self.message


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    data: Any,
    *,
    with_kinds: Callable[[Models], Models] = tuple,
    also: Iterable[str] = (),
) -> list[Problem]:
    """The problems of `data`, which is no valid `model`, one for each key.

    `with_kinds` adds the kinds of plugins to the members of a union, `also` are keys of the whole
    besides the model's fields; unknown keys are compared with them.
    """
    found = list[_Detail]()
    for detail in error.errors(include_url=False):
        loc, kind = detail["loc"], detail["type"]
        message = error_message(detail)
        if kind == "extra_forbidden":
            known = _siblings(model, loc[:-1], with_kinds)
            message = unknown_key(str(loc[-1]), [*known, *also] if len(loc) == 1 else known)
        path = _path_in(data, loc, with_last=kind == "missing")
        found.append(_Detail(path, message, given_value(detail), kind))
    return _one_for_each_path(found)


def first_problem(error: ValidationError, model: type[BaseModel], data: Any) -> str:
    """The line of the first problem of `data`, which is no valid `model`."""
    return problems_of(error, model, data)[0].line


def unknown_key(key: str, known: Any, *, what: str = "key") -> str:
    """The message for an unknown key, or other `what`, with the nearest known one."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(key[:LONGEST], names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
    return f"unknown {what} {shown(key)}; {hint}"


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


@dataclass(frozen=True)
class _Detail:
    """One of pydantic's errors, at a path in the data."""

    path: tuple[str | int, ...]
    message: str
    value: str
    """The wrong value, formatted as the end of the message."""
    kind: str

    @property
    def is_wrong_type(self) -> bool:
        """Whether the value has the wrong type; of a union each member reports this."""
        return self.kind == "literal_error" or self.kind.endswith("_type")

    @property
    def is_too_short(self) -> bool:
        """Whether a list is too short; pydantic also reports this if an item is invalid."""
        return self.kind == "too_short"


def _one_for_each_path(details: Sequence[_Detail]) -> list[Problem]:
    """The problems, without those that follow from others."""
    specific = [detail.path for detail in details if not detail.is_too_short]
    parents = {path[:i] for path in specific for i in range(1, len(path))}
    by_path: dict[tuple[str | int, ...], list[_Detail]] = {}
    for detail in details:
        follows = detail.path in parents and (detail.is_wrong_type or detail.is_too_short)
        if not follows and not (detail.is_too_short and detail.path in specific):
            by_path.setdefault(detail.path, []).append(detail)
    return [
        Problem(path, "; or ".join(dict.fromkeys(one.message for one in group)) + group[-1].value)
        for path, group in by_path.items()
    ]


def _path_in(data: Any, loc: Sequence[str | int], *, with_last: bool) -> tuple[str | int, ...]:
    """The path of `loc` as the data has it, without validators and tags.

    `with_last`: the last part of `loc` is a key that the data lacks.
    """
    parts = [part for part in loc if not re.match(TAG, str(part))]
    singular = SINGULAR.get(str(parts[0])) if parts else None
    if singular is not None and isinstance(data, Mapping) and singular in data:
        parts = [singular, *parts[2:]]
    path = list[str | int]()
    for index, part in enumerate(parts):
        if isinstance(data, Mapping) and str(part) in data:
            data = data[str(part)]
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not (with_last and index == len(parts) - 1):
            continue
        path.append(part)
    return tuple(path)


def _siblings(
    model: Any, loc: Sequence[str | int], with_kinds: Callable[[Models], Models]
) -> list[str]:
    """The keys that are allowed where pydantic found an unknown one."""
    for part in loc:
        models = [model] if _is_model(model) else with_kinds(_models_in(model))
        tagged = [
            m for m in models if "kind" in m.model_fields and m.model_fields["kind"].default == part
        ]
        if tagged:
            model = tagged[0]
            continue
        if isinstance(part, int):
            continue
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        if fields:
            model = fields[0].annotation
    return list(dict.fromkeys(key for m in _models_in(model) for key in m.model_fields))


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _models_in(annotation: Any) -> list[Any]:
    if _is_model(annotation):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _models_in(arg)]
