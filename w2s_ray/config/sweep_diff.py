"""The keys in which two sweeps differ, after defaults, includes and overrides.

Owns the names of these keys, which are those of overrides: dotted, and an entry of a list by its
name. An entry that one sweep lacks is one difference. A plugin is its name and the digest of its
source, so that an edited plugin is a difference too. It plans no runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from w2s_ray.config.sweep import Sweep


class Missing(Enum):
    """The value of a key that a sweep doesn't have."""

    MISSING = "missing"


MISSING = Missing.MISSING


@dataclass(frozen=True)
class Difference:
    """A key whose values differ, as in JSON."""

    key: str
    first: Any
    """`MISSING` where the first sweep has no such entry."""
    second: Any


def sweep_differences(first: Sweep, second: Sweep) -> list[Difference]:
    """The keys in which two sweeps differ, in the order of a sweep file."""
    return list(_differences(_data(first), _data(second)))


def _data(sweep: Sweep) -> dict[str, Any]:
    sources = {one.name: f"source {one.source.digest[:8]}" for one in sweep.plugins}
    return {**sweep.model_dump(mode="json", by_alias=True), "plugins": sources}


def _differences(first: Any, second: Any, key: str = "") -> Iterator[Difference]:
    one, other = _entries(first), _entries(second)
    if one is None or other is None:
        if first != second:
            yield Difference(key, first, second)
        return
    for name in dict.fromkeys((*one, *other)):
        below = f"{key}.{name}" if key else name
        if name in one and name in other:
            yield from _differences(one[name], other[name], below)
        else:
            yield Difference(below, one.get(name, MISSING), other.get(name, MISSING))
    orders = [name for name in one if name in other], [name for name in other if name in one]
    if isinstance(first, list) and orders[0] != orders[1]:
        yield Difference(f"{key} (order)", *orders)


def _entries(value: Any) -> Mapping[str, Any] | None:
    """The entries of a mapping, or of a list whose entries have names; None for other values."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    names = [_name(entry) for entry in value]
    if None in names or len(set(names)) < len(names):
        return None
    return dict(zip(map(str, names), value, strict=True))


def _name(entry: Any) -> str | None:
    keys = ("label", "name", "kind") if isinstance(entry, dict) else ()
    return next((str(entry[key]) for key in keys if entry.get(key)), None)
