"""The check of settings: they are the same after JSON, validation and pickling."""

from __future__ import annotations

import pickle

from w2s_ray.checks.check import Outcome
from w2s_ray.frozen import Frozen
from w2s_ray.identity import canonical_json


def same_after_copies(settings: Frozen) -> Outcome:
    """As JSON they are a part of ids, and pickled they get to workers."""
    written = canonical_json(settings.model_dump(mode="json"))
    validated = type(settings).model_validate_json(written)
    if validated != settings:
        return False, f"{settings!r} is {validated!r} after it was written and read"
    unpickled = pickle.loads(pickle.dumps(settings))  # noqa: S301 - made in this line
    if unpickled != settings:
        return False, f"{settings!r} is {unpickled!r} after pickling"
    return True, written
