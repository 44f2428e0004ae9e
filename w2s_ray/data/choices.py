"""The choices of a question: cells read as choices, the right one of them, and their order.

Owns the layouts of choices in a table (a list, several columns, lists of labels and texts) and the
three ways to name the right one. The order of a row's choices follows from their texts, so that
their places carry nothing of the source. It reads no files and makes no examples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from w2s_ray.config import Columns
from w2s_ray.data.cells import is_missing, plain_label, text_of, type_name
from w2s_ray.data.example import Row, normal_answer
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

_LIST = "write a list of texts, or one column for each choice"


@dataclass(frozen=True)
class Question:
    """The choices of a row in the order of its source, and the row's answer."""

    where: str
    """The row, for errors."""
    choices: Mapping[int, str]
    """Place in the source, from 0 -> text."""
    labels: Mapping[str, int]
    """The source's own names of the choices -> place; else letters."""
    answer: str
    """The answer as text."""


def right_choices(
    rows: Sequence[Row], columns: Columns, *, where: Callable[[int], str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The choices of each row in the order of its source, and the right one.

    An answer is a text, a place or a letter, the same in all rows.

    Raises:
        InputError: names the row: fewer than two choices, equal ones, or an answer that is none of
            them or may be two of them.
    """
    questions = [_question(row, columns, where=where(i)) for i, row in enumerate(rows)]
    for question, place in zip(questions, _places(questions, columns), strict=True):
        yield tuple(question.choices.values()), question.choices[place]


def by_content(question: str, choices: Sequence[str]) -> tuple[str, ...]:
    """Choices in an order that depends on the texts of question and choices alone."""

    def key(choice: str) -> bytes:
        content = f"{question}\n{choice}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=8).digest()

    return tuple(sorted(choices, key=key))


def _question(row: Row, columns: Columns, *, where: str) -> Question:
    assert columns.choices is not None
    assert columns.answer is not None
    if isinstance(columns.choices, str):
        cells, labels = _listed(row.get(columns.choices), f"{where}: column {columns.choices!r}")
    else:
        cells, labels = [row.get(name) for name in columns.choices], None
    choices = {
        i: normal_answer(text_of(cell, where=f"{where}: choice {i + 1}"))
        for i, cell in enumerate(cells)
        if not is_missing(cell)
    }
    choices = {i: choice for i, choice in choices.items() if choice}
    if len(choices) < 2:
        raise InputError(
            f"{where} has {len(choices)} choice(s), and a question needs two or more; add the "
            "others or remove the row"
        )
    twice = {choice for choice in choices.values() if list(choices.values()).count(choice) > 1}
    if twice:
        raise InputError(
            f"{where} has the choice {shown(min(twice))} twice; make its choices differ or remove "
            "the row"
        )
    answer = row.get(columns.answer)
    if is_missing(answer):
        raise InputError(
            f"{where} has no value in column {columns.answer!r}; fill it in or remove the row"
        )
    text = text_of(answer, where=f"{where}: column {columns.answer!r}")
    named = labels if labels is not None else ascii_uppercase
    return Question(
        where,
        choices,
        {label: i for i, label in enumerate(named) if i in choices},
        normal_answer(text) if isinstance(answer, str | bytes) else plain_label(answer),
    )


def _listed(value: Any, where: str) -> tuple[Sequence[Any], Sequence[str] | None]:
    """The choices in one cell, and their labels where it is a struct of the lists text and label.

    A text may be such a list as JSON, as in CSV files.
    """
    labels: Any = None
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InputError(f"{where} has a list that is not JSON; {_LIST}") from None
    if isinstance(value, dict) and {"text", "label"} <= value.keys():
        value, labels = value["text"], value["label"]
    if not isinstance(value, str) and hasattr(value, "tolist"):
        value = value.tolist()  # type: ignore[union-attr]
    if is_missing(value):
        return [], None
    if not isinstance(value, list | tuple):
        found = "a text" if isinstance(value, str) else type_name(value)
        raise InputError(f"{where} has {found} instead of a list of choices; {_LIST}")
    if labels is None:
        return value, None
    if not isinstance(labels, list | tuple) or len(labels) != len(value):
        raise InputError(f"{where} has other numbers of labels and texts; give each choice a label")
    return value, [plain_label(label) for label in labels]


def _places(questions: Sequence[Question], columns: Columns) -> list[int]:
    """The place of each question's right choice, by the one reading that all rows allow.

    Raises:
        InputError: no reading is possible for all rows, or two that differ.
    """
    readings = {
        name: [read(question) for question in questions] for name, read in _READINGS.items()
    }
    possible = {name: found for name, found in readings.items() if None not in found}
    if not possible:
        name = max(readings, key=lambda name: sum(place is not None for place in readings[name]))
        wrong = questions[readings[name].index(None)]
        count = len(wrong.choices)
        raise InputError(
            f"{wrong.where}: column {columns.answer!r} has {shown(wrong.answer)}, which is none of "
            f"its {count} choices; write the text of a choice, its place (0 to {count - 1}) or its "
            "letter, in all rows the same way"
        )
    (first, found), *others = possible.items()
    for name, other in others:
        differ = [i for i, (a, b) in enumerate(zip(found, other, strict=True)) if a != b]
        if differ:
            question = questions[differ[0]]
            raise InputError(
                f"{question.where}: column {columns.answer!r} has {shown(question.answer)}, which "
                f"is the {first} of one choice and the {name} of another; write letters, or other "
                "texts"
            )
    return [place for place in found if place is not None]


def _by_text(question: Question) -> int | None:
    return next((i for i, text in question.choices.items() if text == question.answer), None)


def _by_place(question: Question) -> int | None:
    label = plain_label(question.answer)
    place = int(label) if label.isascii() and label.isdecimal() else None
    return place if place in question.choices else None


def _by_letter(question: Question) -> int | None:
    label = plain_label(question.answer)
    return question.labels.get(label, question.labels.get(label.upper()))


_READINGS: Mapping[str, Callable[[Question], int | None]] = {
    "text": _by_text,
    "place": _by_place,
    "letter": _by_letter,
}
"""Ways to name the right choice, each with a function that finds its place."""
