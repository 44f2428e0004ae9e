"""Formats of raw rows: labelled text, multiple choice, comparison, preference.

Owns the rules that keep a format from revealing the label: both classes of a task have the same
template, a question gives as many right answers as wrong ones, a comparison is given in both
orders. Owns also the groups of rows for sources without groups. It does not read files or make
splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from w2s_ray.data.cells import Cells, is_missing, name_list, plain_label, text_of
from w2s_ray.data.chat import Messages, to_json
from w2s_ray.data.choices import by_content
from w2s_ray.data.example import Example, Row, Rows
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

Answers = Callable[[Row], tuple[Sequence[str], Sequence[str]]]
"""Raw row -> its right and its wrong answers; without a label, there are no right answers."""

BINARY: Mapping[str, int | None] = MappingProxyType(
    {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1, "-1": None}
)
"""Label as lower-case text -> class; null = the row has no label."""

Class = TypeVar("Class", int | None, str)

KEY_SEPARATOR = "\x1f"
"""Separator in a group with several keys (see `merge_linked_groups`)."""


@dataclass(frozen=True)
class LabelledText:
    """One text and its class: a sentence, a pair of sentences, a claim."""

    text: str
    """Template over the row's columns, which are stripped of white space."""
    group: tuple[str, ...] = ()
    """Columns whose values are the group's keys (see `merge_linked_groups`); empty = the text."""
    label: str = "label"
    classes: Mapping[str, int | None] = field(default_factory=lambda: BINARY)

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        label = class_of(row[self.label], self.classes, where=f"{id}: column {self.label!r}")
        cells = Cells(row, id=id, stripped=True)
        text = self.text.format_map(cells)
        group = KEY_SEPARATOR.join(cells[column] for column in self.group) or text
        return [] if label is None or not text else [Example(id, text, label, group)]


@dataclass(frozen=True)
class CategorizedText:
    """One text and its class, one of several."""

    text: str
    """Template over the row's columns, which are stripped of white space."""
    classes: Mapping[str, str]
    """Label as text -> name of the class."""
    label: str = "label"

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        name = class_of(row[self.label], self.classes, where=f"{id}: column {self.label!r}")
        text = self.text.format_map(Cells(row, id=id, stripped=True))
        return [Example(id, text, 0, text, answer=name)] if text else []


@dataclass(frozen=True)
class Choice:
    """A question with answers: as many rows with right answers as with wrong ones."""

    question: str
    """Template over the row's columns; a list of texts is joined by line breaks."""
    answers: Answers
    group: str
    """Template over the row's columns, whose value is the group."""
    text: str = "Q: {question}\nA: {answer}"

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        right, wrong = self.answers(row)
        cells = Cells(row, id=id, lists=True)
        question, group = self.question.format_map(cells), self.group.format_map(cells)
        picked = _balanced(question, right=right, wrong=wrong)
        return [
            Example(
                f"{id}:{('wrong', 'right')[label]}{number or ''}",
                self.text.format(question=question.strip(), answer=answer.strip()),
                label,
                group,
            )
            for label in (1, 0)
            for number, answer in enumerate(picked[label])
        ]


@dataclass(frozen=True)
class Question:
    """A question with all its choices as one row."""

    of: Choice
    """The same question as rows of two classes."""

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        right, wrong = ([text.strip() for text in texts] for texts in self.of.answers(row))
        choices = [text for text in (*right, *wrong) if text]
        if len(right) != 1 or not right[0] or len({*choices}) < max(2, len(choices)):
            return []
        cells = Cells(row, id=id, lists=True)
        question = self.of.question.format_map(cells).strip()
        return [
            Example(
                id,
                question,
                0,
                self.of.group.format_map(cells),
                answer=right[0],
                choices=by_content(question, choices),
            )
        ]


@dataclass(frozen=True)
class Comparison:
    """Two texts, one of them better, as a row for each order; class 1 if the first is better.

    Comparisons with a common text are in one group (see `merge_linked_groups`).
    """

    better: str
    worse: str

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        better, worse = row[self.better].strip(), row[self.worse].strip()
        if not better or not worse or better == worse:
            return []
        group = KEY_SEPARATOR.join((better, worse))
        return [
            Example(f"{id}:better_first", f"First: {better}\nSecond: {worse}", 1, group),
            Example(f"{id}:worse_first", f"First: {worse}\nSecond: {better}", 0, group),
        ]


@dataclass(frozen=True)
class Preference:
    """Two texts as a pair, one of them better; class 1 if the first is better.

    The order depends only on the texts. Their order in the source could reveal the better one.
    """

    better: str
    """Template over the row's columns."""
    worse: str
    group: tuple[str, ...] = ()
    """Columns whose values are the group; empty = both texts (see `merge_linked_groups`)."""

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        cells = Cells(row, id=id)
        better, worse = (t.format_map(cells).strip() for t in (self.better, self.worse))
        return preference_pair(
            better, worse, id=id, group=KEY_SEPARATOR.join(cells[column] for column in self.group)
        )


def preference_pair(
    better: str,
    worse: str,
    *,
    id: str,
    group: str = "",
    chats: tuple[Messages, Messages] | None = None,
) -> list[Example]:
    """The pair of two texts (see `Preference`); no pair if they are equal or one is empty.

    `chats` are the messages of the better and of the worse text.
    """
    if not better or not worse or better == worse:
        return []
    right = int(better_first(better, worse))
    first, second = (better, worse) if right else (worse, better)
    chat = None if chats is None else to_json(*(chats if right else chats[::-1]))
    group = group or KEY_SEPARATOR.join(sorted((better, worse)))
    return [Example(id, first, right, group, second=second, chat=chat)]


def better_first(better: str, worse: str) -> bool:
    """Whether the better text of a pair comes first, by a hash of both texts in sorted order."""
    texts = sorted((better, worse))
    return (texts[0] == better) is (_number("\n".join(texts)) % 2 == 0)


def class_of(value: Any, classes: Mapping[str, Class], *, where: str) -> Class:
    """The class of a label; None for a label that means "no label".

    Raises:
        InputError: a label that isn't among `classes`.
    """
    key = plain_label(value).lower()
    if key not in classes:
        known, found = ", ".join(classes), shown(value)
        raise InputError(f"{where} has {found}, not one of {known}; correct or remove the row")
    return classes[key]


def answers_in_columns(right: str, wrong: tuple[str, ...]) -> Answers:
    """The right answer and each wrong answer have their own columns."""
    return lambda row: ([row[right]], [row[column] for column in wrong])


def answers_by_number(columns: tuple[str, ...], key: str, *, first: int = 0) -> Answers:
    """Each answer has its own column; column `key` is the number of the right one, from `first`."""
    return lambda row: _split_at([row[column] for column in columns], row[key], first)


def answers_by_index(answers: str, key: str) -> Answers:
    """Column `answers` is a list; column `key` is the index of the right answer, from 0."""
    return lambda row: _split_at(row[answers], row[key], 0)


def answers_by_text(answers: str, right: str) -> Answers:
    """Column `answers` is a list; column `right` is the text of the right answer."""

    def split(row: Row) -> tuple[list[str], list[str]]:
        texts = [text.strip() for text in row[answers]]
        key = row[right].strip()
        return [t for t in texts if t == key][:1], [t for t in texts if t != key]

    return split


def answers_by_letter(choices: str, key: str) -> Answers:
    """Column `choices` has letters and answers; column `key` is the letter of the right answer.

    Letters and answers are two lists, `label` and `text`, or one text (see `parse_choices`). If not
    exactly one answer has the letter, there is no right answer.
    """

    def split(row: Row) -> tuple[list[str], list[str]]:
        value = row[choices]
        if isinstance(value, str):
            pairs = parse_choices(value)
        else:
            pairs = list(zip(value["label"], value["text"], strict=True))
        right = [text for letter, text in pairs if letter == row[key]]
        wrong = [text for letter, text in pairs if letter != row[key]]
        return (right if len(right) == 1 else []), wrong

    return split


def answers_with_labels(answers: str) -> Answers:
    """Column `answers` is a list of (answer, label) pairs from `group_answers`."""

    def split(row: Row) -> tuple[list[str], list[str]]:
        found: dict[int, dict[str, str]] = {0: {}, 1: {}}
        for text, value in row[answers]:
            label = class_of(value, BINARY, where=f"the answer {text!r}")
            if label is not None:
                found[label].setdefault(_folded(text), text)
        return list(found[1].values()), list(found[0].values())

    return split


def group_answers(rows: Iterable[Row], *, by: tuple[str, ...]) -> Iterator[Row]:
    """Rows with one answer each, merged into one row for each question, in order of appearance.

    A merged row has the columns `by`, which identify the question, and `answers`: pairs of the
    columns `answer` and `label`.

    Raises:
        InputError: a row that lacks one of these columns.
    """
    questions: dict[tuple[str, ...], list[tuple[str, Any]]] = {}
    for number, row in enumerate(rows, start=1):
        missing = [column for column in (*by, "answer", "label") if column not in row]
        if missing:
            raise InputError(
                f"row {number} has no column {missing[0]!r} (it has {name_list(row)}); "
                "name the original files in `path`, or give `columns`"
            )
        key = tuple(text_of(row[column], where=f"row {number}: {column!r}") for column in by)
        questions.setdefault(key, []).append((row["answer"], row["label"]))
    for key, answers in questions.items():
        yield {**dict(zip(by, key, strict=True)), "answers": answers}


def parse_choices(choices: str) -> list[tuple[str, str]]:
    """The letters and texts of `(A) one (B) two`, in order.

    A parenthesis starts a choice only if it has the next letter, or the last letter again (one
    published question has two choices D).
    """
    found: list[tuple[str, int]] = []
    last, start = "", choices.find("(")
    while start >= 0:
        letter, following = choices[start + 1 : start + 2], chr(ord(last) + 1) if last else "A"
        if choices[start + 2 : start + 3] == ")" and letter in (following, last):
            found.append((letter, start))
            last = letter
        start = choices.find("(", start + 1)
    ends = [begin for _, begin in found[1:]] + [len(choices)]
    return [
        (letter, choices[begin + 3 : end].strip())
        for (letter, begin), end in zip(found, ends, strict=True)
    ]


def group_variants(examples: Iterable[Example]) -> list[Example]:
    """`examples`, where consecutive variants of one sentence are in one group.

    Some sources list the variants of a sentence one after another without a group. A row is in the
    group of the row before it if their common prefix and suffix have at least half the words of the
    shorter one.
    """
    result: list[Example] = []
    for example in examples:
        joins = result and _variants(result[-1].text.split(), example.text.split())
        result.append(example._replace(group=result[-1].group) if joins else example)
    return result


def merge_linked_groups(rows: Rows) -> Rows:
    """`rows`, where groups that share a key, directly or through other groups, are merged.

    `Comparison`, and `LabelledText` with several group columns, make groups with several keys. So
    pairs with a common text stay together, in the pool and in a part's own rows.
    """
    root: dict[str, str] = {}

    def find(key: str) -> str:
        while root.setdefault(key, key) != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for example in rows.every:
        first, *others = sorted(find(key) for key in example.group.split(KEY_SEPARATOR))
        for other in others:
            root[other] = first

    def named(examples: Iterable[Example]) -> Iterator[Example]:
        for example in examples:
            yield example._replace(group=find(example.group.partition(KEY_SEPARATOR)[0]))

    return rows.changed(named)


def _balanced(question: str, *, right: Sequence[str], wrong: Sequence[str]) -> dict[int, list[str]]:
    """As many right answers (1) as wrong ones (0), chosen by a hash of the question."""
    known = {_folded(answer) for answer in right}
    others = [w for w in wrong if w.strip() and _folded(w) not in known]
    count = min(len(right), len(others))
    if not count:
        return {0: [], 1: []}
    start = _number(question)
    return {
        label: [answers[(start + i) % len(answers)] for i in range(count)]
        for label, answers in ((0, others), (1, right))
    }


def _number(text: str) -> int:
    """A number from a hash of `text`."""
    key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(key, "big")


def _split_at(answers: Sequence[str], key: Any, first: int) -> tuple[list[str], list[str]]:
    place = -1 if is_missing(key) else int(plain_label(key) or -1) - first
    if place < 0:
        return [], list(answers)
    right = answers[place]
    return [right], [answer for i, answer in enumerate(answers) if i != place]


def _variants(first: Sequence[str], second: Sequence[str]) -> bool:
    shorter = min(len(first), len(second))
    same = 0
    for words in (
        zip(first, second, strict=False),
        zip(reversed(first), reversed(second), strict=False),
    ):
        for a, b in words:
            if a != b or same >= shorter:
                break
            same += 1
    return 2 * same >= shorter > 0


def _folded(answer: str) -> str:
    return answer.strip().casefold()
