"""The figures of a sweep, and their export to files.

Owns the list of figures. A figure draws values of the table and the store under the same names; a
figure without data is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, get_args

from w2s_ray.errors import InputError
from w2s_ray.report.figures import (
    agreement,
    grid,
    importance,
    methods,
    parallel,
    ranks,
    reliability,
    search,
    size,
    supervision,
    training,
)
from w2s_ray.report.figures.export import FORMATS, Format, export, themed
from w2s_ray.report.figures.figure import Figure
from w2s_ray.report.figures.figure_rows import (
    FigureData,
    XAxis,
    load_figure_data,
    table_rows,
)
from w2s_ray.report.figures.theme import Theme, config
from w2s_ray.report.pivot import pivot
from w2s_ray.report.rank import rank
from w2s_ray.report.ranking import Ranking

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


def figures_of(
    results: Results,
    sweep: str,
    *,
    x: XAxis = "parameters",
    rankings: Sequence[Ranking] | None = None,
) -> dict[str, Figure]:
    """Every figure that has data, by its name, in the order of reading.

    `x` is the measure of a model's size: its base model's parameters, or the FLOPs of its own
    training. `rankings` are those of the sweep's table, if they are known already.

    Raises:
        StoreError: no such sweep.
        InputError: no such `x`.
    """
    if x not in get_args(XAxis):
        raise InputError(f"x is {x!r}; choose among {', '.join(get_args(XAxis))}")
    data = load_figure_data(results, sweep)
    rankings = rank(data.table, data.store) if rankings is None else rankings
    return {figure.name: figure for figure in _figures(data, rankings, x=x)}


def _figures(data: FigureData, rankings: Sequence[Ranking], *, x: XAxis) -> Iterator[Figure]:
    every = table_rows(data, x=x)
    rows = [row for row in every if not row["control"]]
    controls = [row for row in every if row["control"]]
    medians = [asdict(row) for row in data.table.by_method]
    yield from size.figures(rows, controls, models=data.models, x=x)
    yield from grid.figures(rows, pivot(data.table), models=data.models)
    yield from methods.figures(rows, controls, medians, models=data.models, methods=data.methods)
    yield from ranks.figures(data, rankings)
    yield from training.figures(data)
    yield from agreement.figures(data, x=x)
    yield from supervision.figures(data)
    yield from reliability.figures(data)
    trials = search.trials(data)
    yield from search.figures(data, trials)
    yield from parallel.figures(data, trials)
    yield from importance.figures(data, trials)
