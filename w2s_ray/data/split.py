"""Divides a task's examples into the four parts of a split.

Owns cleaning, shuffling, balancing, the division, and the fingerprint of the result. Rows are
ordered by hashes of seed and text, never by their order in a file, so that the split is the same on
every platform. It reads no files.

The test part is filled first, then validation, then the halves. Each part gets whole groups; rows
of these groups that it doesn't need are dropped. With `dedupe: near`, a row that is a near copy of
a row in an earlier part is passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from w2s_ray.config import FORMS, PARTS, Bounds, Difficulty, FormName, Part, Task
from w2s_ray.data.example import Example, Rows
from w2s_ray.data.near_copies import NearCopies, near_copies
from w2s_ray.errors import InputError
from w2s_ray.identity import ID_LENGTH, digest

_Need = dict[int | None, int]
"""Label -> rows still needed; the label is None if parts aren't balanced."""


_HALVES: tuple[Part, ...] = ("supervisor_half", "student_half")


@dataclass(frozen=True)
class Split:
    """A task's rows in their four parts."""

    task: str
    fingerprint: str
    """20 hexadecimal digits of a hash over the form and, in order, every row's part, id, texts,
    label, answer and difficulty."""
    parts: Mapping[Part, tuple[Example, ...]]
    """The rows of each part, shuffled."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows dropped by cleaning, without those that balance or size dropped."""
    own_test: bool = False
    """True where test rows are from the source's own test split."""
    form: FormName = "classes"
    """What a row is."""

    @cached_property
    def near_copies(self) -> dict[str, int] | None:
        """Id of a test row -> number of training rows that it is a near copy of; None without
        texts or halves.
        """
        form = FORMS[self.form]
        if not (form.has_texts and form.has_halves):
            return None
        test, train = self.parts["test"], chain(*map(self.parts.__getitem__, _HALVES))
        found = near_copies(test, train=train)
        return {row.id: count for row, count in zip(test, found, strict=True)}

    @property
    def counts(self) -> dict[Part, int]:
        """Rows of each part."""
        return {part: len(rows) for part, rows in self.parts.items()}


def make_split(rows: Rows, *, task: Task) -> Split:
    """The split of `rows` that `task` declares.

    Raises:
        InputError: too few rows; names the part, the rows needed and the rows available. Or
            `dedupe` for rows without texts.
    """
    if task.dedupe is not None and not FORMS[rows.form].has_texts:
        raise InputError(
            f"task {task.name}: dedupe compares texts, and its rows have none; remove dedupe"
        )
    balance = task.balance and FORMS[rows.form].has_two_classes
    task = task.model_copy(update={"balance": balance})
    pool, test, dropped = _clean(rows, task)
    sizes = part_sizes(task, form=rows.form)
    own_test, hard = test is not None, _difficulty(task)
    if test is None and hard.train != hard.test:
        test = [row for row in pool if _within(row, hard.test)]
        pool = [row for row in pool if _within(row, hard.train)]
    copies: set[str] = set()
    if test is None:
        parts = _divide(pool, sizes, task, _Source("{} are available", hard.train), copies)
    else:
        available = "the source's own test split has {}" if own_test else "{} are available"
        source = _Source(available, hard.test, "difficulty.test")
        parts = _divide(test, {"test": sizes.pop("test")}, task, source, copies)
        test_groups = {row.group for row in parts["test"]}
        remaining = [row for row in pool if row.group not in test_groups]
        outside = "the source's own test split" if own_test else "the groups of test rows"
        source = _Source(f"{{}} are available outside {outside}", hard.train, "difficulty.train")
        parts |= _divide(remaining, sizes, task, source, copies, earlier=parts["test"])
    if task.dedupe is not None:
        dropped["near_copy"] = len(copies)
    ordered: dict[Part, tuple[Example, ...]] = {part: parts[part] for part in PARTS}
    name = fingerprint(ordered, form=rows.form)
    return Split(task.name, name, ordered, dropped, own_test, rows.form)


@dataclass(frozen=True)
class _Source:
    """The source of a part's rows, described for errors."""

    has: str
    """The number of rows that it has, in words; `{}` is the number."""
    bounds: Bounds
    """The difficulty of its rows."""
    key: str = "difficulty"
    """The key of these bounds in the sweep file."""


def part_sizes(task: Task, *, form: FormName = "classes") -> dict[Part, int]:
    """Rows of each part, as they are dealt; each half gets half of `train`, rounded down.

    A corpus has no labels, so all its training rows are in the first half.
    """
    halves = FORMS[form].has_halves
    first = task.train // 2 if halves else task.train
    return {
        "test": task.test,
        "validation": task.validation,
        "supervisor_half": first,
        "student_half": first if halves else 0,
    }


def fingerprint(parts: Mapping[Part, Iterable[Example]], *, form: FormName = "classes") -> str:
    """The identity of a split: changes with its form, any part, id, text, label or their order."""
    hashed = hashlib.sha256(f"{form}\n".encode())
    for part, rows in parts.items():
        for row in rows:
            line = f"{part}\t{row.id}\t{row.label}\t{len(row.text)}\t{row.text}\n"
            more = (row.second, row.answer, row.difficulty)
            if any(value is not None for value in more):
                line += f"{more!r}\n"
            if row.chat is not None:
                line += f"{row.chat}\n"
            hashed.update(line.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()[:ID_LENGTH]


def groups_digest(rows: Iterable[Example]) -> str:
    """A digest of which rows share a group: 20 hexadecimal digits.

    It depends neither on the order of the rows nor on the names of the groups.
    """
    numbers: dict[str, int] = {}
    members = sorted((row.id, row.group or f"row {row.id}") for row in rows)
    return digest([[id_, numbers.setdefault(group, len(numbers))] for id_, group in members])[
        :ID_LENGTH
    ]


def are_rows_of(table: Any, *, expected: str) -> bool:
    """Whether the rows of a stored split (an Arrow table) have the fingerprint `expected`.

    Groups are not part of a fingerprint.
    """
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    nothing = [None] * len(table)
    read = ("example_id", "text", "label", "second", "answer", "difficulty", "chat")
    cells = zip(columns["part"], *(columns.get(name, nothing) for name in read), strict=True)
    parts: dict[Part, list[Example]] = {part: [] for part in PARTS}
    for part, id_, text, label, second, answer, difficulty, chat in cells:
        if part not in parts or not isinstance(id_, str) or not isinstance(text, str):
            return False
        parts[part].append(Example(id_, text, label, "", second, answer, difficulty, chat))
    labelled = all(label is not None for label in columns["label"])
    if not labelled:
        parts = {part: [_unlabelled(row) for row in rows] for part, rows in parts.items()}
    forms = [name for name, form in FORMS.items() if form.has_two_classes is labelled]
    return expected in (fingerprint(parts, form=form) for form in forms)


def _unlabelled(row: Example) -> Example:
    return row._replace(label=0 if row.label is None else -1)


_REASONS = (
    *("too_long", "too_easy_or_hard", "same_text_twice", "contradictory"),
    *("duplicate", "near_duplicate", "shared_with_test"),
)
"""`near_duplicate`: a row of a generic task that differs from an earlier row only in case, white
space or Unicode form, and has the same label or answer."""


def _clean(rows: Rows, task: Task) -> tuple[list[Example], list[Example] | None, dict[str, int]]:
    """The cleaned pool, the cleaned rows of the source's test split, and rows dropped by reason.

    A text with two different labels or answers is dropped in all copies, because it can be neither
    learned nor scored. The first of other duplicates is kept. The source's test split is cleaned
    first; rows of the pool that share a text or a group with it are dropped.
    """
    dropped = {**dict.fromkeys(_REASONS, 0), **rows.dropped}
    verdicts: dict[str, set[str]] = {}
    for row in (*(rows.test or ()), *rows.pool):
        verdicts.setdefault(row.content, set()).add(row.verdict)
    contents: set[str] = set()
    near_contents: set[tuple[str, str]] = set()
    of_user = task.columns is not None or task.own is not None
    generic = of_user and FORMS[rows.form].has_texts
    test_groups = {row.group for row in rows.test or ()}

    def is_near(row: Example) -> bool:
        """Whether it is a near-duplicate of an earlier row; it is stored for later calls."""
        before = len(near_contents)
        near_contents.add((row.folded.content, row.folded.verdict))
        return len(near_contents) == before

    def kept(source: Iterable[Example], test_groups: set[str], *allowed: Bounds) -> list[Example]:
        result: list[Example] = []
        for row in source:
            if task.max_words is not None and _words(row) > task.max_words:
                dropped["too_long"] += 1
            elif not any(_within(row, bounds) for bounds in allowed):
                dropped["too_easy_or_hard"] += 1
            elif row.text == row.second:
                dropped["same_text_twice"] += 1
            elif len(verdicts[row.content]) > 1:
                dropped["contradictory"] += 1
            elif row.group in test_groups:
                dropped["shared_with_test"] += 1
            elif row.content in contents:
                dropped["duplicate"] += 1
            elif generic and is_near(row):
                dropped["near_duplicate"] += 1
            else:
                contents.add(row.content)
                result.append(row)
        return result

    if task.difficulty is not None:
        _check_difficulty(rows, task)
    hard = _difficulty(task)
    if rows.test is None:
        return kept(rows.pool, test_groups, hard.train, hard.test), None, dropped
    test = kept(rows.test, set(), hard.test)
    return kept(rows.pool, test_groups, hard.train), test, dropped


def _divide(
    rows: Sequence[Example],
    sizes: dict[Part, int],
    task: Task,
    source: _Source,
    copies: set[str],
    *,
    earlier: Sequence[Example] = (),
) -> dict[Part, tuple[Example, ...]]:
    """`rows` divided into parts of `sizes`, one part after the other.

    With `task.dedupe`, rows that are near copies of `earlier` rows or of an earlier part's are
    passed over, and their ids are added to `copies`.
    """
    by_content = {row.content: row for row in rows}
    ordered = [by_content[name] for name in _shuffled(by_content, seed=task.split_seed)]
    needs: dict[Part, _Need] = {
        part: _need(size, balance=task.balance) for part, size in sizes.items()
    }
    available = _available(ordered, balance=task.balance)
    total = {label: sum(need[label] for need in needs.values()) for label in available}
    if any(total[label] > available[label] for label in total):
        raise InputError(_too_few(task, sizes, available, source))
    if task.balance and task.dedupe is None:  # any row may be needed in place of a near copy
        ordered = _undersampled(ordered, keep=max(min(available.values()), *total.values()))
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(ordered):
        groups.setdefault(row.group, []).append(index)
    remaining = [groups[name] for name in _shuffled(groups, seed=task.split_seed)]
    parts: dict[Part, tuple[Example, ...]] = {}
    for part, need in needs.items():
        near = NearCopies(earlier) if task.dedupe is not None and earlier else None

        def is_copy(row: Example, near: NearCopies | None = near) -> bool:
            if near is None or not near.of(row):
                return False
            copies.add(row.id)
            return True

        taken, remaining = _take(remaining, need, ordered, is_copy)
        if len(taken) < sizes[part]:
            why, remedy = "groups are not divided", " or ".join(_fields(sizes))
            if task.dedupe is not None:
                why, remedy = f"{why} and near copies are left out", f"{remedy}, or remove dedupe"
            raise InputError(
                f"task {task.name}: {part} needs {sizes[part]:,} rows and gets {len(taken):,}, "
                f"because {why}; lower {remedy}"
            )
        parts[part] = tuple(ordered[index] for index in sorted(taken))
        earlier = (*earlier, *parts[part])
    return parts


def _words(row: Example) -> int:
    return len(row.text.split()) + len((row.second or "").split())


def _check_difficulty(rows: Rows, task: Task) -> None:
    for row in (*rows.pool, *(rows.test or ())):
        if row.difficulty is None:
            raise InputError(
                f"task {task.name}: its rows have no difficulty; remove `difficulty`, or give the "
                "column as `columns.difficulty`"
            )


def _difficulty(task: Task) -> Difficulty:
    return task.difficulty if task.difficulty is not None else Difficulty()


def _within(row: Example, bounds: Bounds) -> bool:
    least, most = bounds
    if row.difficulty is None:  # only without bounds, see `_check_difficulty`
        return True
    return (least is None or row.difficulty >= least) and (most is None or row.difficulty <= most)


def _take(
    groups: list[list[int]],
    need: _Need,
    ordered: Sequence[Example],
    is_copy: Callable[[Example], bool],
) -> tuple[list[int], list[list[int]]]:
    """Indices of the rows that fill `need`, and the groups from which no row was taken."""
    need, taken, unused = dict(need), [], []
    balance = None not in need
    for number, group in enumerate(groups):
        if not any(need.values()):
            unused += groups[number:]
            break
        before = len(taken)
        for index in group:
            label = ordered[index].label if balance else None
            if need[label] and not is_copy(ordered[index]):
                need[label] -= 1
                taken.append(index)
        if len(taken) == before:
            unused.append(group)
    return taken, unused


def _undersampled(rows: Sequence[Example], *, keep: int) -> list[Example]:
    """The first `keep` rows of each label."""
    remaining = {0: keep, 1: keep}
    result: list[Example] = []
    for row in rows:
        if remaining[row.label]:
            remaining[row.label] -= 1
            result.append(row)
    return result


def _need(size: int, *, balance: bool) -> _Need:
    return {0: size - size // 2, 1: size // 2} if balance else {None: size}


def _available(rows: Sequence[Example], *, balance: bool) -> _Need:
    ones = sum(row.label for row in rows)
    return {0: len(rows) - ones, 1: ones} if balance else {None: len(rows)}


def _shuffled(texts: Iterable[str], *, seed: int) -> list[str]:
    """Distinct texts in the order of their hashes with `seed`, whatever the order of `texts`."""
    prefix = f"{seed}\n".encode()

    def hashed(text: str) -> bytes:
        content = prefix + text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=16).digest()

    return sorted(texts, key=hashed)


def _fields(sizes: Mapping[Part, int]) -> list[str]:
    """The sweep file's keys for the parts of `sizes`."""
    return list(
        dict.fromkeys(
            "train" if part.endswith("_half") else part for part in PARTS if part in sizes
        )
    )


def _too_few(task: Task, sizes: Mapping[Part, int], available: _Need, source: _Source) -> str:
    fields, needed = _fields(sizes), sum(sizes.values())
    balanced = "balanced " if task.balance else ""
    count = 2 * min(available.values()) if task.balance else available[None]
    verb = "needs" if len(fields) == 1 else "need"
    has, detail, remedy = source.has.format(f"{count:,}"), "", f"lower {' or '.join(fields)}"
    if source.bounds != (None, None):
        least, most = ("null" if bound is None else f"{bound:g}" for bound in source.bounds)
        has += f" within {source.key} [{least}, {most}]"
        remedy += f", or widen {source.key}"
    if task.balance:
        detail = f" ({available[1]:,} of class 1, {available[0]:,} of class 0)"
    return (
        f"task {task.name}: {' + '.join(fields)} {verb} {needed:,} {balanced}rows, "
        f"{has}{detail}; {remedy}"
    )
