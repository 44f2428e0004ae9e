"""The overview of a task, as values.

Owns the fields of `w2s data --format json` and of the page's data section: every value is valid
JSON. Test labels of a sealed sweep are in none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from w2s_ray.config import FormName, Part


@dataclass(frozen=True)
class PartCounts:
    """The rows of one part."""

    part: Part
    rows: int
    groups: int
    """Groups that these rows belong to; a row without one is a group of its own."""
    classes: Mapping[str, int] | None
    """Class -> rows, in order; for pairs, class 1 means that the first text is better. None where
    there are no classes, and for a sealed test."""
    answers: int | None = None
    """Different answers; None for a task without answers."""


@dataclass(frozen=True)
class SharedRows:
    """Test rows that training rows repeat, counted in three ways; each includes the one before."""

    exact: int
    """Test rows whose texts are those of a training row, a pair's in any order."""
    normal_form: int
    """The same without differences in letter case, white space and Unicode form."""
    near_copies: int | None
    """Test rows that share at least 70 % of their pairs of neighbouring words with a training row;
    None where it is not known."""
    groups: int
    """Groups with rows in both."""


@dataclass(frozen=True)
class TokenLengths:
    """Lengths of a task's texts for the models that read them alike."""

    models: tuple[str, ...]
    what: str
    """texts, prompts or answers."""
    counted: bool
    """Whether a tokenizer counted them; otherwise they are estimated from words."""
    texts: int
    limit: int
    """Most tokens of such a text: of `training.max_tokens` and the model's positions, the less;
    for prompts without the tokens that an answer may have; for answers, `training.answer_tokens`.
    """
    shortest: int
    median: int
    most_95: int
    """95 % of the texts have at most this many tokens."""
    longest: int
    truncated: float
    """Share of the texts that are longer than `limit`."""
    unknown: float
    """Share of the tokens that stand for text which the tokenizer doesn't have."""
    edges: tuple[int, ...]
    """Bounds of the histogram's bins: bin i has lengths from edge i up to, not including, edge
    i + 1."""
    counts: tuple[int, ...]
    """Texts in each bin."""


@dataclass(frozen=True)
class Baseline:
    """A simple rule that was learned from ground truth of training rows."""

    name: str
    accuracy: float | None
    """On the rows of `TaskOverview.measured_on`; None where it can't be computed."""
    how: str
    """How it predicts, or why it can't be computed."""


@dataclass(frozen=True)
class ShownText:
    """A text of a row as a model reads it."""

    name: str
    """text, prompt, answer, first or second."""
    text: str
    """Without truncation, with the chat template's marks where there are messages."""
    length: int | None
    """Tokens, special ones included; None without the model's tokenizer."""
    truncated: bool
    """Whether the model reads only its end."""
    tokens: tuple[str, ...] | None
    """The tokens after truncation, special ones included; None where they were not asked for."""


@dataclass(frozen=True)
class ShownRow:
    """A row with its texts."""

    part: Part
    id: str
    label: str | None
    """Its class in words; None for answers."""
    texts: tuple[ShownText, ...]


@dataclass(frozen=True)
class TaskOverview:
    """What models see of a task."""

    task: str
    form: FormName
    fingerprint: str
    from_store: bool
    """Whether the rows were read from the store, and not from the task's data."""
    sealed: bool
    own_test: bool | None
    """Whether test rows are from the source's own test split; None where it is not known."""
    parts: tuple[PartCounts, ...]
    dropped: Mapping[str, int] | None
    """Reason -> rows dropped by cleaning; None where it is not known."""
    unused: int | None
    """Rows that were read and not dropped, and are in no part: sizes, balance and whole groups
    leave them over. None where it is not known."""
    repeated: int
    """Training rows that repeat an earlier training row in its normal form."""
    shared: SharedRows
    lengths: tuple[TokenLengths, ...]
    baselines: tuple[Baseline, ...]
    trained_on: int
    """Training rows that the baselines were learned from."""
    measured_on: Part
    """The part that the baselines are measured on: validation if the test is sealed."""
    measured_rows: int
    rows: tuple[ShownRow, ...]
    """The first rows of each class."""
    shown_to: str | None
    """The model whose rendering and tokens `rows` have; None where no model reads texts."""
