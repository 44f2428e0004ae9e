"""A figure: a chart with its data, its title and its caption.

Owns the parts that all figures share: one dataset with one name, panels by task and method, and the
composition of captions. It draws nothing.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt

from w2s_ray.printable import printable
from w2s_ray.report.figures.theme import WRAPPED, line_count, wrapped

Rows = Sequence[Mapping[str, Any]]
"""The data of a chart: one mapping of JSON values per row."""

DATA = "rows"
"""Name of the one dataset of every chart."""

PANELS = 24
"""A figure with more panels is split into one figure per task."""


_LONGEST_SLUG = 80


@dataclass(frozen=True, repr=False)
class Figure:
    """A chart with its texts. A notebook shows it as a picture."""

    name: str
    """Unique among a sweep's figures; can be a file name."""
    title: str
    caption: str
    """What the chart shows and how to read it, in one or a few sentences."""
    layout: Any
    """An Altair chart without data and without a theme."""
    rows: Rows
    """Its data, with the fields task, weak, strong and method where they apply, and ids of runs in
    `runs`."""
    task: str | None = None
    """Its task, if each task has a separate figure."""

    def __repr__(self) -> str:
        return f"Figure {self.name}: {self.title} ({len(self.rows)} rows)"

    def _repr_svg_(self) -> str:
        from w2s_ray.report.figures.export import export

        return export(self, "svg").decode()

    @property
    def chart(self) -> Any:
        """The Altair chart with its data. Altair validates every row, which is slow."""
        rows = [plain(row) for row in self.rows]
        return self.layout.properties(data=alt.NamedData(DATA), datasets={DATA: rows})

    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification without a theme; its one dataset is named `rows`."""
        rows = [plain(row) for row in self.rows]
        layout = self.layout.properties(data=alt.NamedData(DATA))
        return without_control_characters({**layout.to_dict(), "datasets": {DATA: rows}})


def layer() -> alt.Chart:
    """A chart without marks that uses the figure's data."""
    return alt.Chart()


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """`row` with null for numbers that JSON can't represent."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def panels(chart: Any, *, rows: Rows, row: str, column: str, width: int, height: int) -> Any:
    """`chart` once for each value of `row` and `column`, in the order in which they appear.

    Above `COLUMNS` columns there is a panel for each pair of values, `COLUMNS` of them side by
    side, so that a figure is no wider than a page. `width` and `height` are those of the smallest
    panel: titles are wrapped to the width, and rows are as far apart as their titles need.
    """
    line = max(8, (width + _BETWEEN) // _CHARACTER)
    across = distinct(rows, column)
    if len(across) > COLUMNS:
        joined = list(dict.fromkeys(f"{each[row]}: {each[column]}" for each in rows))
        both = chart.facet(
            facet=alt.Facet(
                "joined:N",
                sort=joined,
                header=alt.Header(title=None, labelExpr=wrapped(line)),
            ),
            columns=COLUMNS,
            data=alt.NamedData(DATA),
            spacing=_BETWEEN,
        )
        return both.transform_calculate(joined=f"datum.{row} + ': ' + datum.{column}")
    tallest = max(line_count(str(each)) for each in distinct(rows, row))
    return chart.facet(
        row=alt.Row(f"{row}:N", sort=distinct(rows, row), header=_ROW_HEADER),
        column=alt.Column(
            f"{column}:N",
            sort=across,
            header=alt.Header(title=None, labelExpr=wrapped(line)),
        ),
        data=alt.NamedData(DATA),
        spacing={"row": max(_BETWEEN, _LINE * tallest + 4 - height), "column": _BETWEEN},
    )


def wrapped_panels(chart: Any, *, rows: Rows, by: str, columns: int) -> Any:
    """`chart` once for each value of `by`, with `columns` of them in a row."""
    return chart.facet(
        facet=alt.Facet(f"{by}:N", sort=distinct(rows, by), header=_HEADER),
        columns=columns,
        data=alt.NamedData(DATA),
        spacing=_BETWEEN,
    )


COLUMNS = 4
"""Most panels side by side."""
_BETWEEN = 16
"""Space between panels."""
_CHARACTER, _LINE = 7, 15
"""Width of a character of a title, and height of its line."""
_HEADER = alt.Header(title=None, labelExpr=WRAPPED)
_ROW_HEADER = alt.Header(title=None, labelExpr=WRAPPED, labelAngle=0, labelAlign="left")
"""Titles of rows are horizontal: beside low panels vertical ones overlap."""


def combinations(rows: Rows, *fields: str) -> int:
    """Number of different combinations of the fields' values."""
    return len({tuple(row[field] for field in fields) for row in rows})


def distinct(rows: Rows, field: str) -> list[Any]:
    """The values of `field`, in the order in which they appear."""
    return list(dict.fromkeys(row[field] for row in rows))


def by_task(rows: Rows, make: Callable[[Rows], Figure | None], *, panels: int) -> Iterator[Figure]:
    """The figure that `make` returns for `rows`; one per task if it had too many panels."""
    tasks = distinct(rows, "task")
    if len(tasks) < 2 or panels <= PANELS:
        figure = make(rows)
        if figure is not None:
            yield figure
        return
    for number, task in enumerate(tasks, start=1):
        figure = make([row for row in rows if row["task"] == task])
        if figure is None:
            continue
        yield replace(
            figure,
            name=f"{figure.name}-{number}-{slug(task or 'all')}",
            title=f"{figure.title}: {task}",
            task=task,
        )


ROW_TOOLTIP = [
    alt.Tooltip("task:N"),
    alt.Tooltip("pair:N"),
    alt.Tooltip("method:N"),
    alt.Tooltip("weak_accuracy:Q", title="supervisor", format=".2%"),
    alt.Tooltip("student_accuracy:Q", title="student", format=".2%"),
    alt.Tooltip("student_low:Q", title="student from", format=".2%"),
    alt.Tooltip("student_high:Q", title="student to", format=".2%"),
    alt.Tooltip("ceiling_accuracy:Q", title="ceiling", format=".2%"),
    alt.Tooltip("pgr:Q", title="PGR", format=".3f"),
    alt.Tooltip("pgr_low:Q", title="PGR from", format=".3f"),
    alt.Tooltip("pgr_high:Q", title="PGR to", format=".3f"),
    *(alt.Tooltip(f"{name}:N") for name in ("reason", "missing", "objective", "seeds", "runs")),
]
"""The tooltip of a mark that shows a row of the PGR table; it has the ids of the row's runs."""


def if_drawn(text: str, rows: Rows, *fields: str) -> str | None:
    """`text` if some row has one of `fields`, so that a caption explains only what is drawn."""
    return text if any(row.get(field) is not None for row in rows for field in fields) else None


def slug(text: str) -> str:
    """`text` as a part of a file name; different texts may give the same name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:_LONGEST_SLUG]


def unique_slug(text: str) -> str:
    """`text` as a part of a file name; with a checksum if `text` had to be changed."""
    plain = slug(text)
    return plain if plain == text else f"{plain}-{zlib.crc32(text.encode(errors='replace')):08x}"


def quoted(text: str) -> str:
    """`text` as a string in a Vega expression, equal to the same text in a figure's rows."""
    return json.dumps(printable(text))


def without_control_characters(value: Any) -> Any:
    """A specification without control characters in its texts, which no renderer accepts."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {name: without_control_characters(part) for name, part in value.items()}
        case list() | tuple():
            return [without_control_characters(part) for part in value]
        case _:
            return value


def sentence(parts: Iterable[str | None]) -> str:
    """A caption from its sentences; None is left out."""
    return " ".join(part for part in parts if part)
