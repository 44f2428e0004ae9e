"""YAML files to plain values, with errors that name the file, the line and the remedy.

Owns the reading of one document of bounded size and depth that has only mappings, lists, text,
numbers, true, false and null. Scalars have their YAML 1.2 meaning: `on`, `no` and dates are text,
`1e-5` is a number. Keys are text, and a repeated key is an error. It interprets no values.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from w2s_ray.errors import InputError
from w2s_ray.printable import shown

LARGEST_BYTES = 1 << 20
DEEPEST = 40
"""Largest nesting depth of lists and mappings."""
MOST_VALUES = 100_000
"""Largest number of values in a document, including those that aliases repeat."""
LONGEST_NUMBER = 100
"""Digits of a number."""
_TEMPLATE = re.compile(r"\{\{|\{%")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_PREFIX = "tag:yaml.org,2002:"
_RESOLVED = (f"{_PREFIX}null", f"{_PREFIX}merge")
"""PyYAML's tags of plain scalars that are kept; the patterns of the others are replaced below."""
_KINDS = {
    "null": "null",
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "seq": "a list",
    "map": "a mapping",
}


class SweepError(InputError):
    """A sweep file or another YAML file is invalid; one line for each problem."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars, bounds, and only the types of JSON."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _RESOLVED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values: dict[yaml.Node, int] = {}
        """Composed node -> number of values in it."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > DEEPEST:
            raise _problem(f"lists and mappings are nested more than {DEEPEST} deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and node not in self._values:
            raise _problem("an alias is inside the value that it repeats; remove it", mark)
        if not is_alias and node is not None:
            self._values[node] = 1 + sum(self._values[part] for part in _parts(node))
            if self._values[node] > MOST_VALUES:
                raise _problem(
                    f"there are more than {MOST_VALUES:,} values, aliases included", mark
                )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _problem("this is not a mapping; write {key: value, ...}", node.start_mark)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem("a key is a list or a mapping; a key is text", key.start_mark)
            if key.value in seen:
                raise _problem(f"the key {shown(key.value)} occurs twice; keep one", key.start_mark)
            seen.add(key.value)
            self._check_text(key)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_checked(self, node: yaml.Node) -> Any:
        """A scalar, list or mapping, by PyYAML's constructor for its tag."""
        kind = node.tag.removeprefix(_PREFIX)
        if isinstance(node, yaml.ScalarNode):
            self._check_text(node)
            if kind in ("int", "float") and len(node.value) > LONGEST_NUMBER:
                raise _problem(f"a number has more than {LONGEST_NUMBER} digits", node.start_mark)
        try:
            return yaml.SafeLoader.yaml_constructors[node.tag](self, node)
        except (ValueError, LookupError):
            message = f"{shown(node.value)} is not {_KINDS[kind]}"
            raise _problem(message, node.start_mark) from None

    def construct_other(self, node: yaml.Node) -> None:
        """Refuse a tag of another type."""
        tag = shown(node.tag.replace(_PREFIX, "!!"))
        raise _problem(f"{tag} is not an allowed type; remove it", node.start_mark)

    @staticmethod
    def _check_text(node: yaml.ScalarNode) -> None:
        control = _CONTROL.search(node.value)
        if control is not None:
            message = f"a text has the character {shown(control[0])}; remove it"
            raise _problem(message, node.start_mark)


for _kind in _KINDS:
    _Loader.add_constructor(_PREFIX + _kind, _Loader.construct_checked)
_Loader.yaml_constructors[None] = _Loader.construct_other
_Loader.add_implicit_resolver(
    f"{_PREFIX}bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    f"{_PREFIX}int",
    re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    f"{_PREFIX}float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def read_text(path: str | Path, *, what: str) -> str:
    """The text of the file at `path`; `what` describes the file in errors.

    Raises:
        SweepError: the file is missing, too large or not a text file.
    """
    file = Path(path)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            is_what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise SweepError(f"{path} is {is_what}; give the path of the {what}, a YAML file")
        if status.st_size > LARGEST_BYTES:
            raise SweepError(
                f"{path} has {status.st_size:,} bytes, too many for a {what} (at most "
                f"{LARGEST_BYTES:,}); give the path of the {what}"
            )
        return file.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise SweepError(f"no {what} at {path}; give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        raise SweepError(
            f"{path}: byte {error.start:,} is not UTF-8; save the file as UTF-8"
        ) from None
    except OSError as error:
        raise SweepError(
            f"{path} can't be read: {error.strerror}; give the path of the {what}"
        ) from None


def load_yaml(text: str, *, name: str, first: bool = False) -> tuple[yaml.Node | None, Any]:
    """The document in `text`, as nodes (whose marks have file and line) and as values.

    `name` is the file's name in errors and marks. `first`: read the first of several documents.

    Raises:
        SweepError: `text` is not YAML, or has something that is not allowed.
    """
    try:
        loader = _Loader(text)
        loader.name = name
        if first:
            root = loader.get_node() if loader.check_node() else None
        else:
            root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the character {shown(text[error.position])} is not allowed; remove it"
        raise SweepError(f"{name}:{line}: not valid YAML: {message}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = str(error.problem)
        if problem.startswith("but "):
            problem = f"{error.context}, {problem}"
        lines = text.splitlines()[line - 1 : line]
        if any(map(_TEMPLATE.search, lines)):
            problem = f"this is an unrendered template; render it first ({problem})"
        raise SweepError(f"{name}:{line}: not valid YAML: {problem}") from None


def dump_yaml(data: Any) -> str:
    """`data` as YAML text from which `load_yaml` reads the same values."""
    return yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=100,
    )


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what YAML 1.2 reads as another type, and writes no aliases."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _problem(message: str, mark: Any) -> ConstructorError:
    return ConstructorError(None, None, message, mark)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
