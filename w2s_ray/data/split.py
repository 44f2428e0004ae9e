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

from w2s_ray.data.example import Example, Rows
from w2s_ray.identity import ID_LENGTH
from w2s_ray.spec import PARTS, Part, Task

_Need = dict[int | None, int]
"""Rows still needed, by label; by None where parts aren't balanced."""


@dataclass(frozen=True)
class Split:
    """A task's rows in their four parts."""

    task: str
    fingerprint: str
    """Hash over part, id, text and label of every row, in order: 20 hexadecimal digits."""
    parts: Mapping[Part, tuple[Example, ...]]
    """The rows of each part, shuffled."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows dropped before dealing; those that balance or size left over aren't counted"""
    own_test: bool = False
    """True where test rows are from the source's own test split."""

    @property
    def counts(self) -> dict[Part, int]:
        """Rows of each part."""
        return {part: len(rows) for part, rows in self.parts.items()}


def make_split(rows: Rows, *, task: Task) -> Split:
    """The split of `rows` that `task` declares.

    Raises:
        ValueError: fewer rows than asked for; names the part, the rows asked and available.
    """
    pool, test, dropped = _clean(rows, max_words=task.max_words)
    sizes = part_sizes(task)
    own_test = test is not None
    dealt: dict[Part, tuple[Example, ...]] = {}
    if test is not None:
        dealt = _deal(test, {"test": sizes.pop("test")}, task, own_test=True)
    dealt |= _deal(pool, sizes, task, own_test=own_test)
    ordered: dict[Part, tuple[Example, ...]] = {part: dealt[part] for part in PARTS}
    return Split(task.name, fingerprint(ordered), ordered, dropped, own_test)


def part_sizes(task: Task) -> dict[Part, int]:
    """Rows of each part, as they are dealt; each half gets half of `train`, rounded down."""
    half = task.train // 2
    return {
        "test": task.test,
        "validation": task.validation,
        "supervisor_half": half,
        "student_half": half,
    }


def fingerprint(parts: Mapping[Part, Iterable[Example]]) -> str:
    """The identity of a split: changes with any part, id, text, label or their order."""
    hashed = hashlib.sha256()
    for part, rows in parts.items():
        for row in rows:
            line = f"{part}\t{row.id}\t{row.label}\t{len(row.text)}\t{row.text}\n"
            hashed.update(line.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()[:ID_LENGTH]


def _clean(
    rows: Rows, *, max_words: int | None
) -> tuple[list[Example], list[Example] | None, dict[str, int]]:
    """Pool and own test rows without the rows that must not be in a split, and how many went why.

    A text that stands with both labels is dropped in all its copies, since it can be neither learnt
    nor scored; of other duplicates the first stays. The own test split goes first, and what shares
    a text or a group with it leaves the pool.
    """
    dropped = {"too_long": 0, "contradictory": 0, "duplicate": 0, "shared_with_test": 0}
    labels: dict[str, int] = {}
    for row in (*(rows.test or ()), *rows.pool):
        labels[row.text] = labels.get(row.text, 0) | (1 << row.label)
    seen: set[str] = set()
    test_groups = {row.group for row in rows.test or ()}

    def kept(source: Iterable[Example], barred: set[str]) -> list[Example]:
        result: list[Example] = []
        for row in source:
            if max_words is not None and len(row.text.split()) > max_words:
                dropped["too_long"] += 1
            elif labels[row.text] == 3:
                dropped["contradictory"] += 1
            elif row.group in barred:
                dropped["shared_with_test"] += 1
            elif row.text in seen:
                dropped["duplicate"] += 1
            else:
                seen.add(row.text)
                result.append(row)
        return result

    test = None if rows.test is None else kept(rows.test, set())
    return kept(rows.pool, test_groups), test, dropped


def _deal(
    source: Sequence[Example], sizes: dict[Part, int], task: Task, *, own_test: bool
) -> dict[Part, tuple[Example, ...]]:
    """The parts of `sizes`, dealt out of `source` in order."""
    by_text = {row.text: row for row in source}
    ordered = [by_text[text] for text in _shuffled(by_text, seed=task.split_seed)]
    needs: dict[Part, _Need] = {
        part: _need(size, balance=task.balance) for part, size in sizes.items()
    }
    available = _available(ordered, balance=task.balance)
    total = {label: sum(need[label] for need in needs.values()) for label in available}
    if any(total[label] > available[label] for label in total):
        raise ValueError(_too_few(task, sizes, available, own_test))
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
            raise ValueError(
                f"task {task.name}: {part} asks for {sizes[part]:,} rows and gets {len(taken):,} "
                "since whole groups stay in one part; lower " + " or ".join(_fields(sizes))
            )
        parts[part] = tuple(ordered[place] for place in sorted(taken))
    return parts


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


def _too_few(task: Task, sizes: Mapping[Part, int], available: _Need, own_test: bool) -> str:
    fields, asked = _fields(sizes), sum(sizes.values())
    balanced = "balanced " if task.balance else ""
    count = 2 * min(available.values()) if task.balance else available[None]
    verb = "asks" if len(fields) == 1 else "ask"
    if fields == ["test"]:
        there = f"the source's own test split has {count:,}"
    elif own_test:
        there = f"{count:,} are available outside the source's own test split"
    else:
        there = f"{count:,} are available"
    detail = ""
    if task.balance:
        detail = f" ({available[1]:,} of class 1, {available[0]:,} of class 0)"
    return (
        f"task {task.name}: {' + '.join(fields)} {verb} for {asked:,} {balanced}rows, "
        f"{there}{detail}; lower {' or '.join(fields)}"
    )
