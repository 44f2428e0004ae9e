"""The rows of a plugin's task: what its function gives, as examples.

Owns the call of the function and the columns of its rows, which are those of the task's form. The
function is called for every plan, since what else it reads is unknown: its rows are compared by
content, as rows of files are. It makes no split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from w2s_ray.config import TASK_FORMS, Columns
from w2s_ray.data.example import Row, Rows
from w2s_ray.data.generic import table_rows
from w2s_ray.data.own_table import Place, Table
from w2s_ray.errors import InputError
from w2s_ray.plugins import OwnTask
from w2s_ray.plugins.guard import guarded
from w2s_ray.printable import shown
from w2s_ray.validation import first_problem

if TYPE_CHECKING:
    from w2s_ray.data.files import Member

MOST_ROWS = 10_000_000


def own_rows(task: OwnTask) -> Rows:
    """The rows of a plugin's task, as one pool.

    Raises:
        InputError: the function raises an error, or its rows aren't those of the task's form.
    """
    where = f"task {task.name}"
    with guarded(where, code=task.file):
        rows = _listed(task.rows())
    if not rows:
        raise InputError(f"{where}: its function gives no rows; give some")
    columns = _columns(rows[0], where)
    if columns.form != task.form:
        raise InputError(
            f"{where}: its rows have {', '.join(rows[0])}, the form {columns.form!r}, but "
            f"@w2s.task has the form {task.form!r}; write @w2s.task(form={columns.form!r})"
        )
    member = cast("Member", where)  # its text, in errors
    places = tuple(Place(member, number) for number in range(len(rows)))
    return table_rows(Table(where, tuple(rows), places, 1), columns=columns)


def _listed(given: Any) -> list[Row]:
    """What the function gave, as rows: an iterable of mappings, a pandas frame or a Dataset."""
    if hasattr(given, "to_dict") and hasattr(given, "iloc"):
        given = given.to_dict("records")
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise InputError(
            f"its function gives {shown(given)}; yield rows, or return a pandas frame or "
            "a Dataset with one split"
        )
    rows: list[Row] = []
    for row in given:
        if not isinstance(row, Mapping) or not all(isinstance(key, str) for key in row):
            raise InputError(f"row {len(rows) + 1} is {shown(row)}; give a mapping of columns")
        if len(rows) == MOST_ROWS:
            raise InputError(f"there are more than {MOST_ROWS:,} rows; give fewer")
        rows.append(row)
    return rows


def _columns(row: Row, where: str) -> Columns:
    """The columns of a row, which have the names of the keys of `columns`."""
    columns = {name: name for name in row}
    try:
        return Columns.model_validate(columns)
    except ValidationError as error:
        why = first_problem(error, Columns, columns)
        known = "; ".join(form.columns_in_words for form in TASK_FORMS.values() if form.has_texts)
        raise InputError(f"{where}: row 1: {why}; rows have these columns: {known}") from None
