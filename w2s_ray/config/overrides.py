"""Overrides of a sweep file's values, `KEY=VALUE` with the file's own keys.

Owns their syntax and their application to the values of a file. A key is dotted; an entry of a list
is given by its name or its number from 0. The value is YAML. It validates no sweep; `load` does.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from w2s_ray.config.space import Distribution
from w2s_ray.config.sweep import Sweep
from w2s_ray.config.tasks import Task
from w2s_ray.config.yaml_files import SweepError, load_yaml
from w2s_ray.errors import InputError
from w2s_ray.printable import shown
from w2s_ray.validation import unknown_key


@dataclass(frozen=True)
class Override:
    """One override, as given on the command line."""

    text: str
    keys: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        return ".".join(self.keys)


def parse_overrides(texts: Sequence[str]) -> tuple[Override, ...]:
    """The overrides in `texts`.

    Raises:
        InputError: one is not KEY=VALUE, its value is not YAML, or two have the same key.
    """
    overrides = tuple(map(_parsed, texts))
    keys = [override.key for override in overrides]
    for override in overrides:
        if keys.count(override.key) > 1:
            raise InputError(f"override {override.text}: {override.key} is given twice; keep one")
    return overrides


def tasks_override(tasks: Sequence[Task]) -> Override:
    """The override of a file's tasks by `tasks`."""
    names = ", ".join(task.name for task in tasks)
    values = [task.model_dump(mode="json", exclude_defaults=True) for task in tasks]
    return Override(f"tasks=[{names}]", ("tasks",), values)


def _parsed(text: str) -> Override:
    key, equals, value = text.partition("=")
    keys = tuple(key.strip().split("."))
    if not equals or not all(keys):
        raise InputError(
            f"{shown(text)} is not an override; write KEY=VALUE, such as training.lr=1e-3 or "
            "seeds=[0,1,2]"
        )
    try:
        return Override(text, keys, load_yaml(value, name="")[1])
    except SweepError as error:
        raise InputError(f"override {text}: {str(error).partition(': ')[2]}") from None


def applied(data: Mapping[str, Any], override: Override) -> tuple[dict[str, Any], str]:
    """The values `data` of a file with an override, and the dotted path of what it replaces.

    In the path an entry of a list has its number.

    Raises:
        InputError: the key leads to an entry that isn't there, or into a value without keys.
    """
    try:
        changed, path = _set(data, [Sweep], override.keys, override.value)
    except InputError as error:
        raise InputError(f"override {override.text}: {error}") from None
    return changed, ".".join(path)


def _set(
    inside: Any, annotations: list[Any], keys: tuple[str, ...], value: Any, where: str = ""
) -> tuple[Any, tuple[str, ...]]:
    """`inside` with `value` at `keys`, and the path to it; `annotations` are its possible types."""
    is_list = isinstance(inside, list)
    step: tuple[Any, int] = (
        _list_step(inside, keys, where) if is_list else _step(inside, annotations, keys)
    )
    key, used = step
    rest, shown_key = keys[used:], ".".join(keys[:used])
    here = f"{where}.{shown_key}" if where else shown_key
    known = inside[key] if is_list else inside.get(key)
    if not rest:
        new, path = value, ()
    else:
        if not is_list and key not in inside and _is_by_name(annotations):
            raise InputError(f"{where}: {unknown_key(str(key), inside, what='name')}")
        if isinstance(known, str) and is_list and where == "models":
            known = {"name": known}
        if known is not None and not isinstance(known, dict | list):
            raise InputError(f"{here} is {shown(known)}, which has no keys; override {here} itself")
        new, path = _set(known or {}, _below(annotations, str(key)), rest, value, here)
    changed: Any = list(inside) if is_list else dict(inside)
    changed[key] = new
    return changed, (str(key), *path)


def _step(
    inside: Mapping[str, Any], annotations: list[Any], keys: tuple[str, ...]
) -> tuple[str, int]:
    """The next key of a mapping, and how many of `keys` it has: names and settings have dots."""
    for used in range(len(keys), 0, -1):
        if ".".join(keys[:used]) in inside:
            return ".".join(keys[:used]), used
    if _is_by_setting(annotations):
        return ".".join(keys), len(keys)
    return keys[0], 1


def _list_step(inside: list[Any], keys: tuple[str, ...], where: str) -> tuple[int, int]:
    """The index of the next entry of a list, and how many of `keys` name it."""
    names = [_names(entry) for entry in inside]
    for used in range(len(keys), 0, -1):
        for index, of_entry in enumerate(names):
            if ".".join(keys[:used]) in of_entry:
                return index, used
    if keys[0].isdecimal() and int(keys[0]) < len(inside):
        return int(keys[0]), 1
    known = [*(of_entry[0] for of_entry in names if of_entry), *map(str, range(len(inside)))]
    raise InputError(f"{where}: {unknown_key(keys[0], known, what='entry')}")


def _names(entry: Any) -> list[str]:
    """What an entry of a list is called: its label, name, kind or ladder, or itself."""
    if isinstance(entry, str):
        return list(dict.fromkeys((PurePath(entry).name, entry)))
    if not isinstance(entry, dict):
        return []
    given = [entry.get(key) for key in ("label", "name", "kind", "ladder")]
    return [name for value in given if isinstance(value, str) for name in _names(value)]


def _is_by_setting(annotations: list[Any]) -> bool:
    """Whether the keys of a mapping are dotted settings, as in `methods.NAME.search`."""
    return any(Distribution in _below([one], "") for one in annotations if get_origin(one) is dict)


def _is_by_name(annotations: list[Any]) -> bool:
    """Whether the keys of a mapping are names that the sweep file chooses, as in `methods`."""
    return any(
        isinstance(value, type) and issubclass(value, BaseModel)
        for one in annotations
        if get_origin(one) is dict
        for value in _below([one], "")
    )


def _below(annotations: list[Any], key: str) -> list[Any]:
    """The possible types of the value at `key` of a value of one of these types."""
    found: list[Any] = []
    for one in annotations:
        if isinstance(one, type) and issubclass(one, BaseModel):
            fields = one.model_fields.items()
            found += [f.annotation for name, f in fields if key in (name, f.alias)]
            found += [Task] if one is Sweep and key == "task" else []
        elif get_origin(one) is dict:
            found.append(get_args(one)[1])
        elif get_origin(one) is tuple:
            found += [part for part in get_args(one) if part is not Ellipsis]
    return [option for one in found for option in _options(one)]


def _options(annotation: Any) -> list[Any]:
    """The members of a union, or the annotation itself."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for part in get_args(annotation) for option in _options(part)]
    return [annotation]
