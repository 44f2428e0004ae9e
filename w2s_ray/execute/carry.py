"""Carrying out one planned fit, wherever the caller stands: a Ray task or a trial.

Owns the claim, so that no fit is trained twice at once; the cache hit where the store has it; and
the choice between this process and a worker group. It knows nothing of the order of runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_ray.execute.carrier import Carrier
from w2s_ray.execute.job import FitJob, reported
from w2s_ray.plan import PlannedFit
from w2s_ray.spec import FitRecipe
from w2s_ray.store import Record, Store


def carry(carrier: Carrier, fit: PlannedFit, *, objective: str | None = None) -> Record:
    """Train `fit` unless the store has it, and return its record, done or failed.

    Inside a trial, `objective` names the evaluation's figure that Tune is told.
    """
    with carrier.claimed(fit.id, wait=True):
        store = carrier.open_store()
        record = store.find(fit.id)
        if record is None:
            return _train(carrier, fit, store, objective)
    if objective is not None:
        _replay(store, record, objective)
    return record


def _train(carrier: Carrier, fit: PlannedFit, store: Store, objective: str | None) -> Record:
    try:
        if fit.execution.engine == "deepspeed":
            from w2s_ray.execute.sharded import carry_sharded

            record = carry_sharded(carrier, fit, objective=objective)
        else:
            record = _carry_here(carrier, fit, store, objective)
    finally:
        carrier.say_ended(fit)
    if record.status == "done":
        setup_s = float(record.summary.get("setup_seconds") or 0.0)
        carrier.say_ended(fit, seconds=record.seconds - setup_s)
    carrier.clear(fit.id)
    return record


def _carry_here(carrier: Carrier, fit: PlannedFit, store: Store, objective: str | None) -> Record:
    from w2s_ray.learn.checkpoints import FolderCheckpoints

    def tell(evaluation: Mapping[str, Any]) -> None:
        from ray import tune

        tune.report(reported(evaluation, objective or ""))

    saver = FolderCheckpoints(
        carrier.scratch(fit) / "checkpoints", every_s=fit.execution.checkpoint_every_s
    )
    job = FitJob(carrier, carrier.placed(fit), on_evaluation=tell if objective else None)
    return job.run(store, checkpoints=saver)


def _replay(store: Store, record: Record, objective: str) -> None:
    """Tell Tune the evaluations of a fit that was done before, as if it ran."""
    from ray import tune

    table = store.metrics(record.id)
    curve = [
        (step, value)
        for step, metric, value in zip(
            *(table.column(name).to_pylist() for name in ("step", "metric", "value")), strict=True
        )
        if metric == f"validation/{objective}"
    ]
    training = FitRecipe.model_validate(record.recipe).training
    total = training.epochs * training.evaluations_per_epoch
    for number, (_, value) in enumerate(sorted(curve), start=1):
        told = {objective: value, "evaluations": number, "of_evaluations": total}
        tune.report(reported(told, objective))
