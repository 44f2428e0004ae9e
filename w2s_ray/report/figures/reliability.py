"""Reliability diagrams: accuracy by confidence, for supervisors, students and ceilings.

Owns the pooling of seeds and this figure. `report.measures` defines the bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import altair as alt

from w2s_ray.report.figures import theme
from w2s_ray.report.figures.figure import Figure, Rows, by_task, combinations, layer, panels
from w2s_ray.report.figures.figure_rows import FigureData, pair
from w2s_ray.report.measures import Bin
from w2s_ray.report.measures import reliability as bins_of
from w2s_ray.report.statistics.eval_sets import READERS, eval_set, probabilities
from w2s_ray.store import Record
from w2s_ray.store.damage import none_if_damaged

_ROLES = ("supervisor", "student", "ceiling")
FEWEST = 10
"""Smallest number of predictions in a drawn bin; the share in a smaller one is mostly chance."""
_PLACE = ("task", "weak", "strong", "method", "role")


def figures(data: FigureData) -> Iterator[Figure]:
    """`reliability`, of runs with predictions on test rows."""
    rows = reliability(data)
    if rows:
        yield from by_task(rows, _reliability, panels=combinations(rows, "task", "pair", "method"))


def reliability(data: FigureData) -> list[dict[str, Any]]:
    """One row for each bin of each cell's three models, with the predictions of all seeds."""
    found = _bins(data)
    pooled: dict[tuple[str, ...], dict[str, Sequence[Bin]]] = {}
    for cell in data.cells:
        for role in _ROLES:
            run = getattr(cell, role)
            if run in found:
                key = (cell.task, cell.weak, cell.strong, cell.method, role)
                pooled.setdefault(key, {})[run] = found[run]
    return [
        {
            **dict(zip(_PLACE, key, strict=True)),
            "pair": pair(key[1], key[2]),
            "panel": f"{key[0]}: {pair(key[1], key[2])}",
            **bin_,
            "runs": " ".join(by_run),
        }
        for key, by_run in pooled.items()
        for bin_ in _pooled(list(by_run.values()))
    ]


def _bins(data: FigureData) -> dict[str, Sequence[Bin]]:
    """Run id -> its bins, for each run with a prediction for every test row."""
    known = set(data.store.splits.fingerprints())
    by_split: dict[str, list[Record]] = {}
    for record in data.records.values():
        split = record.recipe.get("split")
        if record.kind == "fit" and record.status == "done" and split in known:
            by_split.setdefault(split, []).append(record)
    found: dict[str, Sequence[Bin]] = {}
    with ThreadPoolExecutor(READERS) as readers:
        for split, records in by_split.items():
            test = none_if_damaged(partial(eval_set, data.store, split))
            if test is None:
                continue
            read = readers.map(lambda r, test=test: probabilities(data.store, test, r), records)
            for record, predicted_NC in zip(records, read, strict=True):
                if not isinstance(predicted_NC, str):
                    found[record.id] = bins_of(predicted_NC, labels_N=test.classes_N)
    return found


def _pooled(of_runs: Sequence[Sequence[Bin]]) -> Iterator[Mapping[str, float]]:
    """The bins of several runs merged; small bins are left out."""
    for same in zip(*of_runs, strict=True):
        count = sum(bin_.count for bin_ in same)
        if count >= FEWEST:
            yield {
                "low": same[0].low,
                "high": same[0].high,
                "count": count,
                "confidence": sum(b.count * (b.confidence or 0.0) for b in same) / count,
                **_share(sum(round(b.count * (b.accuracy or 0.0)) for b in same), of=count),
            }


def _share(right: int, *, of: int) -> Mapping[str, float]:
    """The share of correct predictions, with Wilson's 95 % interval."""
    from scipy.stats import binomtest

    within = binomtest(right, of).proportion_ci(method="wilson")
    return {"accuracy": right / of, "accuracy_low": within.low, "accuracy_high": within.high}


def _reliability(rows: Rows) -> Figure:
    colour = theme.colour("role", _ROLES, title="model")
    shape = theme.shape("role", _ROLES, title="model")
    dash = theme.dash("role", _ROLES)
    lowest = min(0.5, *(row["low"] for row in rows))
    bounds = alt.Scale(domain=[lowest, 1.0])
    axis = alt.Axis(format=theme.SHARE, tickCount=5)
    free = alt.Scale(zero=False)
    x = alt.X("confidence:Q", title="confidence", scale=bounds, axis=axis)
    y = alt.Y("accuracy:Q", title="share right", scale=free, axis=axis)
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in ("task", "pair", "method", "role")),
        alt.Tooltip("confidence:Q", title="mean confidence", format=".2%"),
        alt.Tooltip("accuracy:Q", title="share right", format=".2%"),
        alt.Tooltip("count:Q", title="predictions"),
        alt.Tooltip("runs:N"),
    ]
    layers = [
        layer()
        .mark_rule(style="reference", strokeDash=[4, 3])
        .encode(
            alt.XDatum(lowest, type="quantitative", scale=bounds),
            alt.YDatum(lowest, type="quantitative", scale=free),
            x2=alt.datum(1.0),
            y2=alt.datum(1.0),
        ),
        layer()
        .mark_rule(strokeWidth=1.25, opacity=0.6)
        .encode(x, alt.Y("accuracy_low:Q", scale=free), alt.Y2("accuracy_high:Q"), colour),
        layer().mark_line(strokeWidth=1.5).encode(x, y, colour, dash),
        layer()
        .mark_point(filled=True, opacity=1)
        .encode(
            x,
            y,
            colour,
            shape,
            alt.Size(
                "count:Q",
                title="predictions",
                scale=alt.Scale(range=[12, 140]),
                legend=alt.Legend(tickCount=3),
            ),
            tooltip=tooltip,
        ),
    ]
    size = {"width": 210, "height": 170}
    layered = alt.layer(*layers).properties(**size)
    return Figure(
        "reliability",
        "Reliability: accuracy by confidence",
        "On test rows, all seeds together, in bins of confidence. On the dashed diagonal accuracy "
        "equals confidence; below it, a model is overconfident. Vertical lines: Wilson's 95 % "
        "intervals, which assume independent predictions. Bins of fewer than "
        f"{FEWEST} predictions are left out.",
        panels(layered, rows=rows, row="panel", column="method", **size),
        rows,
    )
