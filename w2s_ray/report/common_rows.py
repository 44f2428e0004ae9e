"""Rows that every method of a sweep has, so that medians of methods are over the same rows.

Owns the choice: of each method the rows that count (`report.objectives`), and of these the places
(task and pair) that no method lacks. A method without any such row doesn't narrow the choice, nor
does one that the sweep uses on some of its tasks: it has no such rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from w2s_ray.report.objectives import counted
from w2s_ray.report.table_rows import Row, SeedRow

Place = tuple[str, str, str]
"""Task, weak and strong model."""


def place_of(row: Row | SeedRow) -> Place:
    """The row's task and pair."""
    return row.task, row.weak, row.strong


def counted_by_method(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Method -> its rows that count, in their order."""
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    return {
        method: counted(of_method, by=lambda row: row.objective)
        for method, of_method in by_method.items()
    }


def on_all_tasks(rows: Sequence[Row]) -> set[str]:
    """The methods that are used on each task of the rows, planned rows included."""
    tasks = {row.task for row in rows}
    of_method: dict[str, set[str]] = {}
    for row in rows:
        of_method.setdefault(row.method, set()).add(row.task)
    return {method for method, used_on in of_method.items() if used_on == tasks}


def common(
    by_method: Mapping[str, Sequence[Row]],
    *,
    usable: Callable[[Row], bool],
    methods: Collection[str],
) -> dict[str, list[Row]]:
    """Method -> its usable rows at the places where each of `methods` has one, in their order.

    Other methods have none.
    """
    found = {
        name: [row for row in rows if name in methods and usable(row)]
        for name, rows in by_method.items()
    }
    places = [{place_of(row) for row in rows} for rows in found.values() if rows]
    shared = set.intersection(*places) if places else set()
    return {name: [row for row in rows if place_of(row) in shared] for name, rows in found.items()}


def has_pgr(row: Row) -> bool:
    """Whether the row has a PGR."""
    return row.pgr is not None


def is_complete(row: Row) -> bool:
    """Whether a seed of the row is complete, so that it has accuracies."""
    return row.seeds > 0
