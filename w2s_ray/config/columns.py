"""The columns of a task's own files: names, or numbers where a file has no header line.

Owns which columns are given together, and the form of task that they make. It reads no data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from w2s_ray.config.forms import TASK_FORMS, FormName
from w2s_ray.config.names import Line
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.printable import shown

Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
FILES_LABEL = "files.label"
"""The column that holds the label of each entry of a task's `files`."""


class ColumnNumber(str):
    """The number of a column, from 0, of a CSV or TSV file without a header line, as text."""


if TYPE_CHECKING:
    Column = str
else:
    _Number = Annotated[int, Field(strict=True, ge=0, le=9999)]
    Column = Annotated[
        Line | _Number,
        AfterValidator(lambda value: ColumnNumber(value) if isinstance(value, int) else value),
        PlainSerializer(lambda value: int(value) if isinstance(value, ColumnNumber) else value),
    ]
"""The name of a column; its number where the file has no header line."""


def _choice_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    if len(columns) < 2:
        raise InputError("a question has two or more choices; list a column for each of them")
    if len(set(columns)) < len(columns):
        raise InputError("it names a column twice; name each once")
    return columns


ChoiceColumns = Annotated[
    tuple[Column, ...],
    AfterValidator(_choice_columns),
    Field(json_schema_extra={"minItems": 2, "uniqueItems": True}),
]
"""Columns with one choice each."""


class Columns(Frozen):
    """Column names of a file of your own, or column numbers.

    Numbers count from 0 and mean that the CSV or TSV file has no header line: its first line is a
    row. Either all columns are names or all are numbers. The name of a column that consists of
    digits is written in quotes.

    The columns that are given decide the task's form. `text` and `label`: two classes. `text` and
    `category`: any number of classes. `first`, `second` and `label` or `preferred`, or `chosen` and
    `rejected`: pairs of which one is better. `text` and `answer`: prompts with answers. `text`,
    `choices` and `answer`: multiple choice. `text` alone: a corpus. `category` without `text`:
    images or features.

    A text may be a list of chat messages, `[{role, content}, ...]`, in all rows or in none. Models
    with a chat template read them in it. Other models read `Human: ...`, a blank line,
    `Assistant: ...`.
    """

    text: Column | None = None
    """Column of the text or the prompt. A pair may have a prompt too: it is put before both texts,
    followed by a blank line."""
    label: Column | None = None
    """Column of the class. For pairs, class 1 means that the first text is better."""
    first: Column | None = None
    """Column of a pair's first text."""
    second: Column | None = None
    """Column of a pair's second text."""
    preferred: Column | None = None
    """Column that names the better text of a pair. It has two values: either the names of the
    columns `first` and `second`, or any two values, of which the first in sorted order means
    `first`."""
    chosen: Column | None = None
    """Column of a pair's better text. Give it with `rejected`, in place of `first` and `second`.
    A hash of both texts decides which of them comes first, so that the side shows nothing."""
    rejected: Column | None = None
    """Column of a pair's worse text."""
    choices: Column | ChoiceColumns | None = Field(
        default=None, exclude_if=lambda choices: choices is None
    )
    """Column with the list of a question's choices, or a list of columns with one choice each,
    where an empty cell is no choice."""
    answer: Column | None = None
    """Column of the right answer. With `choices`: the text of the right choice, its place counted
    from 0, or its letter (A is the first)."""
    category: Column | None = None
    """Column of the class, one of any number: of a text, or of an image or features for a linear
    probe. Its values are the names of the classes. All parts together decide which classes there
    are, in the order of numbers by value before words."""
    image: Column | None = None
    """Column of the images that features are computed from: file names relative to the table, or
    pixels (uint8) in an .npz file."""
    id: Column | None = None
    """Column of the row's name in feature files; null = the row's number."""
    difficulty: Column | None = None
    """Column of a number that measures how hard the row is."""
    group: Column | None = None
    """Column of the row's group. All rows of a group go to the same part of the split; null = each
    row is a group of its own."""
    weight: Column | None = Field(default=None, exclude_if=lambda weight: weight is None)
    """Column of the row's weight, a finite number of at least 0. It multiplies the row's loss in
    every fit on labels, true or weak. Weights are divided by their mean over the rows that are
    trained on; weights of transforms multiply them. Evaluation, prompts and language modelling
    are not weighted, and a test or validation file has no such column."""
    positive: Line | Int64 | bool | None = None
    """The label value that is class 1; null = 1, true, or the second of two values in sorted
    order."""

    @model_validator(mode="after")
    def _names_or_numbers(self) -> Columns:
        numbers, names = list[str](), list[str]()
        for role, columns in self.roles.items():
            for name in columns if columns != (FILES_LABEL,) else ():
                (numbers if _is_number(name) else names).append(f"{role}: {name}")
        if numbers and names:
            raise InputError(
                f"{', '.join(numbers)} by number, but {', '.join(names)} by name; numbers are for "
                "files without a header line: give all columns by number, or all by name (a name "
                "of digits in quotes)"
            )
        return self

    @model_validator(mode="after")
    def _sides_differ(self) -> Columns:
        roles: dict[str, str] = {}
        for role in ("first", "second", "chosen", "rejected", "preferred"):
            name: str | None = getattr(self, role)
            other = role if name is None else roles.setdefault(name, role)
            if other != role:
                raise InputError(
                    f"{other} and {role} are the same column {shown(name)}; give each its own, "
                    "and if the same side is always better, give it as chosen and the other as "
                    "rejected"
                )
        return self

    @model_validator(mode="after")
    def _make_rows(self) -> Columns:
        given = self._given()
        made = next((form for form in TASK_FORMS.values() if form.is_made_by(given)), None)
        if made is not None and self.weight is not None and not made.has_weights:
            raise InputError(
                f"weight is for rows with classes or choices, and these are {made.name}; remove it"
            )
        if made is not None:
            return self
        for form in TASK_FORMS.values():
            mistake = form.mistake(given)
            if mistake is not None:
                raise InputError(mistake)
        raise InputError(
            f"{', '.join(sorted(given)) or 'no columns'} don't declare a task; give "
            + ", or ".join(form.columns_in_words for form in TASK_FORMS.values())
        )

    def _given(self) -> set[str]:
        """The columns that are named and decide the form."""
        return self.roles.keys() - {"difficulty", "group", "weight"}

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """The columns that are given: role -> names, several only for `choices`."""
        given = {role: getattr(self, role) for role in type(self).model_fields}
        del given["positive"]
        return {
            role: names if isinstance(names, tuple) else (names,)
            for role, names in given.items()
            if names is not None
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns of the files."""
        return tuple(n for names in self.roles.values() for n in names if n != FILES_LABEL)

    @property
    def has_header(self) -> bool:
        """Whether CSV and TSV files have a header line."""
        return not any(map(_is_number, self.names))

    @property
    def form(self) -> FormName:
        """The form of task that the columns make."""
        given = self._given()
        return next(name for name, form in TASK_FORMS.items() if form.is_made_by(given))


def _is_number(name: str) -> bool:
    return isinstance(name, ColumnNumber)
