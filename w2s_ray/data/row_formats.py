"""Formats of raw rows: a labelled text, a choice, a comparison, a preferred text.

Owns the rules that keep a format from revealing the label: both classes of a task get texts of one
template, a question gives as many right answers as wrong ones, a comparison is given in both
orders. Owns too which rows make a group where the source has no groups. Tasks, files and splits are
handled elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from w2s_ray.data.cells import Cells, is_missing, name_list, plain_label, text_of
from w2s_ray.data.chat import Messages, to_json
from w2s_ray.data.example import Example, Row, Rows
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

Answers = Callable[[Row], tuple[Sequence[str], Sequence[str]]]
"""The right and the wrong answers of a raw row; none right where the row has no label."""

BINARY: Mapping[str, int | None] = MappingProxyType(
    {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1, "-1": None}
)
"""Label as lower-case text -> class; null = the row has no label."""

KEYS = "\x1f"
"""Separator of the keys of a group that has several (see `linked`)."""


@dataclass(frozen=True)
class Labelled:
    """One text and its class: a sentence, a pair of sentences, a claim."""

    text: str
    """Template over the row's columns, each without spaces around it."""
    group: tuple[str, ...] = ()
    """Columns whose values make the group (several: see `linked`); none = the text itself."""
    label: str = "label"
    classes: Mapping[str, int | None] = field(default_factory=lambda: BINARY)

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        label = class_of(row[self.label], self.classes, where=f"{id}: column {self.label!r}")
        cells = Cells(row, id=id, stripped=True)
        text = self.text.format_map(cells)
        group = KEYS.join(cells[column] for column in self.group) or text
        return [] if label is None or not text else [Example(id, text, label, group)]


@dataclass(frozen=True)
class Choice:
    """A question with right and wrong answers: as many rows of the one as of the other."""

    question: str
    """Template over the row's columns; a list of texts is written one a line."""
    answers: Answers
    group: str
    """Column or columns, as a template, whose value is the group."""
    text: str = "Q: {question}\nA: {answer}"

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        right, wrong = self.answers(row)
        cells = Cells(row, id=id, lists=True)
        question, group = self.question.format_map(cells), self.group.format_map(cells)
        picked = _even(question, right=right, wrong=wrong)
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
class Compared:
    """Two texts, one of them better, in both orders: 1 where the first is the better one.

    A text that recurs in other comparisons ties them together (see `linked`).
    """

    better: str
    worse: str

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        better, worse = row[self.better].strip(), row[self.worse].strip()
        if not better or not worse or better == worse:
            return []
        group = KEYS.join((better, worse))
        return [
            Example(f"{id}:better_first", f"First: {better}\nSecond: {worse}", 1, group),
            Example(f"{id}:worse_first", f"First: {worse}\nSecond: {better}", 0, group),
        ]


@dataclass(frozen=True)
class Preferred:
    """Two texts as a pair, one of them better: 1 where the better one is the first.

    Which one is the first depends on the texts alone, never on their order in the source, where the
    better one may always come first.
    """

    better: str
    """Template over the row's columns."""
    worse: str
    group: tuple[str, ...] = ()
    """Columns whose values make the group; none = the two texts (see `linked`)."""

    def __call__(self, row: Row, *, id: str) -> list[Example]:
        cells = Cells(row, id=id)
        better, worse = (t.format_map(cells).strip() for t in (self.better, self.worse))
        return preferred(
            better, worse, id=id, group=KEYS.join(cells[column] for column in self.group)
        )


def preferred(
    better: str,
    worse: str,
    *,
    id: str,
    group: str = "",
    chats: tuple[Messages, Messages] | None = None,
) -> list[Example]:
    """The pair of two texts, as in `Preferred`; none where they are equal or one is empty.

    `chats` are the messages of the better text and of the worse one.
    """
    if not better or not worse or better == worse:
        return []
    right = int(better_first(better, worse))
    first, second = (better, worse) if right else (worse, better)
    chat = None if chats is None else to_json(*(chats if right else chats[::-1]))
    group = group or KEYS.join(sorted((better, worse)))
    return [Example(id, first, right, group, second=second, chat=chat)]


def better_first(better: str, worse: str) -> bool:
    """Whether the better text of a pair is its first: by the two texts, not by which is better."""
    texts = sorted((better, worse))
    return (texts[0] == better) is (_number("\n".join(texts)) % 2 == 0)


def class_of(value: Any, classes: Mapping[str, int | None], *, where: str) -> int | None:
    """The class of a label; null for a label that means "none".

    Raises:
        InputError: a label that isn't among `classes`.
    """
    key = plain_label(value).lower()
    if key not in classes:
        known, found = ", ".join(classes), shown(value)
        raise InputError(f"{where} holds {found}, none of {known}; correct the row or drop it")
    return classes[key]


def given(right: str, wrong: tuple[str, ...]) -> Answers:
    """The right answer and the wrong ones have columns of their own."""
    return lambda row: ([row[right]], [row[column] for column in wrong])


def numbered(columns: tuple[str, ...], key: str, *, first: int = 0) -> Answers:
    """Each answer has a column; column `key` is the number of the right one, from `first`."""
    return lambda row: _split_at([row[column] for column in columns], row[key], first)


def listed(answers: str, key: str) -> Answers:
    """A column holds the answers; column `key` is the place of the right one, from 0."""
    return lambda row: _split_at(row[answers], row[key], 0)


def among(answers: str, right: str) -> Answers:
    """A column holds the answers; column `right` repeats the right one."""

    def split(row: Row) -> tuple[list[str], list[str]]:
        texts = [text.strip() for text in row[answers]]
        key = row[right].strip()
        return [t for t in texts if t == key][:1], [t for t in texts if t != key]

    return split


def keyed(choices: str, key: str) -> Answers:
    """A column holds letters and answers; column `key` is the right one's letter.

    Letters and answers are two lists under `label` and `text`, or one text (see `lettered`). A
    letter that two answers have, or none, gives no right answer.
    """

    def split(row: Row) -> tuple[list[str], list[str]]:
        value = row[choices]
        if isinstance(value, str):
            pairs = lettered(value)
        else:
            pairs = list(zip(value["label"], value["text"], strict=True))
        right = [text for letter, text in pairs if letter == row[key]]
        wrong = [text for letter, text in pairs if letter != row[key]]
        return (right if len(right) == 1 else []), wrong

    return split


def marked(answers: str) -> Answers:
    """A column holds (answer, label) pairs, as `gathered` makes them."""

    def split(row: Row) -> tuple[list[str], list[str]]:
        found: dict[int, dict[str, str]] = {0: {}, 1: {}}
        for text, value in row[answers]:
            label = class_of(value, BINARY, where=f"the answer {text!r}")
            if label is not None:
                found[label].setdefault(_folded(text), text)
        return list(found[1].values()), list(found[0].values())

    return split


def gathered(rows: Iterable[Row], *, by: tuple[str, ...]) -> Iterator[Row]:
    """Rows of one question and one answer each, as one row a question, in order of appearance.

    Its columns are those of `by`, and `answers`: pairs of the columns `answer` and `label`.

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


def lettered(choices: str) -> list[tuple[str, str]]:
    """`(A) one (B) two` as letter and text, in order.

    A parenthesis starts a choice only where it holds the next letter, or the last one again (one
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


def grouped_runs(examples: Iterable[Example]) -> list[Example]:
    """Neighbours in the source that are variants of one sentence, as one group.

    For sources that list the variants of a sentence one after another without naming it. A row
    joins the row before it where their common beginning and end make up half the shorter one's
    words.
    """
    result: list[Example] = []
    for example in examples:
        joins = result and _variants(result[-1].text.split(), example.text.split())
        result.append(example._replace(group=result[-1].group) if joins else example)
    return result


def linked(rows: Rows) -> Rows:
    """Rows whose groups share a key, directly or through others, as one group.

    A group of several keys is what `Labelled` with several group columns and `Compared` make: pairs
    that have a text in common stay together, in the pool and in the own test split.
    """
    root: dict[str, str] = {}

    def find(key: str) -> str:
        while root.setdefault(key, key) != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for example in (*rows.pool, *(rows.test or ())):
        first, *others = sorted(find(key) for key in example.group.split(KEYS))
        for other in others:
            root[other] = first

    def named(examples: Iterable[Example]) -> tuple[Example, ...]:
        return tuple(e._replace(group=find(e.group.partition(KEYS)[0])) for e in examples)

    return replace(rows, pool=named(rows.pool), test=rows.test and named(rows.test))


def _even(question: str, *, right: Sequence[str], wrong: Sequence[str]) -> dict[int, list[str]]:
    """As many right answers (1) as wrong ones (0); which ones depends on the question alone."""
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
    """A number that depends on `text` alone."""
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
