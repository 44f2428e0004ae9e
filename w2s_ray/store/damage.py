"""Damaged files of a store: the error for one, and the warning where a reader goes on without it.

Owns the words: each says which file, what its damage costs and what mends it. A file that can't be
made again is never said to be deleted. Warnings go through logging; commands print them below what
they show.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from w2s_ray.store.errors import StoreError

_log = logging.getLogger(__name__)

LOGGER = "w2s_ray.store"
"""The logger below which every warning of a damaged file comes."""

RESTORE = "restore the file from a copy"


T = TypeVar("T")


class Damaged(StoreError):
    """A file of the store that is not as it was written."""

    def __init__(self, where: str, why: object, *, costs: str, remedy: str) -> None:
        self.why = " ".join(str(why).split())[:200]
        super().__init__(f"{where} is damaged ({self.why}): {costs}; {remedy}")


def note(damage: Damaged) -> None:
    """Warn of a file that a reader leaves out."""
    _log.warning("%s", damage)


def unless_damaged(read: Callable[[], T]) -> T | None:
    """What `read` gives; None, with a warning, where the file that it reads is damaged."""
    try:
        return read()
    except Damaged as damage:
        note(damage)
        return None
