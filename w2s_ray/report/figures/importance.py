"""The importance of a search's settings, for every study of the sweep.

Owns the figure. `search.importance` computes the shares, from the trials in the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
from pydantic import ValidationError

from w2s_ray.config import StudyRecipe
from w2s_ray.report.figures import theme
from w2s_ray.report.figures.figure import (
    Figure,
    Rows,
    by_task,
    combinations,
    distinct,
    layer,
    quoted,
)
from w2s_ray.report.figures.figure_rows import FigureData
from w2s_ray.report.figures.search import without
from w2s_ray.search.importance import FANOVA, FEWEST, PED_ANOVA, importances
from w2s_ray.search.trials import trial_of

_COLUMNS = 3


def figures(data: FigureData, trials: Rows) -> Iterator[Figure]:
    """`importance`, a panel for each study with enough trials and several settings."""
    rows = importance(data, trials)
    if rows:
        yield from by_task(rows, _importance, panels=combinations(rows, "study"))


def importance(data: FigureData, trials: Rows) -> list[dict[str, Any]]:
    """One row for each study, evaluator and setting, in the order of the evaluators' shares."""
    first: dict[str, Mapping[str, Any]] = {}
    for row in trials:
        first.setdefault(row["study"], row)
    rows = []
    for study, trial in first.items():
        place = without(trial, "settings")
        complete = sum(t["study"] == study and t["state"] == "complete" for t in trials)
        for evaluator, shares in _shares(data, study).items():
            rows += [
                {
                    **{name: place[name] for name in ("task", "weak", "strong", "method", "study")},
                    "panel": f"{place['panel']}, {complete} complete trials",
                    "evaluator": evaluator,
                    "setting": setting,
                    "share": share,
                    "runs": study,
                }
                for setting, share in sorted(shares.items(), key=lambda each: -each[1])
            ]
    return rows


def _shares(data: FigureData, study: str) -> dict[str, dict[str, float]]:
    """The importances of a study's settings; none for one setting, or another version's recipe."""
    record = data.records.get(study)
    try:
        recipe = StudyRecipe.model_validate(record.recipe if record else {})
    except ValidationError:
        return {}
    found = importances(recipe, [trial_of(trial) for trial in data.store.trials(study)])
    return found if any(len(shares) > 1 for shares in found.values()) else {}


def _importance(rows: Rows) -> Figure:
    charts = [_panel(rows, panel) for panel in distinct(rows, "panel")]
    return Figure(
        "importance",
        "Importance of the settings of each search",
        "Each setting's share of the importance of all, by Optuna. PED-ANOVA: for being among the "
        "best tenth of the trials. fANOVA: for the variance of the objective, over the settings "
        f"that all trials have. From few trials they are mostly chance; below {FEWEST} complete "
        "trials there are none.",
        alt.concat(*charts, columns=_COLUMNS, spacing=24),
        rows,
    )


def _panel(rows: Rows, panel: str) -> Any:
    settings = list(dict.fromkeys(row["setting"] for row in rows if row["panel"] == panel))
    domain = [PED_ANOVA, FANOVA]
    chart = (
        layer()
        .mark_bar()
        .transform_filter(f"datum.panel == {quoted(panel)}")
        .encode(
            alt.X(
                "share:Q",
                title="share of the importance",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format=theme.SHARE, tickCount=4),
            ),
            alt.Y(
                "setting:N",
                title=None,
                sort=settings,
                axis=alt.Axis(labelExpr=theme.WRAPPED, grid=False, ticks=False),
                scale=alt.Scale(paddingInner=0.25),
            ),
            alt.YOffset("evaluator:N", sort=domain, scale=alt.Scale(domain=domain)),
            theme.colour("evaluator", domain, title="evaluator"),
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("panel", "setting", "evaluator")),
                alt.Tooltip("share:Q", format=".1%"),
            ],
        )
    )
    title = alt.TitleParams(theme.lines_of(panel, 44), fontSize=12, offset=6)
    height = alt.Step(14, **{"for": "offset"})
    return chart.properties(width=220, height=height, title=title)
