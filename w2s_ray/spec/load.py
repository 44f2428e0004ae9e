"""Sweep files: YAML to a `Sweep`, with errors that name the file, the line, the key and the remedy.

Owns reading and error wording. It uses PyYAML's safe loader only, with the YAML 1.2 meaning of
booleans (`on` and `no` are words), numbers like `1e-5`, and duplicate keys refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from w2s_ray.errors import InputError
from w2s_ray.spec.merge import unknown
from w2s_ray.spec.sweep import Sweep

TAG = r"function-after|\[key\]|\(\w+\)$"
"""Parts of pydantic's locations that no file has: validators, and tags of unions."""


class SweepError(InputError):
    """A sweep file that can't be used; one line for each problem."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars and no duplicate keys."""

    yaml_implicit_resolvers = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice; keep one", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


Declared = TypeVar("Declared", bound=BaseModel)


def load_sweep(path: str | Path) -> Sweep:
    """The sweep in the YAML file at `path`.

    Raises:
        SweepError: the file is missing, is no YAML, or says something that a sweep can't.
    """
    return parse_sweep(_text(path, what="sweep file"), name=str(path))


def load_declared(path: str | Path, model: type[Declared], *, what: str, needs: str) -> Declared:
    """The `model` in the YAML file at `path`; `what` it is and `needs` are for errors.

    Raises:
        SweepError: as for `load_sweep`.
    """
    text = _text(path, what=what.partition(" ")[2])
    return _parsed(text, model, name=str(path), must=f"{what} is a mapping with {needs}")


def _text(path: str | Path, *, what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SweepError(f"no {what} at {path}; name a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(f"{path}: can't be read: {error}") from None


def parse_sweep(text: str, *, name: str = "sweep") -> Sweep:
    """The sweep in the YAML `text`; `name` stands for the file in errors.

    Raises:
        SweepError: as for `load_sweep`.
    """
    must = "a sweep file is a mapping with name, task, models and methods"
    return _parsed(text, Sweep, name=name, must=must)


def _parsed(text: str, model: type[Declared], *, name: str, must: str) -> Declared:
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SweepError(f"{name}:{line}: not valid YAML: {error.problem}") from None
    if not isinstance(data, dict):
        raise SweepError(f"{name}:1: {must}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = [d for d in error.errors(include_url=False) if not _echo(d, data)]
        lines = [_worded(detail, root, data, name, model) for detail in details]
        raise SweepError("\n".join(dict.fromkeys(lines))) from None


def _echo(detail: Any, data: dict[str, Any]) -> bool:
    """Whether an error only repeats another: pydantic tries every member of a union."""
    tasks_are_declared = "task" in data or data.get("tasks")
    return (
        detail["type"] == "too_short" and detail["loc"] == ("tasks",) and tasks_are_declared
    ) or (detail["type"] == "tuple_type" and isinstance(detail.get("input"), str))


def _worded(detail: Any, root: yaml.Node, data: Any, name: str, model: type[BaseModel]) -> str:
    """One of pydantic's errors as `file:line: key: what is wrong and what to do`."""
    loc = [part for part in detail["loc"] if not re.match(TAG, str(part))]
    if loc[:1] == ["tasks"] and "task" in data:
        loc = ["task", *loc[2:]]
    line, shown = _locate(root, loc)
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = unknown(str(loc[-1]), _siblings(model, detail["loc"][:-1], data))
    elif detail["type"] == "missing":
        message = "missing; add it"
    elif detail["type"] not in ("value_error", "union_tag_invalid"):
        given = detail.get("input")
        if isinstance(given, str | int | float | bool):
            message = f"{message} (got {given!r})"
    if not shown:
        line = _line_of_mention(root, message) or line
    prefix = f"{name}:{line}: "
    return prefix + (f"{shown}: {message}" if shown else message)


def _locate(root: yaml.Node, loc: list[Any]) -> tuple[int, str]:
    """Line of the deepest node that `loc` leads to, and the path as the user wrote it."""
    node, line, shown = root, 1, []
    for part in loc:
        step = _child(node, part)
        if step is None:
            if isinstance(node, yaml.MappingNode) and part is loc[-1]:
                shown.append(str(part))
            continue
        node, line = step
        shown.append(str(part))
    return line, ".".join(shown)


def _child(node: yaml.Node, part: Any) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        return child, child.start_mark.line + 1
    return None


def _line_of_mention(root: yaml.Node, message: str) -> int | None:
    """The line of the dotted key that a whole-file check named first."""
    match = re.match(r"([a-z_]+(?:\.[^\s:]+)?)", message)
    if match is None or not isinstance(root, yaml.MappingNode):
        return None
    line = None
    node: yaml.Node = root
    keys = match.group(1).split(".")
    for i, key in enumerate(keys):
        step = _child(node, ".".join(keys[i:])) or _child(node, key)
        if step is None and isinstance(node, yaml.SequenceNode):
            step = next(((n, n.start_mark.line + 1) for n in node.value if _named(n, key)), None)
        if step is None:
            break
        node, line = step
    return line


def _named(node: yaml.Node, label: str) -> bool:
    if isinstance(node, yaml.ScalarNode):
        return node.value == label
    return isinstance(node, yaml.MappingNode) and any(
        key.value in ("label", "name", "kind") and value.value == label for key, value in node.value
    )


def _siblings(model: Any, loc: Any, data: Any) -> list[str]:
    """The keys that are allowed where pydantic met an unknown one."""
    for part in loc:
        models = _models_in(model) if not _is_model(model) else [model]
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
    keys = dict.fromkeys(key for m in _models_in(model) for key in m.model_fields)
    return [*keys, "task"] if model is Sweep else list(keys)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _models_in(annotation: Any) -> list[Any]:
    if _is_model(annotation):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _models_in(arg)]
