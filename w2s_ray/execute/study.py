"""A study on Ray Tune: which trial comes next, which is pruned, what it found.

Owns the bridge between Tune and our own proposals and pruning. Tune runs a watcher for each trial,
which holds nothing, since the trial's fits run on hosts. Everything that decides a study's outcome
is in `proposals` and `pruning`, and every ended trial is in the store, from which a stopped study
goes on. Tune's own state is thrown away.
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
from w2s_ray.execute.study_state import Proposed, StudyState
from w2s_ray.execute.trial import check_own, state_of, trial_function
from w2s_ray.fits.failures import OUTSIDE
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.fits.retry import RunningElsewhere
from w2s_ray.plan import PlannedStudy
from w2s_ray.scheduling.requests import RequestId
from w2s_ray.search.proposals import propose
from w2s_ray.search.pruning import goes_on
from w2s_ray.search.trials import Trial, best, front, visible
from w2s_ray.store import Record

RESTARTS = 3
"""How often a trial whose watcher died is watched again."""


@ray.remote(num_cpus=0, max_retries=0)
def study_task(study: PlannedStudy, context: RunContext, at_once: int) -> Record | RunningElsewhere:
    """`run_study` as a Ray task, unless somebody else is at work on the study."""
    with context.claimed(study.id) as claimed:
        if not claimed:
            return RunningElsewhere()
        context.set_run_state(study, "running")
        known = context.open_store().find(study.id)
        return known or run_study(study, context=context, at_once=at_once)


def run_study(study: PlannedStudy, *, context: RunContext, at_once: int) -> Record:
    """Spend the rest of the study's budget and record the winner's settings.

    `at_once` bounds the trials at once, besides the recipe's own bound. Trials that the store holds
    already are not run again.

    Returns:
        The study's record: done and written, with the winner's settings in `about`; or failed and
        unwritten, where no trial was complete.
    """
    started = time.time()
    memory = StudyState(study, context)
    memory.publish_trial_counts()
    upcoming(memory)  # Tune has nothing to do where all that remain repeat ended trials
    if memory.remaining:
        _tune(study, memory, context=context, at_once=at_once)
    trials, recipe = memory.trials, study.recipe
    if memory.failure is not None:
        cause, why = memory.failure
        return outcome_record(study, status="failed", cause=cause, reason=why, started=started)
    assert not memory.remaining, f"study {study.id} ended with trials to go"
    winner = best(recipe, trials)
    if winner is None:
        reasons = sorted({t.reason or t.state for t in trials.values()})
        why = f"no trial of {len(trials)} was complete: {'; '.join(reasons)[:500]}"
        return outcome_record(study, status="failed", cause="error", reason=why, started=started)
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
            **{state: states.count(state) for state in ("complete", "pruned", "failed")},
            "repeats": sum(trial.repeat_of is not None for trial in trials.values()),
        },
        earlier=memory.store.attempts(study.id),
    )
    memory.store.write_run(record, metrics=None, predictions=None, weights=None)
    return record


def upcoming(memory: StudyState) -> Proposed | None:
    """The next trial that has to train; None where there is none, or none yet.

    Trials equal to an earlier one are passed over: they take that one's result.
    """
    recipe = memory.study.recipe
    while memory.failure is None and (number := memory.next_number()) is not None:
        seen = visible(recipe, memory.trials, number=number)
        if seen is None:
            return None
        proposal = propose(recipe, number=number, seen=seen, first=memory.first)
        trial = Proposed(number, proposal, memory.study.trial_fits(proposal.settings))
        earlier = memory.equal_trial(trial)
        if earlier is None:
            return trial
        memory.repeat(trial, of=earlier)
    return None


class ProposalSearcher(Searcher):
    """Tune's way to ask for a trial and to tell how it ended."""

    def __init__(self, memory: StudyState) -> None:
        super().__init__(
            metric="objective", mode="max" if memory.study.recipe.metric == "accuracy" else "min"
        )
        self.memory = memory

    def suggest(self, trial_id: str) -> Any:
        memory = self.memory
        trial = upcoming(memory)
        if trial is None:  # a trial under way may be lost, and is then proposed again
            waits = memory.proposed and memory.failure is None
            return None if waits else Searcher.FINISHED
        memory.proposed[trial_id] = trial
        return {"number": trial.number, "settings": trial.proposal.settings}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        memory, result = self.memory, result or {}
        check_own(memory.study, result)
        trial = memory.proposed.pop(trial_id)
        state, cause, reason = state_of(result, error)
        number, fits = trial.number, dict.fromkeys(trial.fit_ids)
        requests = [RequestId(fit, memory.study.id, number) for fit in fits]
        for request in requests:
            memory.context.progress_tracker.clear_state.remote(request.run_id, request.requester)
        if cause in OUTSIDE:  # its requests stay: it is proposed again and makes the same ones
            memory.lost(number, cause, reason)
            return
        others = memory.context.cancel_requests(requests)
        if state == "pruned":
            memory.record_pruned((fit for fit in trial.fits if fit.id not in others), number)
        memory.ended(
            Trial(
                number=number,
                settings=trial.proposal.settings,
                attrs=trial.proposal.attrs,
                state=state,
                value=result.get("objective") if state == "complete" else None,
                cost=result.get("cost"),
                intermediate=tuple(result.get("curve") or memory.curve(number)),
                fits=trial.fit_ids,
                cause=cause,
                reason=reason,
                again=cause == "error",
            )
        )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is what a study resumes from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class RungScheduler(FIFOScheduler):
    """Tune's way to ask whether a trial goes on."""

    def __init__(self, memory: StudyState) -> None:
        super().__init__()
        self.memory = memory

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        check_own(self.memory.study, result)
        recipe = self.memory.study.recipe
        if result["ended"]:
            return self.CONTINUE
        number = self.memory.proposed[trial.trial_id].number
        curve = self.memory.observe(number, result["position"], result["objective"])
        seen = visible(recipe, self.memory.trials, number=number) or []
        keep = goes_on(recipe, curve, seen=seen, evaluations=result["of_positions"])
        return self.CONTINUE if keep else self.STOP


def _watching() -> tune.PlacementGroupFactory:
    """What the watch over a trial holds: next to nothing, on this node.

    A bundle may not be empty, and any share of a CPU could be the one that a fit lacks. On another
    node it would keep a machine from leaving, or be lost with one.
    """
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    return tune.PlacementGroupFactory([{"memory": 2.0**20}], bundle_label_selector=[here])


def _tune(study: PlannedStudy, memory: StudyState, *, context: RunContext, at_once: int) -> None:
    """Run the remaining trials."""
    scratch = tempfile.mkdtemp(prefix="w2s-tune-")
    try:
        tune.Tuner(
            tune.with_resources(trial_function(study, context), _watching()),
            tune_config=tune.TuneConfig(
                search_alg=ProposalSearcher(memory),
                scheduler=RungScheduler(memory),
                num_samples=-1,  # until the searcher says that it has finished
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
