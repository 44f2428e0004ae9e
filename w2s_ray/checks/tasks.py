"""Checks of a plugin's task: its rows have the form's columns, and each call gives the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

from w2s_ray.checks.check import Outcome
from w2s_ray.config import FORMS
from w2s_ray.data.example import Rows
from w2s_ray.data.own_rows import own_rows
from w2s_ray.plugins import OwnTask


def task_checks(task: OwnTask) -> dict[str, Callable[[], Outcome]]:
    """Name -> check, in the order in which they are printed."""
    called = _Called(task)
    return {"rows": partial(_rows, called), "deterministic": partial(_deterministic, called)}


class _Called:
    """A task with the rows of its first call."""

    def __init__(self, task: OwnTask) -> None:
        self.task = task

    @cached_property
    def rows(self) -> Rows:
        return own_rows(self.task)


def _rows(called: _Called) -> Outcome:
    rows = called.rows
    form = FORMS[rows.form]
    figures = f"{len(rows.pool):,} rows of the form {rows.form}"
    if form.has_two_classes:
        figures += f", {sum(row.label for row in rows.pool):,} of class 1"
    distinct = len({row.content for row in rows.pool})
    return True, f"{figures}, {distinct:,} with distinct texts"


def _deterministic(called: _Called) -> Outcome:
    again = own_rows(called.task)
    pairs = zip(called.rows.pool, again.pool, strict=False)
    differ = sum(one != other for one, other in pairs)
    differ += abs(len(called.rows.pool) - len(again.pool))
    if differ:
        return False, f"{differ:,} rows are others at a second call; seed what is drawn"
    return True, "the same rows at a second call"
