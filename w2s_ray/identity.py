"""Run ids: a hash of everything that changes a run's numbers.

Owns the canonical form of a recipe and the hash over it. A recipe includes its parents' ids, so an
id covers all ancestors (a Merkle tree): a student's id changes when its supervisor's recipe
changes. Values without a canonical form are errors. It reads no sweep and no store.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

IDENTITY_VERSION = 2
"""Incremented whenever the meaning of a recipe changes, so that old results are not reused."""

ID_LENGTH = 20
"""Hexadecimal digits of a run id: 80 bits."""


def canonical(value: Any, *, where: str = "recipe") -> Any:
    """The canonical form of `value` for JSON: string keys, lists instead of tuples.

    Raises:
        TypeError: a value without a canonical form (a set, an object, a key that isn't text).
        ValueError: a float that is not finite.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{where}: {value} has no canonical form; use a finite number")
            return value
        case list() | tuple():
            return [canonical(item, where=f"{where}[{i}]") for i, item in enumerate(value)]
        case Mapping():
            return {
                _key(key, where): canonical(item, where=f"{where}.{key}")
                for key, item in value.items()
            }
        case _:
            raise TypeError(
                f"{where}: a {type(value).__name__} has no canonical form; "
                "use None, bool, int, float, str, lists and string-keyed mappings"
            )


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys and no spaces; equal values give equal text."""
    return json.dumps(
        canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def digest(value: Any) -> str:
    """The full SHA-256 of the canonical JSON of `value`, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def run_id(*, kind: str, recipe: Mapping[str, Any]) -> str:
    """The id of the run that `recipe` describes: 20 hexadecimal digits.

    `recipe` includes its parents' ids (a student's supervisor, a study's cells).
    """
    return digest({"identity": IDENTITY_VERSION, "kind": kind, "recipe": recipe})[:ID_LENGTH]


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{where}: the key {key!r} is not a string; recipes have string keys only")
    return key
