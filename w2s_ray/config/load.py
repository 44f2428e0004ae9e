"""Sweep files: YAML to a `Sweep`, with errors that name the file, the line, the key and the remedy.

Owns the places of errors in a file, and the text of a file with includes or overrides. `include`
owns the merge of included files, `yaml_files` the errors of the YAML itself, `validation` those of
its values.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from w2s_ray.config.include import INCLUDE, Values, load_with_includes
from w2s_ray.config.overrides import applied, parse_overrides, tasks_override
from w2s_ray.config.sweep import Sweep
from w2s_ray.config.tasks import Task
from w2s_ray.config.yaml_files import SweepError, dump_yaml, load_yaml, read_text
from w2s_ray.errors import InputError
from w2s_ray.methods.kinds import with_plugin_kinds
from w2s_ray.plugins import Plugin, active_plugins, find_source, loaded
from w2s_ray.printable import printable
from w2s_ray.validation import Problem, problems_of

Declared = TypeVar("Declared", bound=BaseModel)


@dataclass(frozen=True)
class SweepFile:
    """A sweep and its text."""

    sweep: Sweep
    text: str
    """The file's text; with overrides or includes, that of one file with their values, which names
    them."""


def load_sweep(
    path: str | Path, *, overrides: Sequence[str] = (), tasks: Sequence[Task] = ()
) -> Sweep:
    """The sweep in the YAML file at `path`, with `overrides` such as `training.lr=1e-3`.

    `tasks`, such as those of `Task.of`, replace the file's.

    Raises:
        SweepError: the file is missing, is not YAML, or is not a valid sweep.
        InputError: an override is not valid; the message names it.
    """
    return read_sweep(path, overrides=overrides, tasks=tasks).sweep


def read_sweep(
    path: str | Path, *, overrides: Sequence[str] = (), tasks: Sequence[Task] = ()
) -> SweepFile:
    """As `load_sweep`, with the text that a store keeps. The file must be valid without overrides.

    Raises:
        SweepError, InputError: as for `load_sweep`.
    """
    text, name, folder = read_text(path, what="sweep file"), str(path), Path(path).parent
    values = load_with_includes(text, name=name, path=Path(path))
    sweep = _validated(values, Sweep, name=name, must=_SWEEP, folder=folder)
    title, data = printable(Path(path).name), values.data
    if not overrides and not tasks:
        if values.files:
            text = _whole(f"{title} with what it includes:", values.files, data)
        return SweepFile(sweep, text)
    given, paths = parse_overrides(overrides), list[str]()
    if tasks:
        data.pop("task", None)
        given = (tasks_override(tasks), *given)
    for override in given:
        if override.keys[0] == INCLUDE:
            raise InputError(
                f"override {override.text}: only a file includes others; write `{INCLUDE}` in it"
            )
        data, replaced = applied(data, override)
        paths.append(replaced)
    texts = [override.text for override in given]
    text = _whole(f"{title}{_OVERRIDDEN}", texts, data)

    def place(problem: Problem) -> str:
        at = [o for o, path in zip(given, paths, strict=True) if _is_along(path, problem.key)]
        named = at or [o for o in given if o.key in problem.message] or given
        return f"override{'s'[: len(named) - 1]} {' '.join(o.text for o in named)}: "

    changed = load_with_includes(text, name=name, path=None)
    sweep = _validated(changed, Sweep, name=name, must=_SWEEP, place=place, folder=folder)
    return SweepFile(sweep, text)


def overrides_in(text: str) -> tuple[str, tuple[str, ...]]:
    """The file and the overrides that a `SweepFile`'s text names; empty where it has none."""
    first, *lines = text.splitlines() or [""]
    if not first.endswith(_OVERRIDDEN):
        return "", ()
    listed = itertools.takewhile(lambda line: line.startswith(_LISTED), lines)
    file = first.removeprefix("# ").removesuffix(_OVERRIDDEN)
    return file, tuple(line.removeprefix(_LISTED) for line in listed)


_OVERRIDDEN, _LISTED = " with these overrides:", "#   "


def _whole(title: str, names: Sequence[str], data: Any) -> str:
    """A file with the values `data`; its comment has a title and what was put together."""
    listed = "".join(f"{_LISTED}{printable(name)}\n" for name in names)
    return f"# {title}\n{listed}{dump_yaml(data)}"


def _is_along(path: str, key: str) -> bool:
    """Whether one of two dotted keys begins with the other; not if `key` is the whole file."""
    return bool(key) and (f"{path}.".startswith(f"{key}.") or key.startswith(f"{path}."))


def load_declared(path: str | Path, model: type[Declared], *, what: str, needs: str) -> Declared:
    """The YAML file at `path` as a `model`; `what` and `needs` describe the file in errors.

    Raises:
        SweepError: as for `load_sweep`.
    """
    root, data = load_yaml(read_text(path, what=what.partition(" ")[2]), name=str(path))
    must = f"{what} is a mapping with {needs}"
    return _validated(Values(root, data), model, name=str(path), must=must)


def parse_sweep(text: str, *, name: str = "sweep", folder: Path | None = None) -> Sweep:
    """The sweep in the YAML `text`; `name` is the file's name in errors.

    Its plugins are loaded: files are relative to `folder`, by default the current directory.

    Raises:
        SweepError: as for `load_sweep`, and where the text includes files.
    """
    values = load_with_includes(text, name=name, path=None)
    return _validated(values, Sweep, name=name, must=_SWEEP, folder=folder)


def sweep_text(sweep: Sweep) -> str:
    """A sweep that was built in Python as the text of a sweep file, for the store."""
    return f"# built in Python\n{dump_yaml(sweep.model_dump(mode='json', exclude_unset=True))}"


_SWEEP = "a sweep file is a mapping with name, task, models and methods"


def _validated(
    values: Values,
    model: type[Declared],
    *,
    name: str,
    must: str,
    place: Callable[[Problem], str] | None = None,
    folder: Path | None = None,
) -> Declared:
    """`values` as a `model`; `place` is the beginning of a problem's line, by default its place."""
    root, data = values.root, values.data
    if root is None or not isinstance(data, dict):
        raise SweepError(f"{name}:1: {must}")
    begin = place or (lambda problem: f"{_place(problem, root)}: ")
    with contextlib.ExitStack() as stack:
        if model is Sweep and "plugins" in data:
            try:
                stack.enter_context(active_plugins(_plugins(data["plugins"], folder)))
            except InputError as error:
                problem = Problem(("plugins",), str(error))
                raise SweepError(f"{begin(problem)}{problem.line}") from None
        try:
            return model.model_validate(data)
        except ValidationError as error:
            also = ("task", INCLUDE) if model is Sweep else ()
            problems = problems_of(error, model, data, with_kinds=with_plugin_kinds, also=also)
            raise SweepError(*(f"{begin(each)}{each.line}" for each in problems)) from None


def _plugins(names: Any, folder: Path | None) -> list[Plugin]:
    """The loaded plugins with these names; validation refuses what is no list of names."""
    listed = names if isinstance(names, list) else ()
    given = dict.fromkeys(name for name in listed if isinstance(name, str))
    return [loaded(find_source(name, folder=folder)) for name in given]


def _place(problem: Problem, root: yaml.Node) -> str:
    """File and line of a problem: of its key, or of what a check of the whole file mentions."""
    mark = _mark_of_mention(root, problem.message) if not problem.path else None
    mark = mark or _mark_of_path(root, problem.path)
    return f"{mark.name}:{mark.line + 1}"


def _mark_of_path(root: yaml.Node, path: Sequence[str | int]) -> yaml.Mark:
    """The mark of the deepest node on a path, whose last key may be missing in the file."""
    node, mark = root, _first_line(root)
    for part in path:
        step = _child(node, part)
        if step is not None:
            node, mark = step
    return mark


def _first_line(root: yaml.Node) -> yaml.Mark:
    """The beginning of the file, which may begin with comments."""
    return yaml.Mark(root.start_mark.name, 0, 0, 0, None, 0)


def _child(node: yaml.Node, part: Any) -> tuple[yaml.Node, yaml.Mark] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):  # keys of a merge (`<<`) precede the own ones
            if key.value == str(part):
                return value, key.start_mark
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        return child, child.start_mark
    return None


def _mark_of_mention(root: yaml.Node, message: str) -> yaml.Mark | None:
    """The mark of the first dotted key in the message of a check of the whole file."""
    match = re.match(r"([a-z_]+(?:\.[^\s:]+)?)", message)
    if match is None or not isinstance(root, yaml.MappingNode):
        return None
    mark = None
    node: yaml.Node = root
    keys = match.group(1).split(".")
    for i, key in enumerate(keys):
        step = _child(node, ".".join(keys[i:])) or _child(node, key)
        if step is None and isinstance(node, yaml.SequenceNode):
            entries = (n for n in node.value if _has_name(n, key))
            step = next(((n, n.start_mark) for n in entries), None)
        if step is None:
            break
        node, mark = step
    return mark


def _has_name(node: yaml.Node, label: str) -> bool:
    if isinstance(node, yaml.ScalarNode):
        return node.value == label
    return isinstance(node, yaml.MappingNode) and any(
        key.value in ("label", "name", "kind") and value.value == label for key, value in node.value
    )
