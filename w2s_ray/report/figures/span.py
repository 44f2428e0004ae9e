"""The range of a PGR axis: all values are inside, and an interval beyond it ends in an arrow.

Owns the range of the axis and the arrows. Values are never cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from w2s_ray.report.figures.figure import Rows, layer

_STEP = 0.2


@dataclass(frozen=True)
class Span:
    """The range of a PGR axis."""

    low: float
    high: float
    cuts: bool
    """Whether some interval exceeds the range."""
    bounds: tuple[str, str]
    """Fields of an interval's bounds."""

    @property
    def scale(self) -> alt.Scale:
        return alt.Scale(domain=[self.low, self.high], nice=False)

    @property
    def caption(self) -> str | None:
        return "Arrows: the interval continues beyond the axis." if self.cuts else None

    def references(self, along: Literal["x", "y"]) -> list[alt.Chart]:
        """Lines at 0 and 1, on a horizontal or vertical axis."""
        datum = alt.XDatum if along == "x" else alt.YDatum
        return [
            layer()
            .mark_rule(style="reference", strokeDash=dash)
            .encode(datum(level, type="quantitative", title="PGR", scale=self.scale))
            for level, dash in ((0, [1, 0]), (1, [4, 3]))
        ]

    def arrows(
        self, along: Literal["x", "y"], *encodings: alt.SchemaBase, **style: Any
    ) -> list[alt.Chart]:
        """An arrow at the axis' end for each interval that exceeds the range."""
        ends = {
            "x": (("triangle-left", alt.XValue(0)), ("triangle-right", alt.XValue("width"))),
            "y": (("triangle-down", alt.YValue("height")), ("triangle-up", alt.YValue(0))),
        }
        left, right = (f"datum.{bound}" for bound in self.bounds)
        beyond = (f"{left} < {self.low}", f"{right} > {self.high}")
        return [
            layer()
            .mark_point(shape=shape, size=45, filled=True, opacity=1, **style)
            .transform_filter(f"isValid({left}) && isValid({right}) && {is_cut}")
            .encode(end, *encodings)
            for (shape, end), is_cut in zip(ends[along], beyond, strict=True)
        ]


def span(rows: Rows, *, bounds: tuple[str, str] = ("pgr_low", "pgr_high")) -> Span:
    """The range of all PGRs, 0 and 1, extended for intervals by at most its own length per side."""
    values = [0.0, 1.0, *(row["pgr"] for row in rows)]
    least, most = min(values), max(values)
    lows = [low for row in rows if (low := row.get(bounds[0])) is not None] or [least]
    highs = [high for row in rows if (high := row.get(bounds[1])) is not None] or [most]
    reach = most - least
    low = math.floor(max(min(*lows, least), least - reach) / _STEP) * _STEP
    high = math.ceil(min(max(*highs, most), most + reach) / _STEP) * _STEP
    low, high = round(low, 6), round(high, 6)
    return Span(low, high, cuts=min(lows) < low or max(highs) > high, bounds=bounds)
