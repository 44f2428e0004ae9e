"""A generic task: the rows of its tables as examples, by the `columns` of the sweep file.

Owns how cells become texts, classes, answers and groups. Texts that differ only in case, white
space or Unicode form are in the same group. `own_table` owns the files. It makes no split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from w2s_ray.config import FILES_LABEL, FORMS, Columns, OwnPart
from w2s_ray.data.cells import folded, is_missing, number_of, plain_label, text_of
from w2s_ray.data.chat import Messages, conversation, is_chat, messages_of, plain_text, to_json
from w2s_ray.data.choices import by_content, right_choices
from w2s_ray.data.example import Example, Row, Rows, normal_answer
from w2s_ray.data.own_table import PartTable, Place, Table
from w2s_ray.data.row_formats import KEY_SEPARATOR, better_first, merge_linked_groups
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

MOST_CLASSES = 10_000
"""Largest number of classes of a task; predictions have a probability for each."""
_SHOWN = 8
_Content = tuple[list[str], list[Messages], str | None]
"""The texts of a row, their messages if they are chat messages, and the right answer."""


def table_rows(table: Table, *, columns: Columns, own: Sequence[PartTable] = ()) -> Rows:
    """A generic task: the rows of one table as one pool, and those of the parts with `own` tables.

    Raises:
        InputError: an empty cell, a cell that isn't text, labels of more or fewer than two classes,
            fewer than two categories, or a class of a part's own file that the pool doesn't have.
    """
    pool, classes = _examples(table, columns, "row")
    parts: dict[OwnPart, tuple[Example, ...]] = {}
    for its in own:
        known = None if its.has_own_labels else classes
        parts[its.part], _ = _examples(its.table, its.columns, its.prefix, known)
    if columns.category is not None:
        check_categories(pool, table, columns, [(parts[its.part], its.table) for its in own])
    rows = Rows(
        pool,
        parts.get("test"),
        columns.form,
        dropped=table.dropped,
        files=table.files,
        validation=parts.get("validation"),
    )
    if columns.group is not None:
        return _merge_groups(rows)
    pairs = _has_pairs(columns)
    grouped = _grouped_by_text(rows, pairs=pairs)
    return merge_linked_groups(grouped) if pairs else grouped


def _examples(
    table: Table, columns: Columns, prefix: str, known: dict[str, int] | None = None
) -> tuple[tuple[Example, ...], dict[str, int]]:
    """The rows of one table, and the class of each label: `known`, or by the table's labels."""
    placed = list(zip(table.rows, table.places, strict=True))
    contents = [_content(row, columns, place) for row, place in placed]
    if known is None:
        classes = _classes(table, columns)
    else:
        classes = known
        _check_labels(table, columns, known)
    examples = (
        _example(f"{prefix}:{i}", row, columns, place, classes, content)
        for i, ((row, place), content) in enumerate(zip(placed, contents, strict=True))
    )
    if columns.choices is None:
        return tuple(examples), classes
    right = right_choices(table.rows, columns, where=lambda i: str(table.places[i]))
    with_choices = (
        example._replace(choices=by_content(example.text, choices), answer=answer)
        for example, (choices, answer) in zip(examples, right, strict=True)
    )
    return tuple(with_choices), classes


def check_categories(
    pool: Sequence[Example],
    table: Table,
    columns: Columns,
    own: Iterable[tuple[Sequence[Example], Table]],
) -> None:
    """Refuse rows of one class, and a class of a part's own file that no training row has.

    Raises:
        InputError: names the column, or the row.
    """
    classes = {row.answer for row in pool}
    if len(classes) < 2:
        raise InputError(
            f"{_label_place(table, columns.category)} has {len(classes)} class(es), a task has "
            "at least two; give another column as `columns.category`, or add rows"
        )
    if len(classes) > MOST_CLASSES:
        raise InputError(
            f"{_label_place(table, columns.category)} has {len(classes):,} classes, and at most "
            f"{MOST_CLASSES:,} can be learned; give another column as `columns.category`"
        )
    for rows, its in own:
        for row, place in zip(rows, its.places, strict=True):
            if row.answer not in classes:
                raise InputError(
                    f"{place} has the class {shown(row.answer)}, which no training row has; "
                    "correct it or remove the row"
                )


def _label_place(table: Table, column: str | None) -> str:
    """The column of labels, for errors."""
    return "`files`" if column == FILES_LABEL else f"{table.name}: column {column!r}"


def cell(row: Row, column: str, place: Place) -> Any:
    """The value of a row in a column.

    Raises:
        InputError: a missing value.
    """
    value = row.get(column)
    if is_missing(value):
        raise InputError(f"{place} has no value in column {column!r}; fill it in or remove the row")
    return value


def text_cell(row: Row, column: str, place: Place) -> str:
    """The text of a row in a column.

    Raises:
        InputError: a missing value, or a value that isn't text.
    """
    return text_of(cell(row, column, place), where=place.column(column))


def label_cell(row: Row, column: str, place: Place) -> str:
    """The label of a row in a column, as text.

    Raises:
        InputError: a missing value, or a value that isn't text.
    """
    text_cell(row, column, place)
    return plain_label(row[column])


def _example(
    id_: str, row: Row, columns: Columns, place: Place, classes: dict[str, int], content: _Content
) -> Example:
    label_column = columns.label or columns.preferred
    texts, chats, answer = content
    if columns.category is not None:
        answer = label_cell(row, columns.category, place)
    label = 0 if label_column is None else classes[label_cell(row, label_column, place)]
    if columns.chosen is not None:
        label = int(better_first(*texts))
        texts, chats = (texts, chats) if label else (texts[::-1], chats[::-1])
    difficulty, group = columns.difficulty, columns.group
    keys = _group_keys(row, columns, place, texts)
    return Example(
        id_,
        texts[0],
        label,
        keys if group is None else text_cell(row, group, place),
        texts[1] if len(texts) == 2 else None,
        answer,
        None if difficulty is None else _number(row, difficulty, place),
        to_json(*chats) if chats else None,
        weight=weight_of(row, columns, place),
    )


def _content(row: Row, columns: Columns, place: Place) -> _Content:
    """The texts, messages and answer of a row."""
    pair = (columns.first or columns.chosen, columns.second or columns.rejected)
    right = None if columns.choices is not None else columns.answer
    read = [name for name in (columns.text, *pair, right) if name is not None]
    values = {name: cell(row, name, place) for name in read}
    where = {name: place.column(name) for name in read}
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
                f"{where[right]} has {len(answer)} messages; write the answer as a text, or "
                "as one message of the assistant"
            )
        content = _answer(answer[0]["content"], where[right])
        return [plain_text(prompt)], [prompt], content
    if pair[0] is None:
        return [plain_text(prompt)], [prompt], None
    both = [conversation(prompt, messages(name, "assistant")) for name in pair]
    return [plain_text(each) for each in both], both, None


def _answer(text: str, where: str) -> str:
    """The answer in its normal form.

    Raises:
        InputError: it has only white space.
    """
    answer = normal_answer(text)
    if not answer:
        raise InputError(f"{where} has only white space; fill it in or remove the row")
    return answer


def _group_keys(row: Row, columns: Columns, place: Place, texts: Sequence[str]) -> str:
    """A row's group without a group column: its texts, and the prompt of a pair."""
    keys = set(texts)
    if _has_pairs(columns) and columns.text is not None:
        prompt = row[columns.text]
        where = place.column(columns.text)
        keys.add(plain_text(messages_of(prompt, where=where)))
    return KEY_SEPARATOR.join(sorted(keys))


def _grouped_by_text(rows: Rows, *, pairs: bool) -> Rows:
    """`rows` where texts that differ only in case and white space have the same group.

    The group is named after the first of these texts in sorted order, so that other rows keep their
    group's name and their part of the split.
    """

    def keys(example: Example) -> list[str]:
        return example.group.split(KEY_SEPARATOR) if pairs else [example.group]

    first: dict[str, str] = {}
    for key in (key for example in rows.every for key in keys(example)):
        common = folded(key)
        first[common] = min(first.get(common, key), key)

    def grouped(examples: Iterable[Example]) -> Iterator[Example]:
        for example in examples:
            group = KEY_SEPARATOR.join(first[folded(key)] for key in keys(example))
            yield example._replace(group=group)

    return rows.changed(grouped)


def _merge_groups(rows: Rows) -> Rows:
    """`rows`, where groups with texts that differ only in case and white space are merged."""
    groups: dict[str, set[str]] = {}
    for row in rows.every:
        groups.setdefault(row.folded.content, set()).add(row.group)
    if all(len(names) == 1 for names in groups.values()):
        return rows

    def merged(examples: Iterable[Example]) -> Iterator[Example]:
        for row in examples:
            yield row._replace(group=KEY_SEPARATOR.join(sorted(groups[row.folded.content])))

    return merge_linked_groups(rows.changed(merged))


def _has_pairs(columns: Columns) -> bool:
    return FORMS[columns.form].texts > 1


def weight_of(row: Row, columns: Columns, place: Place) -> float | None:
    """The weight of a row; None without the column.

    Raises:
        InputError: a missing value, or no finite number of at least 0.
    """
    if columns.weight is None:
        return None
    weight = _number(row, columns.weight, place)
    if weight < 0:
        raise InputError(
            f"{place.column(columns.weight)} has {weight:g}, and a weight is at least 0; correct "
            "it or remove the row"
        )
    return weight


def _number(row: Row, column: str, place: Place) -> float:
    return number_of(cell(row, column, place), where=place.column(column))


def _classes(table: Table, columns: Columns) -> dict[str, int]:
    """Value of `label` or `preferred` -> class; empty if the task has neither column."""
    label = columns.label or columns.preferred
    if label is None:
        return {}
    placed = zip(table.rows, table.places, strict=True)
    values = [label_cell(row, label, place) for row, place in placed]
    where = _label_place(table, label)
    if len(set(values)) == 1 and _has_pairs(columns):
        raise InputError(
            f"{where} has one value in all rows ({shown(values[0])}); if the same side is always "
            "better, give it as columns.chosen and the other as columns.rejected"
        )
    if columns.preferred is None:
        more = _header_remedy(columns)
        return label_classes(values, positive=columns.positive, where=where, remedy=more)
    first = columns.first if {columns.first, columns.second} >= set(values) else None
    classes = label_classes(values, positive=first, where=where)
    return classes if first is not None else {value: 1 - c for value, c in classes.items()}


def _check_labels(table: Table, columns: Columns, known: dict[str, int]) -> None:
    """Refuse a label that the training rows don't have."""
    label = columns.label or columns.preferred
    if label is None:
        return
    for row, place in zip(table.rows, table.places, strict=True):
        value = label_cell(row, label, place)
        if value not in known:
            raise InputError(
                f"{place.column(label)} has {shown(value)}, but the training rows have "
                f"{' and '.join(map(shown, sorted(known)))}; correct it or remove the row"
                f"{_header_remedy(columns)}"
            )


def _header_remedy(columns: Columns) -> str:
    return "" if columns.has_header else "; if the first line is a header, give names"


def label_classes(
    values: Iterable[Any], *, positive: str | int | bool | None, where: str, remedy: str = ""
) -> dict[str, int]:
    """Label value, as text -> class.

    Without `positive`, 1 and true (in any letter case) are class 1; of two other values, the second
    in sorted order is.

    Raises:
        InputError: not exactly two values, `positive` is none of them, or -1 and 0 without
            `positive`.
    """
    known = sorted({plain_label(value) for value in values}, key=label_order)
    more = ", ..." if len(known) > _SHOWN else ""
    listed = ", ".join(map(shown, known[:_SHOWN])) + more
    if len(known) != 2:
        several = "give it as `category` for several classes of texts, " if len(known) > 2 else ""
        raise InputError(
            f"{where} has {len(known)} distinct label(s) ({listed}), a task has two; "
            f"{several}give another label column, or keep rows of two classes{remedy}"
        )
    if positive is not None:
        class_1 = plain_label(positive)
        if class_1 not in known and isinstance(positive, bool):
            class_1 = next((value for value in known if value.lower() == class_1), class_1)
        if class_1 not in known:
            raise InputError(
                f"{where} doesn't have the label {positive!r} of `columns.positive`; choose one of "
                f"its labels: {listed}"
            )
        return {value: int(value == class_1) for value in known}
    if known == ["-1", "0"]:
        raise InputError(
            f"{where} has the labels -1 and 0, and -1 often means a row without a label; "
            "remove such rows, or give the label of class 1 as `columns.positive`"
        )
    if sorted(value.lower() for value in known) == ["false", "true"]:
        return {value: int(value.lower() == "true") for value in known}
    return {known[0]: 0, known[1]: 1}


def label_order(label: str) -> tuple[float, str]:
    """A sort key: numbers by value, before other labels."""
    try:
        number = float(label)
    except ValueError:
        return math.inf, label
    return (math.inf if math.isnan(number) else number), label
