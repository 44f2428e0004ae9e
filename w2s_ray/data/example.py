"""One row of a task, what its form is, and what a reader hands to the split.

Owns the frozen shapes that everything else in this room passes on. They know nothing of where rows
come from, of seeds or of parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from w2s_ray.config import FormName
from w2s_ray.data.cells import folded


def normal_answer(answer: str) -> str:
    """The form in which answers are learned, completed and compared: no spaces at either end.

    A prompt and its answer are always joined by one space.
    """
    return answer.strip()


Row = Mapping[str, Any]
"""A raw row: column name -> value."""


class Example(NamedTuple):
    """A row: a text and its class, two texts, a prompt and its answer, or running text."""

    id: str
    """Unique and stable within the task: `train:123`, or `train:123:wrong` for multiple choice."""
    text: str
    """What a model reads; the first of a pair, or the prompt of an answer."""
    label: int
    """0 or 1; of a pair, 1 where the first text is the better one; 0 where there are no classes."""
    group: str
    """Examples of one group stay in one part of the split."""
    second: str | None = None
    """The second text of a pair."""
    answer: str | None = None
    """The right answer to a prompt."""
    difficulty: float | None = None
    """How hard the row is by its source, such as a puzzle's rating."""
    chat: str | None = None
    """The texts' chat messages as JSON (see `chat`), of which `text` and `second` are the plain
    form; null where they are no messages."""

    @property
    def folded(self) -> Example:
        """The row with texts in which letter case, spaces and Unicode's other forms are alike."""
        second = None if self.second is None else folded(self.second)
        return self._replace(text=folded(self.text), second=second)

    @property
    def content(self) -> str:
        """What a model is shown: rows of equal content are the same row."""
        if self.second is None:
            return self.text
        return "\x1f".join(sorted((self.text, self.second)))

    @property
    def verdict(self) -> str:
        """What ground truth says of the content, whatever the order of a pair."""
        if self.second is not None and self.second < self.text:
            return str(1 - self.label)
        return self.answer if self.answer is not None else str(self.label)


@dataclass(frozen=True)
class Rows:
    """A task's examples as they were read, in the order of the source."""

    pool: tuple[Example, ...]
    """Rows for both halves and validation, and for test where `test` is null."""
    test: tuple[Example, ...] | None = None
    """The source's own labelled test split; null where it has none."""
    form: FormName = "classes"
    """What a row is."""
