"""The figures of a sweep, and how they become files.

Owns which figures there are. A figure draws what the table and the store say, under the same names,
and one without data is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from w2s_ray.errors import InputError
from w2s_ray.report.figures import agreement, grid, methods, reliability, search, size, training
from w2s_ray.report.figures.export import FORMATS, Format, export, themed
from w2s_ray.report.figures.figure import Figure
from w2s_ray.report.figures.figure_rows import FIGURE_OF, Facts, XAxis, facts_of, table_rows
from w2s_ray.report.figures.theme import Theme, config
from w2s_ray.report.pivot import pivot

if TYPE_CHECKING:
    from w2s_ray.report.results import Results

__all__ = [
    "FORMATS",
    "Figure",
    "Format",
    "Theme",
    "XAxis",
    "config",
    "export",
    "figures_of",
    "themed",
]


def figures_of(results: Results, sweep: str, *, x: XAxis = "parameters") -> dict[str, Figure]:
    """Every figure that there is data for, by its name, in the order of reading.

    `x` is what a model's size is: its parameters, or FLOPs of its own training.

    Raises:
        StoreError: no such sweep.
        InputError: no such `x`.
    """
    if x not in FIGURE_OF:
        raise InputError(f"x is {x!r}; choose among {', '.join(FIGURE_OF)}")
    return {figure.name: figure for figure in _made(facts_of(results, sweep), x=x)}


def _made(facts: Facts, *, x: XAxis) -> Iterator[Figure]:
    rows = table_rows(facts, x=x)
    medians = [asdict(row) for row in facts.table.by_method]
    yield from size.figures(rows, models=facts.models, x=x)
    yield from grid.figures(rows, pivot(facts.table), models=facts.models)
    yield from methods.figures(rows, medians, models=facts.models, methods=facts.methods)
    yield from training.figures(facts)
    yield from agreement.figures(facts, x=x)
    yield from reliability.figures(facts)
    yield from search.figures(facts)
