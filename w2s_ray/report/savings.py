"""How much training early stopping and pruning saved, in FLOPs.

Owns the two shares and what they are shares of. What early stopping saved is counted; what pruning
saved is an estimate, and at most that: a pruned trial is taken to have gone to its schedule's end
otherwise, at the price of a finished fit of the same model and data, and how far it came is known
by evaluations. It knows records and trials, and nothing of accuracies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from w2s_ray.report.columns import column
from w2s_ray.report.table_cache import Answers
from w2s_ray.store import Cell, Record, Store

if TYPE_CHECKING:
    from w2s_ray.config import FitRecipe

SPENT, PLANNED = "training_flops", "planned_training_flops"
"""Figures of a fit's summary: of its training, and of its whole schedule."""


@dataclass(frozen=True)
class Savings:
    """What one sweep saved, trials of its finished studies included."""

    sweep: str = column("the sweep's name")
    early_stopping: float | None = column(
        "share of training that early stopping saved, of the fits that have it; null without any"
    )
    stopping_fits: int = column("finished fits with early stopping")
    pruning: float | None = column(
        "largest share of training that pruning may have saved, of the studies that have it; null "
        "without any"
    )
    pruning_studies: int = column("finished studies with pruning")
    pruned_trials: int = column("pruned trials of these studies")
    trials: int = column("all trials of these studies")
    unpriced_trials: int = column(
        "trials left out of `pruning`, since no finished fit has the same model and data"
    )

    def lines(self) -> list[str]:
        """A line of text for each of the two that was in use."""
        lines = []
        if self.early_stopping is not None:
            lines.append(
                f"early stopping saved {100 * self.early_stopping:.0f} % of training in "
                f"{_count(self.stopping_fits, 'fit')}"
            )
        if self.pruning is not None:
            left_out = f"; {self.unpriced_trials} left out" if self.unpriced_trials else ""
            lines.append(
                f"pruning saved up to {100 * self.pruning:.0f} % of training in "
                f"{_count(self.pruning_studies, 'study', 'studies')} (estimated: "
                f"{self.pruned_trials} of {self.trials} trials pruned, each counted at its whole "
                f"schedule{left_out})"
            )
        return lines


def savings(store: Store, *, sweep: str) -> Savings:
    """What a sweep's latest manifest saved.

    Raises:
        StoreError: no such sweep.
    """
    return savings_of({sweep: store.manifests.latest(sweep).cells}, store)[0]


def savings_of(cells: Mapping[str, Sequence[Cell]], store: Store) -> list[Savings]:
    """The same of some sweeps' cells, by the sweep's name."""
    store = store.snapshot()
    answers, found = Answers(store, "savings", shape=(Savings,)), []
    for name, of_sweep in cells.items():
        made = answers.find(of_sweep, lambda told, name=name: Savings(sweep=name, **told))
        if made is None:
            counted, runs = _counted(of_sweep, store)
            answers.add(of_sweep, counted, runs=runs)
            made = Savings(sweep=name, **counted)
        found.append(made)
    answers.save()
    return found


def _counted(cells: Sequence[Cell], store: Store) -> tuple[dict[str, Any], set[str]]:
    """What some cells saved, and the runs that tell so."""
    asked = {cell.study for cell in cells if cell.study}
    studies = list(store.records(asked))
    trials = store.trials_of(record.id for record in studies)
    wanted = {id_ for cell in cells for id_ in (cell.supervisor, cell.ceiling, cell.student) if id_}
    wanted |= {fit for of_study in trials.values() for trial in of_study for fit in trial["fits"]}
    fits = {record.id: record for record in store.latest(wanted)}
    done = [record for record in fits.values() if _is_counted(record)]
    stopping = [record for record in done if record.recipe.get("early_stopping")]
    prices = {_key(record.recipe): _per_epoch(record) for record in done}
    pruning = [record for record in studies if record.recipe["scheduler"] != "none"]
    priced = [
        trial
        for study in pruning
        for trial in _priced(study, trials[study.id], fits=fits, prices=prices)
    ]
    known = [trial for trial in priced if trial is not None]
    spent, saved = sum(trial.spent for trial in known), sum(trial.saved for trial in known)
    of_pruning = [trial for study in pruning for trial in trials[study.id]]
    counted = {
        "early_stopping": _share_saved(stopping),
        "stopping_fits": len(stopping),
        "pruning": saved / (spent + saved) if spent + saved else None,
        "pruning_studies": len(pruning),
        "pruned_trials": sum(trial["state"] == "pruned" for trial in of_pruning),
        "trials": len(of_pruning),
        "unpriced_trials": len(priced) - len(known),
    }
    return counted, wanted | asked


@dataclass(frozen=True)
class _Cost:
    spent: float
    saved: float


def _priced(
    study: Record,
    trials: Sequence[Mapping[str, Any]],
    *,
    fits: Mapping[str, Record],
    prices: Mapping[str, float],
) -> Iterator[_Cost | None]:
    """FLOPs of each trial that ended by itself or was pruned; None for a trial without a price.

    A fit that several trials share is counted once.
    """
    from w2s_ray.config import StudyRecipe

    recipe = StudyRecipe.model_validate(study.recipe)
    counted: set[str] = set()
    for trial in trials:
        if trial["state"] in ("complete", "pruned"):
            made = {fit.run_id: fit for fit in recipe.trial_fits(trial["settings"])}
            new = {id_: fit for id_, fit in made.items() if id_ not in counted}
            yield _of_trial(trial, new, fits=fits, prices=prices)
            counted.update(new)


def _of_trial(
    trial: Mapping[str, Any],
    recipes: Mapping[str, FitRecipe],
    *,
    fits: Mapping[str, Record],
    prices: Mapping[str, float],
) -> _Cost | None:
    """What a trial took, and what the rest of its unfinished fits' schedules would have.

    Its curve holds the evaluations of its fits, one fit after the other.
    """
    evaluated, spent, saved = len(trial["intermediate"]), 0.0, 0.0
    for id_, recipe in recipes.items():
        training, record = recipe.training, fits.get(id_)
        evaluations = training.epochs * training.evaluations_per_epoch
        reached, evaluated = min(evaluated, evaluations), max(0, evaluated - evaluations)
        if record is not None and _is_counted(record):
            spent += float(record.summary[SPENT] or 0)
            continue
        price = prices.get(_key(recipe.model_dump(mode="json")))
        if price is None or trial["state"] == "complete":
            return None
        whole = price * training.epochs
        spent += whole * reached / evaluations
        saved += whole * (1 - reached / evaluations)
    return _Cost(spent, saved)


def _is_counted(record: Record) -> bool:
    return record.status == "done" and all(record.summary.get(name) for name in (SPENT, PLANNED))


def _share_saved(records: Sequence[Record]) -> float | None:
    planned = sum(float(record.summary[PLANNED] or 0) for record in records)
    spent = sum(float(record.summary[SPENT] or 0) for record in records)
    return 1 - spent / planned if planned else None


def _key(recipe: Mapping[str, Any]) -> str:
    """What an epoch's FLOPs follow from."""
    training = recipe["training"]
    told = [recipe["split"], recipe["train_on"], recipe["model"], recipe.get("train_slice")]
    return json.dumps([*told, training["max_tokens"], training["tuning"]], sort_keys=True)


def _per_epoch(record: Record) -> float:
    return float(record.summary[PLANNED] or 0) / record.recipe["training"]["epochs"]


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
