"""The answers that a task's extractor takes from the right answers of its rows.

Owns this step alone, which is part of making a split. A split keeps what was taken, so that reports
compare completions without the extractor, which may be a plugin's.
"""

from __future__ import annotations

from collections.abc import Iterable

from w2s_ray.config import FORMS, Task
from w2s_ray.data.example import Example, Rows
from w2s_ray.errors import InputError
from w2s_ray.methods.extractors import is_default
from w2s_ray.methods.kinds import kind_of
from w2s_ray.plugins.guard import guarded
from w2s_ray.printable import shown


def with_extracted(rows: Rows, *, task: Task) -> Rows:
    """`rows` with the answers that the task's extractor takes from their right answers.

    Raises:
        InputError: it takes none from some of them; names the first.
    """
    if is_default(task.extract) or not FORMS[rows.form].is_completed:
        return rows
    extractor, kind = task.extract, kind_of(type(task.extract))
    missing: list[Example] = []

    def taken(examples: Iterable[Example]) -> Iterable[Example]:
        for row in examples:
            with guarded(f"task {task.name}: row {row.id}"):
                found = extractor.compared(row.answer or "")
            if found is None:
                missing.append(row)
            yield row._replace(extracted=found)

    made = rows.changed(taken)
    if missing:
        raise InputError(
            f"task {task.name}: extract {kind} finds no answer in {len(missing):,} of "
            f"{len(rows.every):,} right answers, the first in row {missing[0].id}: "
            f"{shown(missing[0].answer)}; change extract, or the answers"
        )
    return made
