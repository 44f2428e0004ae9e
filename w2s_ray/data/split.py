"""Examples to the four parts of a split.

Owns cleaning, shuffling, balancing and dealing out, and the fingerprint over the outcome. The order
of everything is that of hashes of seed and text, never of a file, so no source's sorting survives
and every platform gives the same split. It reads no file and knows no task's format.

Test is dealt first, then validation, then the halves. Each part takes whole groups, from which
rows that it has no need of are dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from w2s_ray.config import FORMS, PARTS, Bounds, Difficulty, FormName, Part, Task
from w2s_ray.data.example import Example, Rows
from w2s_ray.errors import InputError
from w2s_ray.identity import ID_LENGTH, digest

_Need = dict[int | None, int]
"""Rows still needed, by label; by None where parts aren't balanced."""


@dataclass(frozen=True)
class Split:
    """A task's rows in their four parts."""

    task: str
    fingerprint: str
    """Hash over form, and part, id, texts, label, answer and difficulty of every row, in order: 20
    hexadecimal digits."""
    parts: Mapping[Part, tuple[Example, ...]]
    """The rows of each part, shuffled."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows dropped before dealing; those that balance or size left over aren't counted"""
    own_test: bool = False
    """True where test rows are from the source's own test split."""
    form: FormName = "classes"
    """What a row is."""

    @property
    def counts(self) -> dict[Part, int]:
        """Rows of each part."""
        return {part: len(rows) for part, rows in self.parts.items()}


def make_split(rows: Rows, *, task: Task) -> Split:
    """The split of `rows` that `task` declares.

    Raises:
        InputError: fewer rows than asked for; names the part, the rows asked and available.
    """
    balance = task.balance and FORMS[rows.form].has_two_classes
    task = task.model_copy(update={"balance": balance})
    pool, test, dropped = _clean(rows, task)
    sizes = part_sizes(task, form=rows.form)
    own_test, hard = test is not None, _difficulty(task)
    if test is None and hard.train != hard.test:
        test = [row for row in pool if _within(row, hard.test)]
        pool = [row for row in pool if _within(row, hard.train)]
    if test is None:
        dealt = _deal(pool, sizes, task, _Source("{} are available", hard.train))
    else:
        found = "the source's own test split has {}" if own_test else "{} are available"
        named = _Source(found, hard.test, "difficulty.test")
        dealt = _deal(test, {"test": sizes.pop("test")}, task, named)
        taken = {row.group for row in dealt["test"]}
        left = [row for row in pool if row.group not in taken]
        outside = "the source's own test split" if own_test else "the groups of test rows"
        named = _Source(f"{{}} are available outside {outside}", hard.train, "difficulty.train")
        dealt |= _deal(left, sizes, task, named)
    ordered: dict[Part, tuple[Example, ...]] = {part: dealt[part] for part in PARTS}
    name = fingerprint(ordered, form=rows.form)
    return Split(task.name, name, ordered, dropped, own_test, rows.form)


@dataclass(frozen=True)
class _Source:
    """What rows are dealt out of, for errors."""

    has: str
    """That it has `{}` rows, in words."""
    bounds: Bounds
    """The difficulty of its rows."""
    key: str = "difficulty"
    """Where the sweep file says so."""


def part_sizes(task: Task, *, form: FormName = "classes") -> dict[Part, int]:
    """Rows of each part, as they are dealt; each half gets half of `train`, rounded down.

    A corpus has nothing to label, so all its training rows stand in the first half.
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
"""`near_duplicate`: of a generic task's rows, one that differs from another in case, spaces or
Unicode form alone and has the same label or answer."""


def _clean(rows: Rows, task: Task) -> tuple[list[Example], list[Example] | None, dict[str, int]]:
    """Pool and own test rows without the rows that must not be in a split, and how many went why.

    A text that stands with two labels or answers is dropped in all its copies, since it can be
    neither learnt nor scored; of other duplicates the first stays. The own test split goes first,
    and what shares a text or a group with it leaves the pool.
    """
    dropped: dict[str, int] = dict.fromkeys(_REASONS, 0)
    verdicts: dict[str, set[str]] = {}
    for row in (*(rows.test or ()), *rows.pool):
        verdicts.setdefault(row.content, set()).add(row.verdict)
    seen: set[str] = set()
    alike: set[tuple[str, str]] = set()
    generic = task.columns is not None and FORMS[rows.form].has_texts
    test_groups = {row.group for row in rows.test or ()}

    def is_near(row: Example) -> bool:
        """Whether a row before it is like it; it counts as one for those after it."""
        before = len(alike)
        alike.add((row.folded.content, row.folded.verdict))
        return len(alike) == before

    def kept(source: Iterable[Example], barred: set[str], *allowed: Bounds) -> list[Example]:
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
            elif row.group in barred:
                dropped["shared_with_test"] += 1
            elif row.content in seen:
                dropped["duplicate"] += 1
            elif generic and is_near(row):
                dropped["near_duplicate"] += 1
            else:
                seen.add(row.content)
                result.append(row)
        return result

    if task.difficulty is not None:
        _check_difficulty(rows, task)
    hard = _difficulty(task)
    if rows.test is None:
        return kept(rows.pool, test_groups, hard.train, hard.test), None, dropped
    test = kept(rows.test, set(), hard.test)
    return kept(rows.pool, test_groups, hard.train), test, dropped


def _deal(
    source: Sequence[Example], sizes: dict[Part, int], task: Task, where: _Source
) -> dict[Part, tuple[Example, ...]]:
    """The parts of `sizes`, dealt out of `source` in order."""
    by_content = {row.content: row for row in source}
    ordered = [by_content[name] for name in _shuffled(by_content, seed=task.split_seed)]
    needs: dict[Part, _Need] = {
        part: _need(size, balance=task.balance) for part, size in sizes.items()
    }
    available = _available(ordered, balance=task.balance)
    total = {label: sum(need[label] for need in needs.values()) for label in available}
    if any(total[label] > available[label] for label in total):
        raise InputError(_too_few(task, sizes, available, where))
    if task.balance:
        ordered = _undersampled(ordered, keep=max(min(available.values()), *total.values()))
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(ordered):
        groups.setdefault(row.group, []).append(place)
    waiting = [groups[name] for name in _shuffled(groups, seed=task.split_seed)]
    parts: dict[Part, tuple[Example, ...]] = {}
    for part, need in needs.items():
        taken, waiting = _take(waiting, need, ordered)
        if len(taken) < sizes[part]:
            raise InputError(
                f"task {task.name}: {part} asks for {sizes[part]:,} rows and gets {len(taken):,} "
                "since whole groups stay in one part; lower " + " or ".join(_fields(sizes))
            )
        parts[part] = tuple(ordered[place] for place in sorted(taken))
    return parts


def _words(row: Example) -> int:
    return len(row.text.split()) + len((row.second or "").split())


def _check_difficulty(rows: Rows, task: Task) -> None:
    for row in (*rows.pool, *(rows.test or ())):
        if row.difficulty is None:
            raise InputError(
                f"task {task.name}: its rows have no difficulty; leave out `difficulty`, or name a "
                "column of one in `columns.difficulty`"
            )


def _difficulty(task: Task) -> Difficulty:
    return task.difficulty if task.difficulty is not None else Difficulty()


def _within(row: Example, bounds: Bounds) -> bool:
    least, most = bounds
    if row.difficulty is None:  # then there are no bounds
        return True
    return (least is None or row.difficulty >= least) and (most is None or row.difficulty <= most)


def _take(
    waiting: list[list[int]], need: _Need, ordered: Sequence[Example]
) -> tuple[list[int], list[list[int]]]:
    """The places of rows that fill `need`, and the groups left; one without a needed row stays."""
    need, taken, left = dict(need), [], []
    balance = None not in need
    for number, group in enumerate(waiting):
        if not any(need.values()):
            left += waiting[number:]
            break
        before = len(taken)
        for place in group:
            label = ordered[place].label if balance else None
            if need[label]:
                need[label] -= 1
                taken.append(place)
        if len(taken) == before:
            left.append(group)
    return taken, left


def _undersampled(rows: Sequence[Example], *, keep: int) -> list[Example]:
    """`rows` with at most `keep` of each label, the first ones."""
    left = {0: keep, 1: keep}
    result: list[Example] = []
    for row in rows:
        if left[row.label]:
            left[row.label] -= 1
            result.append(row)
    return result


def _need(size: int, *, balance: bool) -> _Need:
    return {0: size - size // 2, 1: size // 2} if balance else {None: size}


def _available(rows: Sequence[Example], *, balance: bool) -> _Need:
    ones = sum(row.label for row in rows)
    return {0: len(rows) - ones, 1: ones} if balance else {None: len(rows)}


def _shuffled(texts: Iterable[str], *, seed: int) -> list[str]:
    """Distinct texts in the order of their hashes with `seed`: the same for any order given."""
    prefix = f"{seed}\n".encode()

    def rank(text: str) -> bytes:
        content = prefix + text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=16).digest()

    return sorted(texts, key=rank)


def _fields(sizes: Mapping[Part, int]) -> list[str]:
    """The sweep file's keys that `sizes` come from."""
    return list(
        dict.fromkeys(
            "train" if part.endswith("_half") else part for part in PARTS if part in sizes
        )
    )


def _too_few(task: Task, sizes: Mapping[Part, int], available: _Need, where: _Source) -> str:
    fields, asked = _fields(sizes), sum(sizes.values())
    balanced = "balanced " if task.balance else ""
    count = 2 * min(available.values()) if task.balance else available[None]
    verb = "asks" if len(fields) == 1 else "ask"
    there, detail, remedy = where.has.format(f"{count:,}"), "", f"lower {' or '.join(fields)}"
    if where.bounds != (None, None):
        least, most = ("null" if bound is None else f"{bound:g}" for bound in where.bounds)
        there += f" within {where.key} [{least}, {most}]"
        remedy += f", or widen {where.key}"
    if task.balance:
        detail = f" ({available[1]:,} of class 1, {available[0]:,} of class 0)"
    return (
        f"task {task.name}: {' + '.join(fields)} {verb} for {asked:,} {balanced}rows, "
        f"{there}{detail}; {remedy}"
    )
