"""Guesses about a table that nobody has described: its columns, and how many rows a split can have.

Owns the rules, which look at names and values of columns. A guess is for a person to correct: each
has its reason in words. The counts are those of a split that was made. It writes no sweep file.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from w2s_ray.config import Columns, Task
from w2s_ray.data.cells import is_missing, name_list, plain_label
from w2s_ray.data.example import Row
from w2s_ray.data.files import Member, is_archive, local, members
from w2s_ray.data.generic import label_classes
from w2s_ray.data.sources import read_rows
from w2s_ray.data.split import make_split
from w2s_ray.data.table import raw_rows
from w2s_ray.errors import InputError
from w2s_ray.paths import checked_path
from w2s_ray.printable import cut, printable, shown

MOST_ROWS = 100_000
"""Rows that are read; of a longer file, the first ones."""
LEAST_ROWS = 40
"""Usable rows below which a split has too few rows to show anything."""
_MOST_LABELS = 20
"""Distinct values of a column up to which they are counted one by one."""
_MOST = {"train": 10_000, "validation": 500, "test": 2_000}
"""Largest guessed counts."""

_TEXTS = {
    *("text", "texts", "sentence", "review", "comment", "body", "content", "message", "document"),
    *("tweet", "post", "question"),
}
_LABELS = {
    *("label", "labels", "class", "target", "y", "category", "sentiment", "gold", "answer"),
    *("outcome", "rating", "score"),
}
_PROMPTS = ("prompt", "question", "instruction", "query", "input", "context")
_BETTER = (("chosen", "rejected"), ("better", "worse"), ("preferred", "dispreferred"))
_SIDES = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"))
_GROUPS = {
    *("group", "user", "author", "product", "item", "topic", "thread", "document", "source"),
    *("conversation", "dialogue", "passage", "article", "movie", "film", "book", "page", "subject"),
}
"""Words in names of columns."""


@dataclass(frozen=True)
class Guess:
    """What a table may be, with the reasons."""

    task: Task
    """The task, whose split can be made."""
    rows: int
    """Rows that were read."""
    is_whole: bool
    """Whether these are all rows of the file."""
    reasons: Mapping[str, str]
    """Key of `columns` -> why this column."""
    classes: Mapping[str, int]
    """Label -> its rows; empty for pairs whose better text has a column of its own."""
    group: str | None
    """A column whose values repeat, so that its rows may be related."""
    words: int
    """Words of the longest texts but 5 %."""
    form: str
    """What a row is: classes, categories or pairs."""


def guess_task(path: str, *, name: str, pairs: bool = False) -> Guess:
    """A task `name` of the table at `path`; with `pairs`, one whose rows are pairs of texts.

    Raises:
        InputError: no such table, no column with texts or with labels, or too few rows.
    """
    member = _table(path)
    rows = list(itertools.islice(raw_rows(member), MOST_ROWS + 1))
    is_whole, rows = len(rows) <= MOST_ROWS, rows[:MOST_ROWS]
    if not rows:
        raise InputError(f"--path: {member}: no rows; give a file with rows")
    found = _pairs(member, rows)
    if found is None and pairs:
        raise InputError(
            f"--path: {member}: no two columns have texts to compare (chosen and rejected, or a "
            f"and b); its columns are {name_list(rows[0])}; rename them, or use the template csv"
        )
    columns, reasons = found or _classes(member, rows)
    label = columns.label or columns.preferred or columns.category
    counts = dict(Counter(plain_label(row[label]) for row in rows)) if label else {}
    texts = [name for name in (columns.text, columns.first, columns.chosen) if name is not None]
    lengths = sorted(sum(len(str(row[name]).split()) for name in texts) for row in rows)
    return Guess(
        task=_with_counts(path, name, columns, counts),
        rows=len(rows),
        is_whole=is_whole,
        reasons=reasons,
        classes=counts,
        group=_group(rows, used={value for value in columns.model_dump().values() if value}),
        words=lengths[math.ceil(0.95 * len(lengths)) - 1],
        form=columns.form,
    )


def _table(path: str) -> Member:
    """The one table file at `path`."""
    file = local(checked_path(path), where="--path")
    if file.is_dir() or is_archive(file):
        tables = [str(member) for member in members(file)]
        raise InputError(
            f"--path: {path} has {len(tables)} files; give one table (.csv, .tsv, .jsonl, .parquet)"
        )
    return members(file)[0]


def _writable(value: str, *, what: str) -> str:
    """`value`, if a YAML file can have it.

    Raises:
        InputError: it has control characters.
    """
    if printable(value, keep="\n\t") != value:
        raise InputError(
            f"--path: {what} {shown(value)} has a character that a sweep file can't have; rename it"
        )
    return value


def _pairs(member: Member, rows: Sequence[Row]) -> tuple[Columns, dict[str, str]] | None:
    """The columns of pairs of texts, if the names of columns are of such pairs."""
    names = {name.lower(): name for name in rows[0]}
    prompt = next((names[name] for name in _PROMPTS if name in names), None)
    reasons = {"text": "by its name"} if prompt is not None else {}
    for better, worse in _BETTER:
        if better in names and worse in names and _is_text(rows, names[better]):
            chosen, rejected = names[better], names[worse]
            reasons |= dict.fromkeys(("chosen", "rejected"), "by its name")
            return Columns(text=prompt, chosen=chosen, rejected=rejected), reasons
    for first, second in _sides(names, rows):
        used = {first, second, prompt}
        label = _label(member, rows, used=used)
        key = "label" if sorted(_values(rows, label)) in (["0", "1"], ["false", "true"]) else None
        key = key or "preferred"
        reasons |= dict.fromkeys(("first", "second"), "by its name")
        meaning = "1: the first is better" if key == "label" else "it names the better text"
        reasons[key] = f"it has two values; {meaning}"
        return Columns(**{"text": prompt, "first": first, "second": second, key: label}), reasons
    return None


def _sides(names: Mapping[str, str], rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Two columns of texts whose names differ in a, b or 1, 2."""
    return [
        (names[name], names[name[: len(name) - len(one)] + other])
        for one, other in _SIDES
        for name in names
        if name.endswith(one)
        and name[: len(name) - len(one)] + other in names
        and _is_text(rows, names[name])
        and _is_text(rows, names[name[: len(name) - len(one)] + other])
    ]


def _classes(member: Member, rows: Sequence[Row]) -> tuple[Columns, dict[str, str]]:
    """The columns of texts with two or more classes."""
    texts = [name for name in rows[0] if name and _is_text(rows, name)]
    if not texts:
        raise InputError(
            f"--path: {member}: no column has texts; its columns are {name_list(rows[0])}"
        )
    text = max(texts, key=lambda name: _as_text(rows, name))
    label = _label(member, rows, used={text}, most=_MOST_LABELS)
    values = [plain_label(row[label]) for row in rows]
    if len(set(values)) > 2:
        why = f"it has {len(set(values))} values, the classes"
        return Columns(text=text, category=label), {"text": "the longest texts", "category": why}
    one = label_classes(values, positive=None, where=f"{member}: column {label!r}")
    positive = next(value for value, number in one.items() if number)
    others = [name for name in texts if name not in (text, label)]
    reasons = {"text": "the longest different texts", "label": "it has two values"}
    if others:
        reasons["text"] += f"; only these are read: join them with {name_list(others)} if needed"
    reasons["positive"] = _why_class_1(positive, next(v for v, number in one.items() if not number))
    is_number = positive.isdecimal() and str(int(positive)) == positive
    return Columns(
        text=text, label=label, positive=int(positive) if is_number else positive
    ), reasons


def _why_class_1(positive: str, other: str) -> str:
    """Why a label is taken as class 1, and what to write otherwise."""
    order = "the larger number" if positive.lstrip("-").isdecimal() else "last in the alphabet"
    why = "means yes" if positive.lower() in ("1", "true") else f"is {order}"
    return f"class 1, since it {why}; if class 1 is {shown(other)}, write that"


def _label(
    member: Member, rows: Sequence[Row], *, used: Collection[str | None], most: int = 2
) -> str:
    """The column with two to `most` values that is most likely the label."""
    free = [name for name in rows[0] if name and name not in used]
    counts = {name: _values(rows, name) for name in free}
    few = [name for name, values in counts.items() if 2 <= len(values) <= most]

    def likely(name: str) -> tuple[bool, bool, int]:
        return _named(name, _LABELS), len(counts[name]) == 2, free.index(name)

    if few:
        label = max(few, key=likely)
        missing = next((i for i, row in enumerate(rows) if is_missing(row.get(label))), None)
        if missing is not None:
            raise InputError(
                f"--path: {member}: row {missing + 1} has no value in column {label!r}, which "
                "seems to be the label; fill it in or remove the row"
            )
        return label
    if most > 2:
        raise InputError(
            f"--path: {member}: no column has 2 to {most} values, as labels have; add such a "
            "column, or name the column of more classes in a sweep file as columns.category"
        )
    several = {name: values for name, values in counts.items() if 2 < len(values) <= _MOST_LABELS}
    described = "; ".join(
        f"{name} has {len(values)}: {cut(', '.join(sorted(values)), most=60)}"
        for name, values in several.items()
    )
    raise InputError(
        f"--path: {member}: no column has exactly two values, which say what text of a pair is "
        f"better{f' ({described})' if described else ''}; add such a column"
    )


def _values(rows: Sequence[Row], name: str) -> set[str]:
    """The distinct labels in a column; some of them if there are many."""
    found: set[str] = set()
    for row in rows:
        if not is_missing(row.get(name)) and not isinstance(row[name], dict | list):
            found.add(plain_label(row[name]))
            if len(found) > _MOST_LABELS:
                break
    return found


def _is_text(rows: Sequence[Row], name: str) -> bool:
    """Whether most cells of a column are texts of letters, of several words or many values."""
    cells = [row.get(name) for row in rows[:1000]]
    texts = [cell for cell in cells if isinstance(cell, str) and any(map(str.isalpha, cell))]
    several = sum(len(text.split()) > 2 for text in texts)
    return len(texts) > 0.9 * len(cells) and several > 0.5 * len(cells)


def _as_text(rows: Sequence[Row], name: str) -> float:
    """How likely a column of texts is the one to read: long texts, and few that repeat."""
    cells = [str(row.get(name) or "") for row in rows[:1000]]
    different = len(set(cells)) / len(cells)
    return sum(map(len, cells)) / len(cells) * different * (3 if _named(name, _TEXTS) else 1)


def _named(name: str, known: set[str]) -> bool:
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return bool(known.intersection(words)) or words[:1] == ["is"]


def _group(rows: Sequence[Row], *, used: Collection[Any]) -> str | None:
    """The first column whose name is of a group and whose values repeat."""
    for name in rows[0]:
        if name and name not in used and _named(name, _GROUPS):
            values = {str(row.get(name)) for row in rows}
            if _MOST_LABELS < len(values) < 0.9 * len(rows):
                return name
    return None


def _with_counts(path: str, name: str, columns: Columns, classes: Mapping[str, int]) -> Task:
    """The task with counts for which the file has enough rows.

    Raises:
        InputError: cells that are missing or no text, too few rows, or a name that no sweep file
            can have.
    """
    for key, value in columns.model_dump().items():
        if isinstance(value, str):
            _writable(value, what=f"{path}: {key}")
    task = Task(name=name, path=path, columns=columns, train=2, validation=2, test=2)
    rows = read_rows(task)
    usable = len({row.folded.content for row in rows.pool})
    if len(classes) == 2:
        usable = min(usable, 2 * min(classes.values()))
    refused = InputError(
        f"--path: {path} has {usable} usable rows, too few for a split; give at least {LEAST_ROWS}"
    )
    while usable >= LEAST_ROWS:
        test = _rounded(min(_MOST["test"], usable // 4))
        validation = _rounded(min(_MOST["validation"], usable // 10))
        train = _rounded(min(_MOST["train"], usable - test - validation))
        counts = {"train": train, "validation": validation, "test": test}
        task = task.model_copy(update=counts)
        try:
            make_split(rows, task=task)
        except InputError as error:
            guessed = name_list(columns.names)
            refused = InputError(f"--path: {path}, with the guessed columns {guessed}: {error}")
            usable = int(0.9 * usable)
        else:
            return task
    raise refused


def _rounded(count: int) -> int:
    """`count`, or a little less: an even number of two digits and zeros."""
    step = 10 ** max(0, len(str(count)) - 2)
    return max(2, count // step * step // 2 * 2)
