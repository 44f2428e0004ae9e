"""Search spaces: distributions of single settings, and choices between kinds with their settings.

Owns the form of a search space and its branches (one kind chosen for each setting with kinds). It
proposes no values; `check_space` checks that the settings exist.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from w2s_ray.config.names import Name
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.printable import shown

MOST_CHOICES = 10_000
WIDEST = 10**12
"""Largest absolute value of an integer's bounds."""


def _value(value: Any) -> Any:
    """A setting's value; a list as a tuple, so that it is hashable."""
    if isinstance(value, list | tuple):
        return tuple(_value(part) for part in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{value} is not a finite number; correct it")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(
        f"{shown(value)} is not a value; write a number, text, true, false, null or list"
    )


Value = Annotated[Any, AfterValidator(_value)]
FloatBound = Annotated[float, Field(ge=-1e30, le=1e30)]
IntegerBound = Annotated[int, Field(ge=-WIDEST, le=WIDEST)]


class Distribution(Frozen):
    """Values to try for one setting: exactly one of these keys."""

    uniform: tuple[FloatBound, FloatBound] | None = None
    """Any float between the two bounds."""
    loguniform: tuple[FloatBound, FloatBound] | None = None
    """Any float between the two bounds, log-uniformly."""
    integer: tuple[IntegerBound, IntegerBound] | None = None
    """Any integer between the two bounds, both included."""
    choice: tuple[Value, ...] | None = Field(default=None, min_length=1, max_length=MOST_CHOICES)
    """One of the values; a value may be a list, as for `training.betas`."""

    @model_validator(mode="after")
    def _one_form(self) -> Distribution:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"give exactly one of uniform, loguniform, integer, choice (got {given or 'none'})"
            )
        bounds = self.uniform or self.loguniform or self.integer
        if bounds is not None and not bounds[0] < bounds[1]:
            raise InputError(f"{given[0]}: {shown(list(bounds))} is not a range; write [low, high]")
        if self.loguniform is not None and self.loguniform[0] <= 0:
            raise InputError(
                f"loguniform: {list(self.loguniform)} must be above 0; raise the lower bound, or "
                "use uniform"
            )
        return self

    def examples(self) -> tuple[Any, ...]:
        """Values to validate: the bounds, or every choice."""
        return self.choice or self.uniform or self.loguniform or self.integer or ()

    def extremes(self) -> tuple[Any, ...]:
        """The smallest and the largest value; the first of choices that aren't numbers."""
        values = self.examples()
        if all(isinstance(value, int | float) for value in values):
            return tuple(dict.fromkeys((min(values), max(values))))
        return values[:1]

    def grid(self) -> Sequence[Any] | None:
        """Every value; None if there are infinitely many."""
        if self.integer is not None:
            return range(self.integer[0], self.integer[1] + 1)
        return self.choice

    def holds(self, value: Any) -> bool:
        """Whether `value` is in the distribution."""
        values = self.grid()
        if values is not None:
            return _value(value) in values
        low, high = self.uniform or self.loguniform or (math.inf, -math.inf)
        return low <= value <= high


def _entry_tag(value: Any) -> str:
    return "(distribution)" if isinstance(value, dict | Distribution) else "(value)"


Entry = Annotated[
    Annotated[Distribution, Tag("(distribution)")] | Annotated[Value, Tag("(value)")],
    Discriminator(_entry_tag),
]


def listed(value: Any) -> Any:
    """A value as in JSON records: a tuple becomes a list."""
    return [listed(part) for part in value] if isinstance(value, tuple) else value


class OneOf(Frozen):
    """Kinds to try for a setting that has kinds, each with values to try for its own settings."""

    one_of: tuple[dict[Name, Entry], ...] = Field(min_length=1, max_length=100)
    """One entry for each kind: its `kind`, and for each of its settings a fixed value or values to
    try. Settings that are not named have their defaults."""

    @model_validator(mode="before")
    @classmethod
    def _only_key(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > 1:
            others = ", ".join(str(key) for key in value if key != "one_of")
            raise InputError(
                f"one_of must be the only key; remove {others}, or move it into an entry"
            )
        return value

    @model_validator(mode="after")
    def _kinds(self) -> OneOf:
        kinds = self.kinds()
        for i, kind in enumerate(kinds):
            if not isinstance(kind, str):
                raise InputError(f"entry {i + 1} of one_of has no kind; write {{kind: ...}}")
            if kinds.count(kind) > 1:
                raise InputError(f"one_of has the kind {kind!r} more than once; keep one entry")
        return self

    def kinds(self) -> tuple[str, ...]:
        """The kind of each entry."""
        return tuple(entry.get("kind") for entry in self.one_of)  # type: ignore[misc]

    def entry(self, kind: str) -> dict[str, Entry]:
        """The settings of `kind`, without the key `kind`."""
        entry = self.one_of[self.kinds().index(kind)]
        return {key: value for key, value in entry.items() if key != "kind"}


def _tag(value: Any) -> str:
    one_of = isinstance(value, OneOf) or (isinstance(value, dict) and "one_of" in value)
    return "(one_of)" if one_of else "(distribution)"


Choices = Annotated[
    Annotated[Distribution, Tag("(distribution)")] | Annotated[OneOf, Tag("(one_of)")],
    Discriminator(_tag),
]
"""The values to try for one dotted setting."""

Space = Mapping[str, Distribution | OneOf]
"""Dotted setting -> values to try."""


@dataclass(frozen=True)
class Branch:
    """The part of a space in which each setting with kinds has one chosen kind."""

    kinds: dict[str, str]
    """Dotted setting with kinds -> the chosen kind."""
    fixed: dict[str, Any]
    """Dotted setting -> its fixed value, including the kinds as `loss.kind`."""
    free: dict[str, Distribution]
    """Dotted setting -> values to try."""

    def points(self) -> Iterator[dict[str, Any]]:
        """Every point of the branch's grid; every free setting must be finite."""
        paths = sorted(self.free)
        for values in itertools.product(*(self.free[path].grid() or () for path in paths)):
            yield {**self.fixed, **dict(zip(paths, map(listed, values), strict=True))}

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether `settings` is a point of this branch."""
        return settings.keys() == {*self.fixed, *self.free} and all(
            self.free[path].holds(value) if path in self.free else value == self.fixed[path]
            for path, value in settings.items()
        )


def branches(space: Space) -> tuple[Branch, ...]:
    """Every branch of `space`; exactly one if no setting has kinds."""
    one_ofs = {path: one_of for path, one_of in sorted(space.items()) if isinstance(one_of, OneOf)}
    return tuple(
        branch(space, dict(zip(one_ofs, kinds, strict=True)))
        for kinds in itertools.product(*(one_of.kinds() for one_of in one_ofs.values()))
    )


def branch(space: Space, kinds: Mapping[str, str]) -> Branch:
    """The branch of `space` with these kinds."""
    result = Branch(kinds=dict(kinds), fixed={}, free={})
    for path, choices in sorted(space.items()):
        if isinstance(choices, Distribution):
            result.free[path] = choices
            continue
        result.fixed[f"{path}.kind"] = kinds[path]
        for key, entry in sorted(choices.entry(kinds[path]).items()):
            if isinstance(entry, Distribution):
                result.free[f"{path}.{key}"] = entry
            else:
                result.fixed[f"{path}.{key}"] = listed(entry)
    return result


def grid_size(space: Space) -> int:
    """Number of points of the space's grid; every free setting must be finite."""
    return sum(
        math.prod(len(distribution.grid() or ()) for distribution in branch.free.values())
        for branch in branches(space)
    )
