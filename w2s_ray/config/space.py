"""What a search may try: distributions of single settings, and kinds with settings of their own.

Owns the shape of a search space and the ways through it. It proposes nothing (samplers live where
studies run) and knows no setting: whether a path names one is checked where settings are known.
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
"""Greatest absolute value of an integer's bounds."""


def _value(value: Any) -> Any:
    """A setting's value, or a list of such: a list as a tuple, so that it can be looked up."""
    if isinstance(value, list | tuple):
        return tuple(_value(part) for part in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{value} is no finite number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"{shown(value)} is no value; write a number, text, true, false, null or list")


Value = Annotated[Any, AfterValidator(_value)]
Number = Annotated[float, Field(ge=-1e30, le=1e30)]
Bound = Annotated[int, Field(ge=-WIDEST, le=WIDEST)]


class Distribution(Frozen):
    """Values to try for one setting: exactly one of these keys."""

    uniform: tuple[Number, Number] | None = None
    """Any float between the two bounds."""
    loguniform: tuple[Number, Number] | None = None
    """Any float between the two bounds, log-uniformly."""
    integer: tuple[Bound, Bound] | None = None
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
            raise InputError(f"{given[0]}: {shown(list(bounds))} is no range; write [low, high]")
        if self.loguniform is not None and self.loguniform[0] <= 0:
            raise InputError(f"loguniform: {list(self.loguniform)} must lie above 0")
        return self

    def examples(self) -> tuple[Any, ...]:
        """Values that stand for the whole: the bounds, or every choice."""
        return self.choice or self.uniform or self.loguniform or self.integer or ()

    def extremes(self) -> tuple[Any, ...]:
        """The least and the greatest value; of choices that have no order, the first."""
        values = self.examples()
        if all(isinstance(value, int | float) for value in values):
            return tuple(dict.fromkeys((min(values), max(values))))
        return values[:1]

    def grid(self) -> Sequence[Any] | None:
        """Every value, or None where there are infinitely many."""
        if self.integer is not None:
            return range(self.integer[0], self.integer[1] + 1)
        return self.choice

    def holds(self, value: Any) -> bool:
        """Whether `value` may be tried."""
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
    """A value of a space as it is recorded: a tuple is a list there."""
    return [listed(part) for part in value] if isinstance(value, tuple) else value


class OneOf(Frozen):
    """Kinds to try for a setting that has kinds, each with values to try for its own settings."""

    one_of: tuple[dict[Name, Entry], ...] = Field(min_length=1, max_length=100)
    """One entry for each kind: its `kind`, and for each of its settings a fixed value or values to
    try. Settings that are not named have their defaults."""

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > 1:
            others = ", ".join(str(key) for key in value if key != "one_of")
            raise InputError(f"one_of stands alone; remove {others}, or put it into an entry")
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
        """What stands beside `kind` in its entry."""
        found = self.one_of[self.kinds().index(kind)]
        return {key: value for key, value in found.items() if key != "kind"}


def _tag(value: Any) -> str:
    one_of = isinstance(value, OneOf) or (isinstance(value, dict) and "one_of" in value)
    return "(one_of)" if one_of else "(distribution)"


Choices = Annotated[
    Annotated[Distribution, Tag("(distribution)")] | Annotated[OneOf, Tag("(one_of)")],
    Discriminator(_tag),
]
"""What to try for one dotted setting."""

Space = Mapping[str, Distribution | OneOf]
"""Dotted setting -> what to try."""


@dataclass(frozen=True)
class Branch:
    """One way through a space: a kind is chosen wherever there are kinds."""

    kinds: dict[str, str]
    """Dotted setting that has kinds -> the kind."""
    fixed: dict[str, Any]
    """Dotted setting -> its value; the kinds are among them, as `loss.kind`."""
    free: dict[str, Distribution]
    """Dotted setting -> what to try."""

    def points(self) -> Iterator[dict[str, Any]]:
        """Every point of the branch's grid; every free setting must have one."""
        paths = sorted(self.free)
        for values in itertools.product(*(self.free[path].grid() or () for path in paths)):
            yield {**self.fixed, **dict(zip(paths, map(listed, values), strict=True))}

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether a trial of this branch may have `settings`."""
        return settings.keys() == {*self.fixed, *self.free} and all(
            self.free[path].holds(value) if path in self.free else value == self.fixed[path]
            for path, value in settings.items()
        )


def branches(space: Space) -> tuple[Branch, ...]:
    """Every way through `space`; one where no setting has kinds."""
    forks = {path: found for path, found in sorted(space.items()) if isinstance(found, OneOf)}
    return tuple(
        branch(space, dict(zip(forks, kinds, strict=True)))
        for kinds in itertools.product(*(fork.kinds() for fork in forks.values()))
    )


def branch(space: Space, kinds: Mapping[str, str]) -> Branch:
    """The way through `space` that takes `kinds`."""
    found = Branch(kinds=dict(kinds), fixed={}, free={})
    for path, declared in sorted(space.items()):
        if isinstance(declared, Distribution):
            found.free[path] = declared
            continue
        found.fixed[f"{path}.kind"] = kinds[path]
        for key, entry in sorted(declared.entry(kinds[path]).items()):
            if isinstance(entry, Distribution):
                found.free[f"{path}.{key}"] = entry
            else:
                found.fixed[f"{path}.{key}"] = listed(entry)
    return found


def grid_size(space: Space) -> int:
    """Points of the space's grid; every free setting must have one."""
    return sum(
        math.prod(len(free.grid() or ()) for free in way.free.values()) for way in branches(space)
    )
