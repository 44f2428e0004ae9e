"""A generic task: columns of one file as examples.

Owns how cells become texts, classes, answers and groups, which columns a form needs, and that texts
which differ in case, spaces or Unicode form alone share a group. It knows no file formats, no named
task, no hub and no split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from w2s_ray.config import FORMS, Columns
from w2s_ray.data.cells import folded, is_missing, names, number_of, plain_label, shortened, text_of
from w2s_ray.data.chat import Messages, conversation, is_chat, messages_of, plain_text, to_json
from w2s_ray.data.example import Example, Row, Rows, normal_answer
from w2s_ray.data.files import Member
from w2s_ray.data.row_formats import KEYS, better_first, linked
from w2s_ray.data.table import raw_rows
from w2s_ray.errors import InputError

_SHOWN = 8
_Said = tuple[list[str], list[Messages], str | None]
"""The texts that a model reads of a row, their messages where they are such, the right answer."""


def table_rows(member: Member, *, columns: Columns) -> Rows:
    """A generic task: the rows of one file, as one pool.

    Raises:
        InputError: a missing column, an empty cell, a cell that is no text, or labels that aren't
            two classes.
    """
    rows = list(raw_rows(member))
    if not rows:
        raise InputError(f"{member}: no rows; name a file that has some in `path`")
    check_columns(member, rows[0], columns)
    read = [_texts(row, columns, member, i) for i, row in enumerate(rows)]
    classes = _classes(member, rows, columns)
    made = [
        _example(member, i, row, columns, classes, said)
        for i, (row, said) in enumerate(zip(rows, read, strict=True))
    ]
    if columns.group is not None:
        return _tied(Rows(tuple(made), form=columns.form))
    pairs = _has_pairs(columns)
    found = Rows(tuple(_by_texts(made, pairs=pairs)), form=columns.form)
    return linked(found) if pairs else found


def check_columns(member: Member, row: Row, columns: Columns) -> None:
    """Refuse columns that the file doesn't have."""
    for name in columns.model_dump(exclude={"positive"}).values():
        if name is not None and name not in row:
            raise InputError(f"{member}: no column {shortened(name)!r}; it has {names(row)}")


def cell(row: Row, column: str, member: Member, index: int) -> Any:
    """What a row has in a column.

    Raises:
        InputError: nothing.
    """
    value = row.get(column)
    if is_missing(value):
        raise InputError(
            f"{member}: row {index + 1} has nothing in column {column!r}; "
            "fill it in or remove the row"
        )
    return value


def text_cell(row: Row, column: str, member: Member, index: int) -> str:
    """The text that a row has in a column.

    Raises:
        InputError: nothing, or no text.
    """
    return text_of(cell(row, column, member, index), where=_place(member, index, column))


def label_cell(row: Row, column: str, member: Member, index: int) -> str:
    """The label that a row has in a column, as text.

    Raises:
        InputError: nothing, or no text.
    """
    text_cell(row, column, member, index)
    return plain_label(row[column])


def _example(
    member: Member, i: int, row: Row, columns: Columns, classes: dict[str, int], said: _Said
) -> Example:
    label = columns.label or columns.preferred
    texts, chats, answer = said
    right = 0 if label is None else classes[label_cell(row, label, member, i)]
    if columns.chosen is not None:
        right = int(better_first(*texts))
        texts, chats = (texts, chats) if right else (texts[::-1], chats[::-1])
    hard, group = columns.difficulty, columns.group
    ties = _keys(row, columns, member, i, texts)
    return Example(
        f"row:{i}",
        texts[0],
        right,
        ties if group is None else text_cell(row, group, member, i),
        texts[1] if len(texts) == 2 else None,
        answer,
        None if hard is None else _number(row, hard, member, i),
        to_json(*chats) if chats else None,
    )


def _texts(row: Row, columns: Columns, member: Member, i: int) -> _Said:
    """What a row says."""
    pair = (columns.first or columns.chosen, columns.second or columns.rejected)
    right = columns.answer or columns.category
    read = [name for name in (columns.text, *pair, right) if name is not None]
    values = {name: cell(row, name, member, i) for name in read}
    where = {name: _place(member, i, name) for name in read}
    if not any(map(is_chat, values.values())):
        texts = {name: text_of(values[name], where=where[name]) for name in read}
        prompt = texts[columns.text] if columns.text is not None else None
        if pair[0] is None:
            if right is None:
                return [prompt or ""], [], None
            return [prompt or ""], [], _answer(texts[right], where[right])
        sides = [texts[name] for name in pair if name is not None]
        return [side if prompt is None else f"{prompt}\n\n{side}" for side in sides], [], None

    def messages(name: str | None, role: str = "user") -> Messages:
        if name is None:
            return []
        return messages_of(values[name], where=where[name], text_role=role)

    prompt = messages(columns.text)
    if right is not None:
        answer = messages(right, "assistant")
        if [message["role"] for message in answer] != ["assistant"]:
            raise InputError(
                f"{where[right]} holds {len(answer)} messages; an answer is a text, or "
                "one message of the assistant"
            )
        content = _answer(answer[0]["content"], where[right])
        return [plain_text(prompt)], [prompt], content
    if pair[0] is None:
        return [plain_text(prompt)], [prompt], None
    both = [conversation(prompt, messages(name, "assistant")) for name in pair]
    return [plain_text(each) for each in both], both, None


def _answer(text: str, where: str) -> str:
    """The answer as it is learned and compared.

    Raises:
        InputError: there are only spaces.
    """
    answer = normal_answer(text)
    if not answer:
        raise InputError(f"{where} has only spaces; fill it in or remove the row")
    return answer


def _keys(row: Row, columns: Columns, member: Member, i: int, texts: Sequence[str]) -> str:
    """What ties a row to others where no column says it: its texts, and the prompt of a pair."""
    keys = set(texts)
    if _has_pairs(columns) and columns.text is not None:
        prompt = row[columns.text]
        where = _place(member, i, columns.text)
        keys.add(plain_text(messages_of(prompt, where=where)))
    return KEYS.join(sorted(keys))


def _by_texts(made: Sequence[Example], *, pairs: bool) -> list[Example]:
    """Groups of texts, in which the least of those that differ in case and spaces stands for all.

    A text that no other is like keeps its name, and so its place in the split.
    """

    def keys(example: Example) -> list[str]:
        return example.group.split(KEYS) if pairs else [example.group]

    least: dict[str, str] = {}
    for key in (key for example in made for key in keys(example)):
        like = folded(key)
        least[like] = min(least.get(like, key), key)
    return [
        example._replace(group=KEYS.join(least[folded(key)] for key in keys(example)))
        for example in made
    ]


def _tied(rows: Rows) -> Rows:
    """Groups of a column, those as one that hold texts which differ in case and spaces alone."""
    groups: dict[str, set[str]] = {}
    for row in rows.pool:
        groups.setdefault(row.folded.content, set()).add(row.group)
    if all(len(found) == 1 for found in groups.values()):
        return rows
    pool = (row._replace(group=KEYS.join(sorted(groups[row.folded.content]))) for row in rows.pool)
    return linked(replace(rows, pool=tuple(pool)))


def _has_pairs(columns: Columns) -> bool:
    return FORMS[columns.form].texts > 1


def _number(row: Row, column: str, member: Member, i: int) -> float:
    return number_of(cell(row, column, member, i), where=_place(member, i, column))


def _place(member: Member, i: int, column: str) -> str:
    return f"{member}: row {i + 1}: column {column!r}"


def _classes(member: Member, rows: Sequence[Row], columns: Columns) -> dict[str, int]:
    """Value of the label, or of the preferred one of a pair -> class; empty where there is none."""
    label = columns.label or columns.preferred
    if label is None:
        return {}
    values = [label_cell(row, label, member, i) for i, row in enumerate(rows)]
    where = f"{member}: column {label!r}"
    if columns.preferred is None:
        return label_classes(values, positive=columns.positive, where=where)
    first = columns.first if {columns.first, columns.second} >= set(values) else None
    classes = label_classes(values, positive=first, where=where)
    return classes if first is not None else {value: 1 - c for value, c in classes.items()}


def label_classes(
    values: Iterable[Any], *, positive: str | int | bool | None, where: str
) -> dict[str, int]:
    """Label value, as text -> class.

    Without `positive`, 0/1 and false/true mean themselves, in any case; of two other values the
    later in sorted order is class 1.

    Raises:
        InputError: not exactly two values, none that is `positive`, or -1 and 0 without `positive`.
    """
    known = sorted({plain_label(value) for value in values}, key=label_order)
    more = ", ..." if len(known) > _SHOWN else ""
    shown = ", ".join(repr(shortened(v)) for v in known[:_SHOWN]) + more
    if len(known) != 2:
        raise InputError(
            f"{where} has {len(known)} distinct label(s) ({shown}), a task has two; "
            "name another label column, or keep rows of two classes"
        )
    if positive is not None:
        wanted = plain_label(positive)
        if wanted not in known and isinstance(positive, bool):
            wanted = next((value for value in known if value.lower() == wanted), wanted)
        if wanted not in known:
            raise InputError(
                f"{where}: no label is {positive!r}, named as `positive`; the labels are {shown}"
            )
        return {value: int(value == wanted) for value in known}
    if known == ["-1", "0"]:
        raise InputError(
            f"{where} has the labels -1 and 0, and -1 often stands for a row without a label; "
            "remove such rows, or name the class 1 in `columns.positive`"
        )
    if sorted(value.lower() for value in known) == ["false", "true"]:
        return {value: int(value.lower() == "true") for value in known}
    return {known[0]: 0, known[1]: 1}


def label_order(label: str) -> tuple[float, str]:
    """Numbers in their order, before words."""
    try:
        number = float(label)
    except ValueError:
        return math.inf, label
    return (math.inf if math.isnan(number) else number), label
