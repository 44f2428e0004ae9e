"""One labelled text of a task, and what a reader hands to the split.

Owns the two frozen shapes that everything else in this room passes on. They know nothing of where
rows come from, of seeds or of parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Example(NamedTuple):
    """A text and its class."""

    id: str
    """Unique and stable within the task: `train:123`, or `train:123:wrong` for multiple choice."""
    text: str
    """What a model reads."""
    label: int
    """0 or 1."""
    group: str
    """Examples of one group stay in one part of the split."""


@dataclass(frozen=True)
class Rows:
    """A task's examples as they were read, in the order of the source."""

    pool: tuple[Example, ...]
    """Rows for both halves and validation, and for test where `test` is null."""
    test: tuple[Example, ...] | None = None
    """The source's own labelled test split; null where it has none."""
