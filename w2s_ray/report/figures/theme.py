"""The style of figures: palettes, marks and sizes, for paper (light) and for screens (dark).

Owns every colour. A chart refers to roles (a style, or one of the scales below), never to a colour,
so that it works with either theme. Categories differ in colour and also in shape or dash. Unordered
categories use Okabe and Ito's palette ("Color Universal Design", 2008), on a dark ground in lighter
shades; ordered ones viridis and cividis, whose lightness rises with the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from w2s_ray.errors import InputError

Theme = Literal["light", "dark"]

SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
    "M-0.8,-0.8L0.8,-0.8L-0.8,0.8L0.8,0.8Z",  # an hourglass
)
"""Shapes of categories; the diamond is reserved for the ceiling."""
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4), (4, 2, 1, 2, 1, 2), (1, 3))
"""One fewer than shapes, so that shape and dash together distinguish 56 categories."""

_ON_PAPER = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#595959")
_ON_DARK = ("#56B4E9", "#F2813A", "#2CC295", "#E39AC5", "#F0E442", "#A79CFF", "#C9CCD1")

SHARE, NUMBER = "~%", "~g"
"""Formats of an axis: as many digits as its ticks need. Fixed digits make close ticks equal."""


def colour(field: str, domain: Sequence[str], *, title: str, ordered: bool = False) -> alt.Color:
    """Colour by category; `ordered` categories go from dark to light."""
    kind = "ordinal" if ordered else "nominal"
    return alt.Color(
        field,
        type=kind,
        sort=list(domain),
        scale=alt.Scale(domain=list(domain)),
        legend=legend(title),
    )


def shape(field: str, domain: Sequence[str], *, title: str) -> alt.Shape:
    """Shape by category; in one legend with a colour of the same field and title."""
    scale = alt.Scale(domain=list(domain), range=cycled(SHAPES, len(domain)))
    return alt.Shape(field, type="nominal", sort=list(domain), scale=scale, legend=legend(title))


def dash(field: str, domain: Sequence[str], *, title: str | None = None) -> alt.StrokeDash:
    """Dash by category; without a `title` it has no legend, for charts whose shapes have one."""
    dashes = [list(found) for found in cycled(DASHES, len(domain))]
    scale = alt.Scale(domain=list(domain), range=dashes)
    shown = None if title is None else alt.Legend(title=title, labelExpr=WRAPPED, symbolSize=300)
    return alt.StrokeDash(field, type="nominal", sort=list(domain), scale=scale, legend=shown)


def legend(title: str) -> alt.Legend:
    """A legend of points, whose long labels are wrapped, not truncated."""
    return alt.Legend(
        title=title, labelExpr=WRAPPED, symbolSize=90, symbolOpacity=1, symbolStrokeWidth=0
    )


def cycled(values: Sequence[Any], count: int) -> list[Any]:
    """`count` values, repeated from the start if there are too few."""
    return [values[i % len(values)] for i in range(count)]


_LINE = 22
"""Characters of a line of a wrapped label."""


def wrapped(most: int = _LINE) -> str:
    """Vega expression: a label in lines of at most `most` characters, wrapped after a separator if
    there is one.
    """
    return (
        rf"split(replace(replace(datum.label, regexp('{_lines(most)}', 'g'), '$1\n'), "
        r"regexp('\n$'), ''), '\n')"
    )


def line_count(label: str, most: int = _LINE) -> int:
    """Number of lines of a wrapped label."""
    return len(lines_of(label, most))


def lines_of(label: str, most: int) -> list[str]:
    """A label in lines of at most `most` characters."""
    return [line.rstrip() for line in re.findall(_lines(most), label)]


def _lines(most: int) -> str:
    return rf"(.{{1,{most}}}(?:[ _./-]|$)|.{{{most}}})"


WRAPPED = wrapped()


def config(theme: Theme) -> dict[str, Any]:
    """The Vega-Lite config of a theme.

    Raises:
        InputError: no such theme.
    """
    match theme:
        case "light":
            return _config(
                "#1a1a1a", muted="#5f6368", grid="#e4e6e9", hatch="#c3c8cf", paper="#ffffff"
            ) | {"range": _ranges(_ON_PAPER, extent=(0.0, 0.82), ramp=(0.0, 0.85))}
        case "dark":
            return _config(
                "#f0f1f3", muted="#a6abb3", grid="#33373f", hatch="#4d535e", paper="#16181d"
            ) | {"range": _ranges(_ON_DARK, extent=(0.48, 1.0), ramp=(0.4, 1.0))}
        case _:
            raise InputError(f"theme is {theme!r}; choose light or dark")


def _ranges(
    category: Sequence[str], *, extent: tuple[float, float], ramp: tuple[float, float]
) -> dict[str, Any]:
    return {
        "category": list(category),
        "ordinal": {"scheme": "viridis", "extent": list(extent)},
        "heatmap": {"scheme": "cividis"},
        "ramp": {"scheme": "cividis", "extent": list(ramp)},
    }


def _config(ink: str, *, muted: str, grid: str, hatch: str, paper: str) -> dict[str, Any]:
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": paper,
        "font": "Liberation Sans, Arial, Helvetica, sans-serif",
        "padding": 12,
        "view": {"stroke": grid},
        "axis": text
        | {
            "gridColor": grid,
            "domainColor": muted,
            "tickColor": muted,
            "titleFontWeight": "normal",
            "labelLimit": 260,
        },
        "axisX": {"labelSeparation": 6},
        "header": text | {"labelFontWeight": "bold", "titleFontWeight": "normal", "labelLimit": 0},
        "legend": text
        | {"labelLimit": 0, "titleFontWeight": "normal", "symbolStrokeWidth": 2}
        | {"symbolBaseFillColor": muted, "symbolBaseStrokeColor": muted},
        "title": {
            "color": ink,
            "subtitleColor": muted,
            "anchor": "start",
            "frame": "group",
            "fontSize": 15,
            "subtitleFontSize": 12,
            "subtitleLineHeight": 16,
            "offset": 14,
        },
        "style": {
            "ceiling": {"color": ink, "stroke": ink},
            "ceiling-point": {"color": ink, "stroke": paper, "strokeWidth": 0.5},
            "reference": {"color": muted, "stroke": muted, "strokeWidth": 1},
            "void": {"stroke": muted, "strokeWidth": 1, "color": paper},
            "hatch": {"color": hatch, "strokeWidth": 1.5},
            "ink-text": {"color": ink},
        },
    }
