"""Damaged files of a store: the error, and the warning where the file is left out.

Owns the form of the messages: the file, the consequence of its damage, and the remedy. No remedy
deletes a file that can't be made again. Warnings go through logging; commands print them below
their output.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from w2s_ray.store.errors import StoreError

_log = logging.getLogger(__name__)

LOGGER = "w2s_ray.store"
"""The logger of every warning of a damaged file."""

RESTORE = "restore the file from a copy"


T = TypeVar("T")


class Damaged(StoreError):
    """A file of the store whose content is not the written one."""

    def __init__(self, where: str, why: object, *, costs: str, remedy: str) -> None:
        self.why = " ".join(str(why).split())[:200]
        super().__init__(f"{where} is damaged ({self.why}): {costs}; {remedy}")


def warn(damage: Damaged) -> None:
    """Log a warning of a damaged file."""
    _log.warning("%s", damage)


def none_if_damaged(read: Callable[[], T]) -> T | None:
    """The result of `read`, or None, with a warning, if the file that it reads is damaged."""
    try:
        return read()
    except Damaged as damage:
        warn(damage)
        return None
