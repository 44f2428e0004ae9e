"""Cleaning of a task's examples before they are split.

Owns the rules by which rows are dropped (length, difficulty, duplicates, contradictions, rows that
are in a part's own file), and the counts. It takes no sample and makes no parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from w2s_ray.config import FORMS, Bounds, Difficulty, OwnPart, Task
from w2s_ray.data.example import Example, Rows
from w2s_ray.errors import InputError

_REASONS = (
    *("too_long", "too_easy_or_hard", "same_text_twice", "contradictory"),
    *("duplicate", "near_duplicate", "shared_with_test"),
)
"""`near_duplicate`: a row of a generic task that differs from an earlier row only in case, white
space or Unicode form, and has the same label or answer."""


def clean(rows: Rows, task: Task) -> tuple[Rows, dict[str, int]]:
    """The cleaned rows, and rows dropped by reason.

    A text with two different labels or answers in one source is dropped in all copies, because it
    can be neither learned nor scored; a part's own file is a source, and the rest is one. The first
    of other duplicates is kept. A part's own rows are cleaned first, test before validation; later
    rows that share a text or a group with them are dropped.
    """
    dropped = {**dict.fromkeys(_REASONS, 0), **rows.dropped}
    own_test = "test" in task.part_files
    verdicts = _verdicts((*(() if own_test else rows.test or ()), *rows.pool))
    contents: set[str] = set()
    near_contents: set[tuple[str, str]] = set()
    of_user = task.columns is not None or task.own is not None
    generic = of_user and FORMS[rows.form].has_texts
    held: list[_Held] = []

    def is_near(row: Example) -> bool:
        """Whether it is a near-duplicate of an earlier row; it is stored for later calls."""
        before = len(near_contents)
        near_contents.add((row.folded.content, row.folded.verdict))
        return len(near_contents) == before

    def kept(
        source: Iterable[Example], verdicts: Mapping[str, set[str]], *allowed: Bounds
    ) -> tuple[Example, ...]:
        result: list[Example] = []
        for row in source:
            if task.max_words is not None and _words(row) > task.max_words:
                dropped["too_long"] += 1
            elif not any(within(row, bounds) for bounds in allowed):
                dropped["too_easy_or_hard"] += 1
            elif row.text == row.second:
                dropped["same_text_twice"] += 1
            elif len(verdicts[row.content]) > 1:
                dropped["contradictory"] += 1
            elif (shared := next((each for each in held if each.has(row)), None)) is not None:
                dropped[shared.reason] += 1
            elif row.content in contents:
                dropped["duplicate"] += 1
            elif generic and is_near(row):
                dropped["near_duplicate"] += 1
            else:
                contents.add(row.content)
                result.append(row)
        return tuple(result)

    if task.difficulty is not None:
        _check_difficulty(rows, task)
    hard, test, validation = difficulty_of(task), None, None
    bounds = (hard.train, hard.test) if rows.test is None else (hard.train,)
    if rows.test is not None:
        test = kept(rows.test, _verdicts(rows.test) if own_test else verdicts, hard.test)
        held.append(_held("test", rows.test, task))
    if rows.validation is not None:
        dropped["shared_with_validation"] = 0
        validation = kept(rows.validation, _verdicts(rows.validation), hard.train)
        held.append(_held("validation", rows.validation, task))
    pool = kept(rows.pool, verdicts, *bounds)
    if not pool and task.part_files:
        raise InputError(nothing_left("training", task, dropped))
    return replace(rows, pool=pool, test=test, validation=validation), dropped


def within(row: Example, bounds: Bounds) -> bool:
    """Whether a row's difficulty is within `bounds`."""
    least, most = bounds
    if row.difficulty is None:  # only without bounds, see `_check_difficulty`
        return True
    return (least is None or row.difficulty >= least) and (most is None or row.difficulty <= most)


def difficulty_of(task: Task) -> Difficulty:
    """The difficulties that a task uses."""
    return task.difficulty if task.difficulty is not None else Difficulty()


def nothing_left(what: str, task: Task, dropped: Mapping[str, int]) -> str:
    """The error if cleaning drops all `what` rows."""
    why = ", ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in dropped.items() if count
    )
    return (
        f"task {task.name}: no {what} row is left (rows dropped: {why or 'none'}); give another "
        "file for the training rows or for the part"
    )


@dataclass(frozen=True)
class _Held:
    """What a row must not share with a part's own rows."""

    reason: str
    groups: frozenset[str]
    contents: frozenset[str] = frozenset()
    """Folded texts of the rows of a file of the user's own."""

    def has(self, row: Example) -> bool:
        if row.group in self.groups:
            return True
        return bool(self.contents) and row.folded.content in self.contents


def _held(part: OwnPart, rows: tuple[Example, ...], task: Task) -> _Held:
    own = rows if part in task.part_files else ()
    return _Held(
        f"shared_with_{part}",
        frozenset(row.group for row in rows),
        frozenset(row.folded.content for row in own),
    )


def _verdicts(rows: Iterable[Example]) -> dict[str, set[str]]:
    """Content -> the labels or answers that it has."""
    verdicts: dict[str, set[str]] = {}
    for row in rows:
        verdicts.setdefault(row.content, set()).add(row.verdict)
    return verdicts


def _words(row: Example) -> int:
    return sum(len(text.split()) for text in (row.text, row.second or "", *(row.choices or ())))


def _check_difficulty(rows: Rows, task: Task) -> None:
    for row in rows.every:
        if row.difficulty is None:
            raise InputError(
                f"task {task.name}: its rows have no difficulty; remove `difficulty`, or give the "
                "column as `columns.difficulty`"
            )
