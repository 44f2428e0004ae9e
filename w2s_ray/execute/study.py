"""A study on Ray Tune: it runs the trials, and records the settings of the best one.

Owns the adapters between Tune and our proposals and pruning. Tune runs one process for each trial,
which reserves no CPU or GPU, since the trial's fits run on workers. All decisions are in `search`,
and every ended trial is in the store, from which a stopped study resumes. Tune's own state is
deleted.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from w2s_ray.execute.run_context import RunContext
from w2s_ray.execute.study_state import ProposedTrial, StudyState
from w2s_ray.execute.trial import check_own, state_of, trial_function
from w2s_ray.fits.failures import OUTSIDE
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.fits.retry import RunningElsewhere
from w2s_ray.plan import PlannedStudy
from w2s_ray.scheduling.requests import RequestId
from w2s_ray.search.proposals import propose
from w2s_ray.search.pruning import is_promising
from w2s_ray.search.trials import Trial, best, front, visible
from w2s_ray.store import Record

RESTARTS = 3
"""How often a trial whose process died is restarted."""


@ray.remote(num_cpus=0, max_retries=0)
def study_task(study: PlannedStudy, context: RunContext, at_once: int) -> Record | RunningElsewhere:
    """`run_study` as a Ray task, unless another process runs the study."""
    with context.lease(study.id) as leased:
        if not leased:
            return RunningElsewhere()
        context.set_run_state(study, "running")
        done = context.open_store().find(study.id)
        return done or run_study(study, context=context, at_once=at_once)


def run_study(study: PlannedStudy, *, context: RunContext, at_once: int) -> Record:
    """Run the study's remaining trials and record the best one's settings.

    `at_once` limits the concurrent trials, besides the recipe's own limit. Trials that the store
    holds already are not run again.

    Returns:
        The study's record: done and written, with the best trial's settings in `about`; or failed
        and unwritten, where no trial was complete.
    """
    started = time.time()
    state = StudyState(study, context)
    state.publish_trial_counts()
    next_trial(state)  # it ends repeats of ended trials, which may be all that remain
    if state.remaining:
        _tune(study, state, context=context, at_once=at_once)
    trials, recipe = state.trials, study.recipe
    if state.failure is not None:
        cause, reason = state.failure
        return outcome_record(study, status="failed", cause=cause, reason=reason, started=started)
    assert not state.remaining, f"study {study.id} ended with {state.remaining} trials left"
    winner = best(recipe, trials)
    if winner is None:
        reasons = sorted({t.reason or t.state for t in trials.values()})
        reason = f"no trial of {len(trials)} was complete: {'; '.join(reasons)[:500]}"
        return outcome_record(study, status="failed", cause="error", reason=reason, started=started)
    states = [t.state for t in trials.values()]
    about: dict[str, Any] = {"settings": dict(winner.settings), "winner": winner.number}
    if recipe.cost:
        about["front"] = [
            {"number": t.number, "settings": dict(t.settings), "value": t.value, "cost": t.cost}
            for t in front(recipe, trials)
        ]
    record = outcome_record(
        study,
        status="done",
        started=started,
        about=about,
        summary={
            "value": winner.value,
            "cost": winner.cost,
            "trials": len(states),
            **{each: states.count(each) for each in ("complete", "pruned", "failed")},
            "repeats": sum(trial.repeat_of is not None for trial in trials.values()),
        },
        earlier=state.store.attempts(study.id),
    )
    state.store.write_run(record, metrics=None, predictions=None, weights=None)
    return record


def next_trial(state: StudyState) -> ProposedTrial | None:
    """The next trial that has to train; None where there is none, or none yet.

    Trials equal to an earlier one are skipped: they get its result.
    """
    recipe = state.study.recipe
    while state.failure is None and (number := state.next_number()) is not None:
        seen = visible(recipe, state.trials, number=number)
        if seen is None:
            return None
        proposal = propose(recipe, number=number, seen=seen, first=state.first)
        trial = ProposedTrial(number, proposal, state.study.trial_fits(proposal.settings))
        earlier = state.equal_trial(trial)
        if earlier is None:
            return trial
        state.repeat(trial, of=earlier)
    return None


class ProposalSearcher(Searcher):
    """Adapter: Tune gets the next trial from it and reports ended ones to it."""

    def __init__(self, state: StudyState) -> None:
        super().__init__(
            metric="objective", mode="max" if state.study.recipe.metric == "accuracy" else "min"
        )
        self.state = state

    def suggest(self, trial_id: str) -> Any:
        state = self.state
        trial = next_trial(state)
        if trial is None:  # a running trial may be lost, and is then proposed again
            waits = state.proposed and state.failure is None
            return None if waits else Searcher.FINISHED
        state.proposed[trial_id] = trial
        return {"number": trial.number, "settings": trial.proposal.settings}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        state, result = self.state, result or {}
        check_own(state.study, result)
        trial = state.proposed.pop(trial_id)
        ended_as, cause, reason = state_of(result, error)
        number, fits = trial.number, dict.fromkeys(trial.fit_ids)
        requests = [RequestId(fit, state.study.id, number) for fit in fits]
        for request in requests:
            state.context.progress_tracker.clear_state.remote(request.run_id, request.requester)
        if cause in OUTSIDE:  # its requests stay: it is proposed again and sends the same ones
            state.lose(number, cause, reason)
            return
        continuing = state.context.cancel_requests(requests)
        if ended_as == "pruned":
            state.record_pruned((fit for fit in trial.fits if fit.id not in continuing), number)
        state.end(
            Trial(
                number=number,
                settings=trial.proposal.settings,
                attrs=trial.proposal.attrs,
                state=ended_as,
                value=result.get("objective") if ended_as == "complete" else None,
                cost=result.get("cost"),
                intermediate=tuple(result.get("curve") or state.curve(number)),
                fits=trial.fit_ids,
                cause=cause,
                reason=reason,
                again=cause == "error",
            )
        )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a study resumes from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a study resumes from the store."""


class RungScheduler(FIFOScheduler):
    """Adapter: Tune gets the decision from it whether a trial is pruned."""

    def __init__(self, state: StudyState) -> None:
        super().__init__()
        self.state = state

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        check_own(self.state.study, result)
        recipe = self.state.study.recipe
        if result["ended"]:
            return self.CONTINUE
        number = self.state.proposed[trial.trial_id].number
        curve = self.state.observe(number, result["position"], result["objective"])
        seen = visible(recipe, self.state.trials, number=number) or []
        keep = is_promising(recipe, curve, seen=seen, evaluations=result["of_positions"])
        return self.CONTINUE if keep else self.STOP


def _trial_resources() -> tune.PlacementGroupFactory:
    """The resources of a trial's process: almost none, on this node.

    A bundle may not be empty, and a fit could lack any share of a CPU that a trial reserves. On
    another node the process would keep an idle node alive, or be lost with a node.
    """
    this_node = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    return tune.PlacementGroupFactory([{"memory": 2.0**20}], bundle_label_selector=[this_node])


def _tune(study: PlannedStudy, state: StudyState, *, context: RunContext, at_once: int) -> None:
    """Run the remaining trials."""
    scratch = tempfile.mkdtemp(prefix="w2s-tune-")
    try:
        tune.Tuner(
            tune.with_resources(trial_function(study, context), _trial_resources()),
            tune_config=tune.TuneConfig(
                search_alg=ProposalSearcher(state),
                scheduler=RungScheduler(state),
                num_samples=-1,  # until the searcher returns FINISHED
                max_concurrent_trials=max(1, min(at_once, study.recipe.concurrent_trials)),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=study.id,
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
