"""Unions of kinds that plugins extend: losses, and transforms of labels.

Owns the choice of the class for settings with a `kind`. A sweep file may use the package's kinds
and, within `plugin_kinds`, those of its plugins. Elsewhere a plugin's kind is found by the digest
of the plugin's source, which is one of its settings (`source`); a kind of a source that isn't
loaded here is an absent kind, which has settings and computes nothing. It loads no plugins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, Field, SerializeAsAny, TypeAdapter, WrapValidator

from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen

SOURCE = "source"
"""The setting of a plugin's kind that has the digest of the plugin's source."""

Kind = type[Frozen]

_usable: ContextVar[tuple[Kind, ...] | None] = ContextVar("usable", default=None)
"""The plugins' kinds in the sweep file that is being validated; None outside of one."""
_loaded: dict[tuple[str, str], Kind] = {}
"""(kind, source) -> its class, for the plugins that this process has loaded."""
_failures: dict[str, str] = {}
"""Source -> why this process can't load the plugin."""
_unions: dict[Kind, list[tuple[Kind, ...]]] = {}
"""Base class -> the members of each union with its kinds."""


def kind_of(model: Kind) -> str:
    """The kind of a class of settings."""
    return str(model.model_fields["kind"].default)


def open_union(members: Sequence[Kind], *, base: Kind, absent: Kind) -> Any:
    """The type of a field with one of `members`, or with a plugin's subclass of `base`.

    `absent` is the class for kinds of plugins that aren't loaded.
    """
    members = tuple(members)
    _unions.setdefault(base, []).append(members)

    def validated(value: Any, handler: Any) -> Any:
        if isinstance(value, base):
            return value
        usable = _usable.get()
        if usable is None and isinstance(value, Mapping) and SOURCE in value:
            found = _loaded.get((str(value.get("kind")), str(value[SOURCE])), absent)
            return found.model_validate(value)
        own = tuple(kind for kind in usable or () if issubclass(kind, base))
        return _adapter((*members, *own)).validate_python(value) if own else handler(value)

    by_own_class: Any = SerializeAsAny
    return Annotated[_closed(members), by_own_class(), WrapValidator(validated)]


def _closed(members: tuple[Kind, ...]) -> Any:
    union: Any = reduce(or_, members)
    return Annotated[union, Field(discriminator="kind")]


@lru_cache(maxsize=64)
def _adapter(members: tuple[Kind, ...]) -> TypeAdapter[Any]:
    return TypeAdapter(_closed(members))


def built_in_kinds(base: Kind) -> set[str]:
    """The package's kinds in the unions with subclasses of `base`."""
    return {kind_of(member) for members in _unions[base] for member in members}


def with_plugin_kinds(models: Sequence[type[BaseModel]]) -> list[type[BaseModel]]:
    """The members of a union, with the plugins' kinds in the sweep file that is validated."""
    bases = [base for base in _unions if any(issubclass(model, base) for model in models)]
    return [*models, *(kind for kind in _usable.get() or () if issubclass(kind, tuple(bases)))]


def usable_kinds(base: Kind) -> dict[str, Kind]:
    """The plugins' kinds of `base` in the sweep file that is validated."""
    return {kind_of(kind): kind for kind in _usable.get() or () if issubclass(kind, base)}


@contextlib.contextmanager
def plugin_kinds(kinds: Iterable[Kind]) -> Iterator[None]:
    """Within it, sweep files may use these kinds besides the package's."""
    token = _usable.set(tuple(kinds))
    try:
        yield
    finally:
        _usable.reset(token)


def add_loaded(model: Kind) -> None:
    """Make a plugin's kind known by its source."""
    _loaded[kind_of(model), str(model.model_fields[SOURCE].default)] = model


def find_loaded(kind: str, source: str) -> Kind | None:
    """The loaded plugin's class for a kind, if this process has loaded it."""
    return _loaded.get((kind, source))


def add_failure(source: str, why: str) -> None:
    """Remember why the plugin with this source can't be loaded here."""
    _failures[source] = why


def absence(kind: Any, source: Any) -> InputError:
    """The error for the use of a kind whose plugin isn't loaded."""
    why = _failures.get(str(source), f"the plugin with source {source} isn't loaded")
    return InputError(f"{kind}: {why}")
