"""`include` of a sweep file: other YAML files, whose values hold where the file has none itself.

Owns how files are found and merged: mappings key by key, everything else as a whole, and a mapping
of another kind as a whole too. Every value keeps the file and the line where it is written, for
errors. It validates no values.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from w2s_ray.config.space import Distribution, OneOf
from w2s_ray.config.yaml_files import SweepError, load_yaml, read_text
from w2s_ray.errors import InputError
from w2s_ray.paths import checked_path
from w2s_ray.printable import shown

INCLUDE = "include"
MOST_FILES = 50
"""Largest number of files that a sweep file includes, those that included files include among
them."""
_CHOOSES = ("kind", "ladder")
"""Keys that decide which other keys a mapping has."""
_OF_VALUES = {*Distribution.model_fields, *OneOf.model_fields}
"""The one key of a mapping of values to try."""


@dataclass(frozen=True)
class Values:
    """The values of a file, merged with the values of the files that it includes."""

    root: yaml.Node | None
    """The values as nodes, whose marks have file and line."""
    data: Any
    files: tuple[str, ...] = ()
    """The included files."""


def load_with_includes(text: str, *, name: str, path: Path | None) -> Values:
    """The values in the YAML `text` of the file `path`, which is called `name` in errors.

    None as `path`: the text isn't from a file, and can't include files.

    Raises:
        SweepError: a file is not YAML, can't be read, or includes itself.
    """
    within = () if path is None else (path.resolve(),)
    return _Reader().values(text, name=name, folder=path and path.parent, within=within)


class _Reader:
    """Reads one file and all that it includes."""

    def __init__(self) -> None:
        self._files: list[str] = []

    def values(
        self, text: str, *, name: str, folder: Path | None, within: tuple[Path, ...]
    ) -> Values:
        """The values of a file; `within` are the files that led to it."""
        root, data = load_yaml(text, name=name)
        if not isinstance(root, yaml.MappingNode) or INCLUDE not in data:
            return Values(root, data, tuple(self._files))
        where = f"{name}:{_entries(root)[INCLUDE][0].start_mark.line + 1}: {INCLUDE}: "
        if folder is None:
            raise SweepError(
                f"{where}this text is not that of a file, and includes are relative to their file; "
                "read the sweep from its file"
            )
        below: Values | None = None
        for given in _given(data[INCLUDE], where):
            included = self._included(given, where=where, folder=folder, within=within)
            below = included if below is None else _merged(below, included)
        own = _without(Values(root, data), INCLUDE)
        merged = own if below is None else _merged(_without_replaced(below, own), own)
        return Values(merged.root, merged.data, tuple(self._files))

    def _included(
        self, given: str, *, where: str, folder: Path, within: tuple[Path, ...]
    ) -> Values:
        path = Path(os.path.normpath(folder / Path(given).expanduser()))
        try:
            text, file = read_text(path, what="included file"), path.resolve()
        except SweepError as error:
            raise SweepError(f"{where}{error}") from None
        if file in within:
            chain = " → ".join(each.name for each in (*within[within.index(file) :], file))
            raise SweepError(f"{where}{chain} is a cycle; remove one of these includes")
        self._files.append(str(path))
        if len(self._files) > MOST_FILES:
            raise SweepError(f"{where}more than {MOST_FILES} files are included; include fewer")
        values = self.values(text, name=str(path), folder=path.parent, within=(*within, file))
        if not isinstance(values.root, yaml.MappingNode):
            raise SweepError(f"{path}:1: an included file is a mapping with keys of a sweep file")
        return values


def _given(value: Any, where: str) -> list[str]:
    """The paths in the value of `include`."""
    paths = value if isinstance(value, list) else [value]
    if not paths or not all(isinstance(path, str) for path in paths):
        raise SweepError(
            f"{where}write the path of a file, or a list of paths (got {shown(value)})"
        )
    try:
        return [checked_path(path) for path in paths]
    except InputError as error:
        raise SweepError(f"{where}{error}") from None


def _merged(base: Values, top: Values) -> Values:
    """The values of both; where both have a key, the value of `top`."""
    if not isinstance(base.root, yaml.MappingNode) or not isinstance(top.root, yaml.MappingNode):
        return top
    if _is_another(base.data, top.data):
        return top
    nodes, data = _entries(base.root), dict(base.data)
    for key, (key_node, node) in _entries(top.root).items():
        value = Values(node, top.data[key])
        if key in nodes:
            value = _merged(Values(nodes[key][1], data[key]), value)
        nodes[key], data[key] = (key_node, value.root), value.data
    return Values(_mapping(top.root, nodes), data)


def _is_another(base: dict[str, Any], top: dict[str, Any]) -> bool:
    """Whether `top` is of another kind than `base`, so that it has none of its settings."""
    if any(key in top and key in base and top[key] != base[key] for key in _CHOOSES):
        return True
    return _are_values(base) and _are_values(top)


def _are_values(data: dict[str, Any]) -> bool:
    """Whether a mapping has the values to try for a setting: `{uniform: [0, 1]}`."""
    return len(data) == 1 and all(
        key in _OF_VALUES and isinstance(value, list) for key, value in data.items()
    )


def _without_replaced(base: Values, top: Values) -> Values:
    """`base` without `tasks` where `top` has `task`, and the reverse."""
    for key, other in (("task", "tasks"), ("tasks", "task")):
        if key in top.data:
            base = _without(base, other)
    return base


def _without(values: Values, key: str) -> Values:
    """`values` without a top-level key."""
    assert isinstance(values.root, yaml.MappingNode)
    nodes = {name: node for name, node in _entries(values.root).items() if name != key}
    data = {name: value for name, value in values.data.items() if name != key}
    return Values(_mapping(values.root, nodes), data)


def _entries(node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, Any]]:
    """Key -> its node and its value's; of keys that a merge key (`<<`) repeats, the last counts."""
    return {key.value: (key, value) for key, value in node.value}


def _mapping(like: yaml.Node, entries: dict[str, tuple[yaml.Node, Any]]) -> yaml.MappingNode:
    return yaml.MappingNode(like.tag, list(entries.values()), like.start_mark, like.end_mark)
