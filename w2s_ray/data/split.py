"""Divides a task's examples into the four parts of a split.

Owns shuffling, balancing, the division, and the fingerprint of the result. Rows are ordered by
hashes of seed and text, never by their order in a file, so that the split is the same on every
platform. It reads no files; `cleaning` drops rows.

Parts with rows of their own (a file, or the source's test split) are filled first. Rows of the pool
that are in a part's own file, or share a group with its rows, are dropped. From the pool the test
part is filled first, then validation, then the halves. Each part gets whole groups; rows of these
groups that it doesn't need are dropped. With `train: all` of a corpus nothing is dropped: test and
validation get groups that fit into them, and the last rows of the largest other group. With
`dedupe: near`, a row that is a near copy of a row in an earlier part is passed over.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from w2s_ray.config import ALL_ROWS, FORMS, PARTS, TASK_FORMS, Bounds, FormName, OwnPart, Part, Task
from w2s_ray.data.cleaning import clean, difficulty_of, nothing_left, within
from w2s_ray.data.example import Example, Rows
from w2s_ray.data.extracted import with_extracted
from w2s_ray.data.generic import label_order
from w2s_ray.data.near_copies import NearCopies, near_copies
from w2s_ray.errors import InputError
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.printable import shown

_Need = dict[int | None, int]
"""Label -> rows still needed; the label is None if parts aren't balanced."""


_HALVES: tuple[Part, ...] = ("supervisor_half", "student_half")
_LEAST_ROWS = 2
"""Least number of rows of a part."""


@dataclass(frozen=True)
class Documents:
    """The documents (groups) of a corpus after cleaning."""

    count: int
    divided: int
    """Those with rows in several parts."""


@dataclass(frozen=True)
class Split:
    """A task's rows in their four parts."""

    task: str
    fingerprint: str
    """20 hexadecimal digits of a hash over the form and, in order, every row's part, id, texts,
    label, answer, what is extracted from it, difficulty and weight."""
    parts: Mapping[Part, tuple[Example, ...]]
    """The rows of each part, shuffled."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows dropped by cleaning, without those that balance or size dropped."""
    own_test: bool = False
    """True where test rows are from the source's own test split, or from a test file."""
    form: FormName = "classes"
    """What a row is."""
    unused: int = 0
    """Rows that were not dropped and are in no part: sizes, balance and whole groups leave them
    over."""
    files: int = 1
    """Number of files with columns of one's own that the rows are from."""
    documents: Documents | None = None
    """The documents of a corpus."""

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

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of several classes, of all parts together, in order; empty for other forms."""
        if not FORMS[self.form].has_several_classes:
            return ()
        names = {row.answer or "" for rows in self.parts.values() for row in rows}
        return tuple(sorted(names, key=label_order))

    @property
    def counts(self) -> dict[Part, int]:
        """Rows of each part."""
        return {part: len(rows) for part, rows in self.parts.items()}


def make_split(rows: Rows, *, task: Task) -> Split:
    """The split of `rows` that `task` declares.

    Raises:
        InputError: too few rows; names the part, the rows needed and the rows available. Or
            `dedupe` for rows without texts, or right answers without an answer to extract.
    """
    if task.dedupe is not None and not FORMS[rows.form].has_texts:
        raise InputError(
            f"task {task.name}: dedupe compares texts, and its rows have none; remove dedupe"
        )
    rows = with_extracted(rows, task=task)
    balance = task.balance and FORMS[rows.form].has_two_classes
    task = task.model_copy(update={"balance": balance})
    cleaned, dropped = clean(rows, task)
    own, hard = _own_rows(cleaned, task), difficulty_of(task)
    sizes, copies = part_sizes(task, form=rows.form), set[str]()
    parts: dict[Part, tuple[Example, ...]] = {}
    for part, its in own.items():
        size, earlier = sizes.pop(part), tuple(chain(*parts.values()))
        if task.size(part) is None:
            parts[part] = _whole(its.rows, task, copies, earlier=earlier)
            if not parts[part]:
                raise InputError(nothing_left(part, task, dropped))
        else:
            parts |= _divide(its.rows, {part: size}, task, its.source, copies, earlier=earlier)
    taken, source = tuple(chain(*parts.values())), _Source("{} are available", hard.train)
    if own:
        outside = " and ".join(its.name for its in own.values())
        if shared := sum(dropped[f"shared_with_{part}"] for part in task.part_files):
            outside += f" ({shared:,} dropped as shared)"
        source = _Source(f"{{}} are available outside {outside}", hard.train, "difficulty.train")
    groups = {row.group for row in taken}
    pool = (row for row in cleaned.pool if within(row, hard.train))
    remaining = [row for row in pool if row.group not in groups]
    parts |= _divide(remaining, sizes, task, source, copies, earlier=taken)
    if task.dedupe is not None:
        dropped["near_copy"] = len(copies)
    ordered: dict[Part, tuple[Example, ...]] = {
        part: parts[part] if part in _HALVES else _unweighted(parts[part]) for part in PARTS
    }
    name = fingerprint(ordered, form=rows.form)
    given = (rows.pool, rows.test or (), rows.validation or ())
    read = sum(map(len, given)) + sum(rows.dropped.values())
    return Split(
        task.name,
        name,
        ordered,
        dropped,
        own_test=cleaned.test is not None,
        form=rows.form,
        unused=read - sum(dropped.values()) - sum(map(len, ordered.values())),
        files=rows.files,
        documents=None if FORMS[rows.form].has_halves else _documents(cleaned.every, ordered),
    )


def _unweighted(rows: Iterable[Example]) -> tuple[Example, ...]:
    """`rows` without weights, which only training rows have."""
    return tuple(row._replace(weight=None) for row in rows)


def _documents(rows: Iterable[Example], parts: Mapping[Part, tuple[Example, ...]]) -> Documents:
    places = Counter(group for its in parts.values() for group in {row.group for row in its})
    return Documents(
        count=len({row.group for row in rows}),
        divided=sum(count > 1 for count in places.values()),
    )


@dataclass(frozen=True)
class _OwnRows:
    """Rows that only one part gets."""

    rows: tuple[Example, ...]
    source: _Source
    name: str
    """What has these rows, for errors about the other parts."""


def _own_rows(cleaned: Rows, task: Task) -> dict[OwnPart, _OwnRows]:
    """The parts that don't get their rows from the pool, or only from the hard rows in it."""
    hard, own = difficulty_of(task), dict[OwnPart, _OwnRows]()
    if cleaned.test is not None:
        name = "the test file" if "test" in task.part_files else "the source's own test split"
        source = _Source(f"{name} has {{}}", hard.test, "difficulty.test")
        own["test"] = _OwnRows(cleaned.test, source, name)
    if cleaned.validation is not None:
        source = _Source("the validation file has {}", hard.train, "difficulty.train")
        own["validation"] = _OwnRows(cleaned.validation, source, "the validation file")
    if cleaned.test is None and hard.train != hard.test:
        source = _Source("{} are available", hard.test, "difficulty.test")
        test = tuple(row for row in cleaned.pool if within(row, hard.test))
        own["test"] = _OwnRows(test, source, "the groups of test rows")
    return own


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

    A corpus has no labels, so all its training rows are in the first half. With `train: all` they
    are more than there are. A part with all rows of its file counts 0.
    """
    halves = FORMS[form].has_halves
    first = task.train // 2 if halves else task.train
    return {
        "test": task.size("test") or 0,
        "validation": task.size("validation") or 0,
        "supervisor_half": first,
        "student_half": first if halves else 0,
    }


def fingerprint(parts: Mapping[Part, Iterable[Example]], *, form: FormName = "classes") -> str:
    """The identity of a split: changes with its form, any part, id, text, label or weight, or their
    order.
    """
    hashed = hashlib.sha256(f"{form}\n".encode())
    for part, rows in parts.items():
        for row in rows:
            line = f"{part}\t{row.id}\t{row.label}\t{len(row.text)}\t{row.text}\n"
            more = (row.second, row.answer, row.difficulty)
            if any(value is not None for value in more):
                line += f"{more!r}\n"
            if row.chat is not None:
                line += f"{row.chat}\n"
            if row.choices is not None:
                line += f"{row.choices!r}\n"
            if row.weight is not None:
                line += f"weight {row.weight!r}\n"
            if row.extracted is not None:
                line += f"extracted {row.extracted!r}\n"
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
    read = (
        *("example_id", "text", "label", "second", "answer", "difficulty", "chat", "choices"),
        *("weight", "extracted"),
    )
    cells = zip(columns["part"], *(columns.get(name, nothing) for name in read), strict=True)
    parts: dict[Part, list[Example]] = {part: [] for part in PARTS}
    for part, id_, text, label, second, answer, difficulty, chat, choices, *more in cells:
        if part not in parts or not isinstance(id_, str) or not isinstance(text, str):
            return False
        given = None if choices is None else tuple(choices)
        row = Example(id_, text, label, "", second, answer, difficulty, chat, given, *more)
        parts[part].append(row)
    labelled = all(label is not None for label in columns["label"])
    if not labelled:
        parts = {part: [_unlabelled(row) for row in rows] for part, rows in parts.items()}
    forms = [name for name, form in TASK_FORMS.items() if form.has_two_classes is labelled]
    return expected in (fingerprint(parts, form=form) for form in forms)


def _unlabelled(row: Example) -> Example:
    return row._replace(label=0 if row.label is None else -1)


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
    ordered = _ordered(rows, task)
    takes_all = task.train == ALL_ROWS and _HALVES[0] in sizes
    if takes_all:
        sizes = _with_all(sizes, rows=len(rows))
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
    if takes_all:
        numbers = {row.content: number for number, row in enumerate(rows)}
        for group in remaining:
            group.sort(key=lambda index: numbers[ordered[index].content], reverse=True)
    parts: dict[Part, tuple[Example, ...]] = {}
    for part, need in needs.items():
        is_copy = _copy_test(earlier, task, copies)
        before = remaining
        if takes_all:
            whole = [len(groups[ordered[group[0]].group]) for group in remaining]
            before = _fitting_first(remaining, whole, rows=sizes[part])
        taken, remaining = _take(before, need, ordered, is_copy)
        if takes_all:
            remaining += _rests(before, set(taken))
        least = _LEAST_ROWS if takes_all and part == _HALVES[0] else sizes[part]
        if len(taken) < least:
            why, remedy = _undivided(rows), " or ".join(_fields(sizes, task))
            if sizes.get("student_half") == 0 and not takes_all:  # a corpus
                remedy += ", or write train: all"
            if task.dedupe is not None:
                why, remedy = f"{why} and near copies are left out", f"{remedy}, or remove dedupe"
            raise InputError(
                f"task {task.name}: {part} needs {least:,} rows and gets {len(taken):,}, "
                f"because {why}; lower {remedy}"
            )
        parts[part] = tuple(ordered[index] for index in sorted(taken))
        earlier = (*earlier, *parts[part])
    return parts


def _undivided(rows: Iterable[Example]) -> str:
    """Why a part lacks rows: groups that go whole into another one; the largest is named."""
    sizes = Counter(row.group for row in rows)
    several = sum(count > 1 for count in sizes.values())
    if several == 0:
        return "groups are not divided"
    (largest, count), have = sizes.most_common(1)[0], "has" if several == 1 else "have"
    return (
        f"groups are not divided: {several:,} {have} several rows, the largest, {shown(largest)}, "
        f"{count:,}"
    )


def _whole(
    rows: Sequence[Example], task: Task, copies: set[str], *, earlier: Sequence[Example]
) -> tuple[Example, ...]:
    """All `rows`, shuffled; with `task.dedupe` without near copies of `earlier` rows."""
    is_copy = _copy_test(earlier, task, copies)
    return tuple(row for row in _ordered(rows, task) if not is_copy(row))


def _with_all(sizes: Mapping[Part, int], *, rows: int) -> dict[Part, int]:
    """`sizes` where the training part of a corpus has the rows that the other parts leave."""
    others = sum(size for part, size in sizes.items() if part != _HALVES[0])
    return {**sizes, _HALVES[0]: max(_LEAST_ROWS, rows - others)}


def _fitting_first(
    groups: Sequence[list[int]], whole: Sequence[int], *, rows: int
) -> list[list[int]]:
    """`groups` in the order in which they fill a part of `rows`: those that fit, then the others.

    The others are ordered by their sizes as a `whole`, the largest first, so that parts divide the
    same group.
    """
    fitting, others = [], []
    for group, size in zip(groups, whole, strict=True):
        if len(group) <= rows:
            rows -= len(group)
            fitting.append(group)
        else:
            others.append((size, group))
    others.sort(key=lambda pair: -pair[0])
    return [*fitting, *(group for _, group in others)]


def _rests(groups: Iterable[list[int]], taken: set[int]) -> list[list[int]]:
    """The other rows of groups from which some were taken."""
    rests = (
        [i for i in group if i not in taken] for group in groups if not taken.isdisjoint(group)
    )
    return [rest for rest in rests if rest]


def _ordered(rows: Sequence[Example], task: Task) -> list[Example]:
    """`rows` in the order of the hashes of their texts."""
    by_content = {row.content: row for row in rows}
    return [by_content[name] for name in _shuffled(by_content, seed=task.split_seed)]


def _copy_test(
    earlier: Sequence[Example], task: Task, copies: set[str]
) -> Callable[[Example], bool]:
    """Whether a row is a near copy of `earlier` rows and has to go; its id is added to `copies`."""
    near = NearCopies(earlier) if task.dedupe is not None and earlier else None

    def is_copy(row: Example) -> bool:
        if near is None or not near.of(row):
            return False
        copies.add(row.id)
        return True

    return is_copy


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


def _fields(sizes: Mapping[Part, int], task: Task) -> list[str]:
    """The sweep file's keys for the parts of `sizes`."""
    keys = dict.fromkeys(
        "train" if part.endswith("_half") else part for part in PARTS if part in sizes
    )
    return [f"{key}.rows" if key in task.part_files else key for key in keys]


def _too_few(task: Task, sizes: Mapping[Part, int], available: _Need, source: _Source) -> str:
    fields, needed = _fields(sizes, task), sum(sizes.values())
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
