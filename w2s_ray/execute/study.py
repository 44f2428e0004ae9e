"""A study on Ray Tune: which trial comes next, which is pruned, what it found.

Owns the bridge between Tune and our own proposals and pruning. Tune places and restarts trials;
everything that decides a study's outcome is in `proposals` and `pruning`, and every ended trial
is in the store, from which a stopped study goes on. Tune's own state is thrown away.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import ray
from ray import tune
from ray.train._internal.session import get_session
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from w2s_ray.execute.carrier import Carrier
from w2s_ray.execute.carry import carry
from w2s_ray.execute.outcome import outcome_record
from w2s_ray.execute.proposals import Proposal, propose
from w2s_ray.execute.pruning import goes_on
from w2s_ray.execute.trials import Trial, best, visible
from w2s_ray.plan import PlannedStudy
from w2s_ray.store import Record

LASTING = "NonFiniteLoss"
"""A failure that comes again with the same settings; others may have been the machine's."""
WATCHER = {"memory": 2.0**20}
"""What a trial holds that only watches over a worker group: a bundle may not be empty, and any
share of a CPU could be the share that its own group then lacks."""


def run_study(study: PlannedStudy, *, carrier: Carrier, slots: int) -> Record:
    """Spend the rest of the study's budget and record the winner's settings.

    `slots` bounds the trials at once, besides the recipe's own bound. Trials that the store holds
    already are not run again.

    Returns:
        The study's record: done, with the winner's settings in `about`; or failed, where no trial
        was complete.
    """
    started = time.time()
    store = carrier.open_store()
    memory = StudyMemory(study, carrier)
    memory.tell_board()
    if memory.remaining:
        _tune(study, memory, carrier=carrier, slots=slots)
    winner = best(study.recipe, memory.trials)
    if winner is None:
        reasons = sorted({t.reason or t.state for t in memory.trials.values()})
        why = f"no trial of {len(memory.trials)} was complete: {'; '.join(reasons)[:500]}"
        record = outcome_record(study, status="failed", reason=why, started=started)
        store.write_attempt(record)
        return record
    states = [t.state for t in memory.trials.values()]
    record = outcome_record(
        study,
        status="done",
        started=started,
        about={"settings": dict(winner.settings), "winner": winner.number},
        summary={
            "value": winner.value,
            "trials": len(states),
            "complete": states.count("complete"),
            "pruned": states.count("pruned"),
            "failed": states.count("failed"),
        },
    )
    store.write_run(record, metrics=None, predictions=None, weights=None)
    return record


class StudyMemory:
    """What a study knows: its ended trials, and the curves of those that run."""

    def __init__(self, study: PlannedStudy, carrier: Carrier) -> None:
        self.study = study
        self.carrier = carrier
        self.store = carrier.open_store()
        ended = [_trial(data) for data in self.store.trials(study.id)]
        self.trials = {trial.number: trial for trial in ended if not trial.again}
        self.curves: dict[int, dict[int, float]] = {}
        self.proposed: dict[str, tuple[int, Proposal]] = {}

    @property
    def remaining(self) -> int:
        """Trials still to be run."""
        return self.study.recipe.trials - len(self.trials)

    def next_number(self) -> int | None:
        """The first trial that has neither ended nor been proposed."""
        taken = {*self.trials, *(number for number, _ in self.proposed.values())}
        return next((n for n in range(self.study.recipe.trials) if n not in taken), None)

    def observe(self, number: int, result: Mapping[str, Any]) -> tuple[float, ...]:
        """Note a running trial's evaluation; its curve so far (a restarted trial tells again)."""
        self.curves.setdefault(number, {})[result["evaluations"]] = result["objective"]
        return self.curve(number)[: result["evaluations"]]

    def curve(self, number: int) -> tuple[float, ...]:
        """The objective of trial `number` at each of its evaluations so far."""
        return tuple(value for _, value in sorted(self.curves.get(number, {}).items()))

    def ended(self, trial: Trial) -> None:
        """Remember an ended trial, here and in the store."""
        self.trials[trial.number] = trial
        self.store.write_trial(self.study.id, trial.number, asdict(trial))
        self.tell_board()

    def tell_board(self) -> None:
        """Show how many trials have ended, and how."""
        if self.carrier.board is not None:
            states = Counter(trial.state for trial in self.trials.values())
            told = {**states, "to go": self.remaining}
            self.carrier.board.trial_ended.remote(self.study.id, told)


class ProposalSearcher(Searcher):
    """Tune's way to ask for a trial and to tell how it ended."""

    def __init__(self, memory: StudyMemory) -> None:
        super().__init__(
            metric="objective", mode="max" if memory.study.recipe.metric == "accuracy" else "min"
        )
        self.memory = memory

    def suggest(self, trial_id: str) -> Any:
        memory, recipe = self.memory, self.memory.study.recipe
        number = memory.next_number()
        if number is None:
            return Searcher.FINISHED
        seen = visible(recipe, memory.trials, number=number)
        if seen is None:
            return None
        proposal = propose(recipe, number=number, seen=seen)
        memory.proposed[trial_id] = (number, proposal)
        return {"number": number, "settings": proposal.settings}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        number, proposal = self.memory.proposed[trial_id]
        result = result or {}
        fits = self.memory.study.trial_fits(proposal.settings)
        for fit in fits:
            self.memory.carrier.say_ended(fit)
        state, reason = _state(result, error)
        if state == "pruned":
            for fit in fits:
                self.memory.store.write_attempt(
                    outcome_record(fit, status="pruned", reason=f"trial {number} was pruned")
                )
                self.memory.carrier.forget(fit.id)
        self.memory.ended(
            Trial(
                number=number,
                settings=proposal.settings,
                attrs=proposal.attrs,
                state=state,
                value=result.get("objective") if state == "complete" else None,
                intermediate=self.memory.curve(number),
                fits=tuple(fit.id for fit in fits),
                reason=reason,
                again=state == "failed" and not (reason or "").startswith(LASTING),
            )
        )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is what a study resumes from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class RungScheduler(FIFOScheduler):
    """Tune's way to ask whether a trial goes on."""

    def __init__(self, memory: StudyMemory) -> None:
        super().__init__()
        self.memory = memory

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        recipe = self.memory.study.recipe
        if "evaluations" not in result:  # a trial's end, or a checkpoint of a worker group
            return self.CONTINUE
        number, _ = self.memory.proposed[trial.trial_id]
        curve = self.memory.observe(number, result)
        seen = visible(recipe, self.memory.trials, number=number) or []
        keep = goes_on(recipe, curve, seen=seen, evaluations=result["of_evaluations"])
        return self.CONTINUE if keep else self.STOP


def _tune(study: PlannedStudy, memory: StudyMemory, *, carrier: Carrier, slots: int) -> None:
    """Run the remaining trials."""
    scratch = tempfile.mkdtemp(prefix="w2s-tune-")
    sharded = any(execution.engine == "deepspeed" for execution in study.executions)
    resources = WATCHER if sharded else _largest(carrier, study)
    retries = max(execution.retries for execution in study.executions)
    try:
        tune.Tuner(
            tune.with_resources(trial_function(study, carrier), resources),
            tune_config=tune.TuneConfig(
                search_alg=ProposalSearcher(memory),
                scheduler=RungScheduler(memory),
                num_samples=memory.remaining,
                max_concurrent_trials=max(1, min(slots, study.recipe.concurrent_trials)),
                reuse_actors=not sharded,  # a pruned trial may still hold its worker group
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=study.id,
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=retries),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def trial_function(study: PlannedStudy, carrier: Carrier) -> Any:
    """The function that Tune runs for each trial."""

    def trial(config: dict[str, Any]) -> None:
        fits = study.trial_fits(config["settings"])
        curve = len(fits) == 1
        values = []
        for fit in fits:
            record = carry(carrier, fit, objective=objective_key(study) if curve else None)
            if record.status != "done":
                tune.report({"objective": float("nan"), "ended": True, "reason": record.reason})
                return
            values.append(final_objective(study, record))
            _drain_reports()
        tune.report({"objective": sum(values) / len(values), "ended": True, "reason": None})

    return trial


def _drain_reports() -> None:
    """Wait until Tune has taken what a worker group reported.

    A trial's own report would fill the queue that its group's evaluations must pass through.
    """
    queue = getattr(get_session(), "_inter_actor_queue", None)
    if queue is None:
        return
    while not queue.empty():
        time.sleep(0.02)
    time.sleep(0.2)  # what was taken last is passed on


def _largest(carrier: Carrier, study: PlannedStudy) -> dict[str, float]:
    """What a trial holds: enough for each of its fits, which run one after the other."""
    held: dict[str, float] = {}
    for execution in study.executions:
        for resource, amount in carrier.resources(execution).items():
            held[resource] = max(amount, held.get(resource, 0.0))
    return held


def objective_key(study: PlannedStudy) -> str:
    """The one measurement that the study may look at, by its objective.

    `weak_validation` sees agreement or cross-entropy with the cell's own weak labels; `transfer`
    and `oracle` see ground truth, of other cells and of the cell itself.
    """
    if study.recipe.objective == "weak_validation":
        return "agreement" if study.recipe.metric == "accuracy" else "loss"
    return "accuracy" if study.recipe.metric == "accuracy" else "log_loss"


def final_objective(study: PlannedStudy, record: Record) -> float:
    """The objective of a finished trial's fit."""
    return float(record.summary[f"validation_{objective_key(study)}"])  # type: ignore[arg-type]


def _state(result: Mapping[str, Any], error: bool) -> tuple[Any, str | None]:
    if error or not result:
        return "failed", "its process died too often" if error else "it reported nothing"
    if not result.get("ended"):
        return "pruned", None
    value = result["objective"]
    if result.get("reason") or value != value:
        return "failed", result.get("reason") or "the objective is not a number"
    return "complete", None


def _trial(data: Mapping[str, Any]) -> Trial:
    known = {**data, "intermediate": tuple(data["intermediate"]), "fits": tuple(data["fits"])}
    return Trial(**known)


@ray.remote(num_cpus=0)
def study_task(study: PlannedStudy, carrier: Carrier, slots: int) -> Record:
    """`run_study` as a Ray task; it holds no CPU, since its trials do the work."""
    return run_study(study, carrier=carrier, slots=slots)
