"""The figures of a sweep, and their export to files.

Owns the list of figures. A figure draws values of the table and the store under the same names; a
figure without data is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

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
from w2s_ray.report.figures.figure import Figure, Rows
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
    only: Collection[str] | None = None,
) -> dict[str, Figure]:
    """Every figure that has data, by its name, in the order of reading.

    `x` is the measure of a model's size: its base model's parameters, or the FLOPs of its own
    training. `rankings` are those of the sweep's table, if they are known already. With `only`,
    the figures with these names are made, and what the others need is not computed.

    Raises:
        StoreError: no such sweep.
        InputError: no such `x`.
    """
    if x not in get_args(XAxis):
        raise InputError(f"x is {x!r}; choose among {', '.join(get_args(XAxis))}")
    sources = _Sources(load_figure_data(results, sweep), x, rankings)
    return {
        figure.name: figure
        for names, make in _MAKERS.items()
        if only is None or any(each.startswith(names) for each in only)
        for figure in make(sources)
        if only is None or figure.name in only
    }


@dataclass(frozen=True)
class _Sources:
    """What figures are made of; each is computed at its first use."""

    data: FigureData
    x: XAxis
    known_rankings: Sequence[Ranking] | None

    @cached_property
    def rankings(self) -> Sequence[Ranking]:
        known = self.known_rankings
        return rank(self.data.table, self.data.store) if known is None else known

    @cached_property
    def every_row(self) -> list[dict[str, Any]]:
        return table_rows(self.data, x=self.x)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for row in self.every_row if not row["control"]]

    @property
    def controls(self) -> list[dict[str, Any]]:
        return [row for row in self.every_row if row["control"]]

    @cached_property
    def trials(self) -> Rows:
        return search.trials(self.data)


def _sizes(its: _Sources) -> Iterator[Figure]:
    return size.figures(its.rows, its.controls, models=its.data.models, x=its.x)


def _methods(its: _Sources) -> Iterator[Figure]:
    medians = [asdict(row) for row in its.data.table.by_method]
    names = {"models": its.data.models, "methods": its.data.methods}
    return methods.figures(its.rows, its.controls, medians, **names)


_MAKERS: dict[tuple[str, ...], Callable[[_Sources], Iterator[Figure]]] = {
    ("accuracy", "pgr-by-size"): _sizes,
    ("pgr-grid",): lambda its: grid.figures(
        its.rows, pivot(its.data.table), models=its.data.models
    ),
    ("methods",): _methods,
    ("ranks",): lambda its: ranks.figures(its.data, its.rankings),
    ("training",): lambda its: training.figures(its.data),
    ("agreement",): lambda its: agreement.figures(its.data, x=its.x),
    ("four-cells", "similarity", "misfit"): lambda its: supervision.figures(its.data),
    ("reliability",): lambda its: reliability.figures(its.data),
    ("search-", "study-history"): lambda its: search.figures(its.data, its.trials),
    ("parallel-",): lambda its: parallel.figures(its.data, its.trials),
    ("importance",): lambda its: importance.figures(its.data, its.trials),
}
"""How the names of figures begin -> the function that makes them, in the order of reading."""
