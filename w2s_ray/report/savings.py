"""The training that early stopping and pruning saved, in FLOPs.

Owns the two shares and their denominators. The savings of early stopping are counted. The savings
of pruning are an upper estimate: without pruning, a trial would have trained to its schedule's end,
at the FLOPs of a finished fit of the same model and data; its evaluations show how far it came.
Accuracies are not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from w2s_ray.report.columns import column
from w2s_ray.report.table_cache import SweepCache
from w2s_ray.store import Cell, Record, Store

if TYPE_CHECKING:
    from w2s_ray.config import FitRecipe

SPENT, PLANNED = "training_flops", "planned_training_flops"
"""Figures of a fit's summary: FLOPs of its training, and of its whole schedule."""


@dataclass(frozen=True)
class Savings:
    """The savings of one sweep, trials of its finished studies included."""

    sweep: str = column("the sweep's name")
    early_stopping: float | None = column(
        "share of training that early stopping saved in fits with early stopping; null without any"
    )
    stopping_fits: int = column("finished fits with early stopping")
    pruning: float | None = column(
        "upper estimate of the share of training that pruning saved in studies with pruning; null "
        "without any"
    )
    pruning_studies: int = column("finished studies with pruning")
    pruned_trials: int = column("pruned trials of these studies")
    trials: int = column("all trials of these studies")
    unpriced_trials: int = column(
        "trials left out of `pruning` because no finished fit has the same model and data"
    )

    def lines(self) -> list[str]:
        """A line of text for early stopping and for pruning, if the sweep uses them."""
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
    """The savings of a sweep's latest manifest.

    Raises:
        StoreError: no such sweep.
    """
    return savings_of({sweep: store.manifests.latest(sweep).cells}, store)[0]


def savings_of(cells: Mapping[str, Sequence[Cell]], store: Store) -> list[Savings]:
    """The savings of several sweeps; `cells`: sweep -> its cells."""
    store = store.snapshot()
    cache, found = SweepCache(store, "savings", shape=(Savings,)), []
    for name, of_sweep in cells.items():
        saved = cache.find(of_sweep, lambda values, name=name: Savings(sweep=name, **values))
        if saved is None:
            values, runs = _compute(of_sweep, store)
            cache.add(of_sweep, values, runs=runs)
            saved = Savings(sweep=name, **values)
        found.append(saved)
    cache.save()
    return found


def _compute(cells: Sequence[Cell], store: Store) -> tuple[dict[str, Any], set[str]]:
    """The values of `Savings` for some cells, and the runs that they are computed from."""
    study_ids = {study for cell in cells for study in cell.studies}
    studies = list(store.records(study_ids))
    trials = store.trials_of(record.id for record in studies)
    fit_ids = {run for cell in cells for run in cell.runs}
    fit_ids |= {fit for of_study in trials.values() for trial in of_study for fit in trial["fits"]}
    fits = {record.id: record for record in store.latest(fit_ids)}
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
    values = {
        "early_stopping": _share_saved(stopping),
        "stopping_fits": len(stopping),
        "pruning": saved / (spent + saved) if spent + saved else None,
        "pruning_studies": len(pruning),
        "pruned_trials": sum(trial["state"] == "pruned" for trial in of_pruning),
        "trials": len(of_pruning),
        "unpriced_trials": len(priced) - len(known),
    }
    return values, fit_ids | study_ids


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
    """FLOPs of each complete or pruned trial; None for a trial without a price.

    A fit that several trials share is counted once.
    """
    from w2s_ray.config import StudyRecipe

    recipe = StudyRecipe.model_validate(study.recipe)
    counted: set[str] = set()
    for trial in trials:
        if trial["state"] in ("complete", "pruned"):
            all_fits = {fit.run_id: fit for fit in recipe.trial_fits(trial["settings"])}
            new = {id_: fit for id_, fit in all_fits.items() if id_ not in counted}
            yield _of_trial(trial, new, fits=fits, prices=prices)
            counted.update(new)


def _of_trial(
    trial: Mapping[str, Any],
    recipes: Mapping[str, FitRecipe],
    *,
    fits: Mapping[str, Record],
    prices: Mapping[str, float],
) -> _Cost | None:
    """The FLOPs of a trial, and of the rest of the schedules of its unfinished fits.

    `intermediate` has one value per evaluation, one fit after the other.
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
    """The values that determine the FLOPs of an epoch."""
    training = recipe["training"]
    data = [recipe["split"], recipe["train_on"], recipe["model"]]
    data += [recipe.get("train_slice"), recipe.get("slices"), recipe.get("one_row_in")]
    data += [training["max_tokens"], training["tuning"], training.get("pair_model")]
    return json.dumps(data, sort_keys=True)


def _per_epoch(record: Record) -> float:
    return float(record.summary[PLANNED] or 0) / record.recipe["training"]["epochs"]


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
