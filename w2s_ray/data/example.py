"""The data types of this package: raw rows, examples, and the rows of a whole task.

Owns what an example holds, and when two examples are equal. It reads no files and makes no split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from w2s_ray.config import FORMS, FormName
from w2s_ray.data.cells import folded


def normal_answer(answer: str) -> str:
    """The answer without white space at both ends, as it is trained on, generated and compared.

    A prompt and its answer are always joined by one space.
    """
    return answer.strip()


Row = Mapping[str, Any]
"""A raw row: column name -> value."""


class Example(NamedTuple):
    """A row: a text and its class, two texts, a prompt and its answer, a question with choices, or
    running text.
    """

    id: str
    """Unique and stable within the task: `train:123`, or `train:123:wrong` for multiple choice."""
    text: str
    """The text, the first text of a pair, or the prompt of an answer."""
    label: int
    """0 or 1. For pairs, 1 if the first text is better. 0 for tasks without two classes."""
    group: str
    """Examples of one group are in the same part of the split."""
    second: str | None = None
    """The second text of a pair."""
    answer: str | None = None
    """The right answer to a prompt, the right choice, or the name of one of several classes."""
    difficulty: float | None = None
    """The difficulty by the source, such as a puzzle's rating."""
    chat: str | None = None
    """The chat messages as JSON (see `chat`), of which `text` and `second` are the plain form; None
    if the texts are not chat messages."""
    choices: tuple[str, ...] | None = None
    """The choices of a question, `answer` among them, in an order by their content."""
    weight: float | None = None
    """How much a training row counts, by the source; None = as much as every other."""
    extracted: str | None = None
    """The answer that the task's extractor takes from `answer`; None if it is the whole answer."""

    @property
    def folded(self) -> Example:
        """The row with folded texts: no differences in letter case, white space, Unicode form."""
        second = None if self.second is None else folded(self.second)
        row = self._replace(text=folded(self.text), second=second)
        if self.choices is None or self.answer is None:
            return row
        return row._replace(choices=tuple(map(folded, self.choices)), answer=folded(self.answer))

    @property
    def content(self) -> str:
        """The texts in any order: rows of equal content are duplicates."""
        if self.choices is not None:
            return "\x1f".join((self.text, *sorted(self.choices)))
        if self.second is None:
            return self.text
        return "\x1f".join(sorted((self.text, self.second)))

    def read(self, form: FormName) -> tuple[str, ...]:
        """What a model reads of a row of `form`, pass by pass: one text, both texts of a pair, a
        prompt with its answer, or the question with each choice.
        """
        if self.choices is not None:
            return tuple(f"{self.text} {choice}" for choice in self.choices)
        text = f"{self.text} {self.answer}" if FORMS[form].is_completed else self.text
        return (text,) if self.second is None else (text, self.second)

    @property
    def compared(self) -> str | None:
        """The right answer, or what the task's extractor takes from it."""
        return self.answer if self.extracted is None else self.extracted

    @property
    def verdict(self) -> str:
        """The ground truth of the content, independent of the order of a pair."""
        if self.second is not None and self.second < self.text:
            return str(1 - self.label)
        return self.compared if self.compared is not None else str(self.label)


@dataclass(frozen=True)
class Rows:
    """All examples of a task, in the order of the source."""

    pool: tuple[Example, ...]
    """Rows for both halves, and for the parts below that are None."""
    test: tuple[Example, ...] | None = None
    """The rows of the task's test file, or the source's own labelled test split; null = neither."""
    form: FormName = "classes"
    """What a row is."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows of the source that can't be used, and are not here."""
    files: int = 1
    """Number of files with columns of one's own that the rows are from."""
    validation: tuple[Example, ...] | None = None
    """The rows of the task's validation file; null = it has none."""

    @property
    def every(self) -> tuple[Example, ...]:
        """All rows."""
        return (*self.pool, *(self.test or ()), *(self.validation or ()))

    def changed(self, change: Callable[[Iterable[Example]], Iterable[Example]]) -> Rows:
        """These rows, after `change` of the pool and of each part's own rows."""
        own = {
            part: None if rows is None else tuple(change(rows))
            for part, rows in (("test", self.test), ("validation", self.validation))
        }
        return replace(self, pool=tuple(change(self.pool)), **own)
