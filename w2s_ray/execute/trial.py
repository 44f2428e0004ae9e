"""One trial: the monitoring of its fits, cell after cell, and its reports to Tune.

Owns the objective, which is the one metric that a study may use, and a trial's state from its last
report. A trial's process reserves no CPU or GPU: its fits run on workers. It proposes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any, Literal

from ray import tune

from w2s_ray.execute.run_context import RunContext
from w2s_ray.execute.run_fit import run_fit
from w2s_ray.fits.failures import cause_of
from w2s_ray.fits.outcome import reason_of
from w2s_ray.plan import PlannedStudy
from w2s_ray.search.curves import Points, TrialCurve
from w2s_ray.search.trials import COST
from w2s_ray.store import Record


def trial_function(study: PlannedStudy, context: RunContext) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs for each trial."""

    def trial(config: dict[str, Any]) -> None:
        try:
            report({**run_cells(config), "ended": True})
        except Exception as error:  # noqa: BLE001 - reported to the study, which records it
            failure = {"cause": cause_of(error), "reason": reason_of(error)}
            report({"objective": float("nan"), "ended": True, **failure})

    def run_cells(config: dict[str, Any]) -> dict[str, Any]:
        number, chains = config["number"], study.trial_chains(config["settings"])
        curve = TrialCurve([fits[-1].recipe.training.evaluations for fits in chains])
        key, cost, finals = objective_key(study), 0.0, list[float]()

        def on_evaluation(evaluation: Mapping[str, Any]) -> None:
            cell, count = len(finals), evaluation["evaluations"]
            report_points(curve.observe(cell, count, evaluation[key]), curve)

        for *steps, student in chains:
            records: list[Record] = []
            for fit in (*steps, student):
                callback = on_evaluation if fit is student else None
                records.append(
                    run_fit(context, fit, queue=study.id, priority=number, on_evaluation=callback)
                )
                if records[-1].status != "done":
                    failure = {"cause": records[-1].cause, "reason": records[-1].reason}
                    return {"objective": float("nan"), **failure}
            cost += sum(float(record.summary[COST] or 0.0) for record in records)
            final = final_objective(study, records[-1])
            points = curve.end_cell(len(finals), final)
            finals.append(final)
            if len(finals) < len(chains):  # a trial that has trained everything isn't pruned
                report_points(points, curve)
        return {"objective": fmean(finals), "cost": cost, "curve": curve.values}

    def report_points(points: Points, curve: TrialCurve) -> None:
        for position, value in points:
            of_curve = {"position": position, "of_positions": curve.length}
            report({"objective": value, "ended": False, **of_curve})

    def report(result: dict[str, Any]) -> None:
        tune.report({**result, "study": study.id})

    # Tune passes functions to its actors by name, through one registry for all studies of a driver:
    # with equal names, a study that starts at the same moment would run its trials here.
    trial.__name__ = f"trial_{study.id}"
    return trial


def objective_key(study: PlannedStudy) -> str:
    """The one metric of an evaluation that the study may use, by its objective.

    `weak_validation` uses agreement or cross-entropy with the cell's own weak labels; `transfer`
    and `oracle` use ground truth, of other cells and of the cell itself.
    """
    if study.recipe.objective == "weak_validation":
        return "agreement" if study.recipe.metric == "accuracy" else "loss"
    return "accuracy" if study.recipe.metric == "accuracy" else "log_loss"


def final_objective(study: PlannedStudy, record: Record) -> float:
    """The objective of a finished fit."""
    return float(record.summary[f"validation_{objective_key(study)}"])  # type: ignore[arg-type]


def check_own(study: PlannedStudy, result: Mapping[str, Any]) -> None:
    """Reject a report of another study's trial: it would choose this study's settings.

    Raises:
        RuntimeError: the report is another study's.
    """
    if result and result.get("study") != study.id:
        raise RuntimeError(f"study {study.id} got a report of a trial of {result.get('study')}")


def state_of(
    result: Mapping[str, Any], error: bool
) -> tuple[Literal["complete", "pruned", "failed"], str | None, str | None]:
    """A trial's state by its last report, with the cause and the reason of a failure."""
    if error or not result:
        reason = "its process died too often" if error else "it reported nothing"
        return "failed", "worker_died", reason
    if not result.get("ended"):
        return "pruned", None, None
    value = result["objective"]
    if result.get("reason") or value != value:
        reason = result.get("reason") or "the objective is not a number"
        return "failed", result.get("cause") or "diverged", reason
    return "complete", None, None
