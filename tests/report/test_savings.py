"""Savings against sums by hand, over records and trials as a store keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store.builders import a_cell, a_manifest, a_record
from w2s_ray.config import FitRecipe, LoraTuning, StudyRecipe
from w2s_ray.report import open_results, savings
from w2s_ray.report.savings import Savings
from w2s_ray.store import Store

STOPPING = {"patience": 2}


def a_fit(model: str = "sha256:a", **training: Any) -> FitRecipe:
    return FitRecipe.model_validate(
        {
            "split": "split-1",
            "train_on": "student_half",
            "model": model,
            "labels": "ground_truth",
            "training": {"epochs": 2, "evaluations_per_epoch": 4, **training},
            "loss": {"kind": "xent"},
            "seed": 0,
        }
    )


def done(store: Store, recipe: FitRecipe, *, spent: float, planned: float, **more: Any) -> str:
    id_ = more.pop("id", recipe.run_id)
    stored = {**recipe.model_dump(mode="json"), **more}
    summary = {"training_flops": spent, "planned_training_flops": planned}
    store.write_run(a_record(id=id_, recipe=stored, summary=summary))
    return id_


def a_study(store: Store, *cells: FitRecipe, scheduler: str = "asha") -> tuple[str, StudyRecipe]:
    recipe = StudyRecipe.model_validate(
        {
            "cells": [cell.model_dump() for cell in cells],
            "space": {"training.lr": {"choice": [1e-3, 1e-4, 1e-5, 1e-6]}},
            "trials": 4,
            "objective": "transfer",
            "metric": "accuracy",
            "sampler": "random",
            "scheduler": scheduler,
            "grace_evaluations": 1,
            "reduction_factor": 2,
            "concurrent_trials": 1,
            "seed": 0,
        }
    )
    stored = recipe.model_dump(mode="json")
    store.write_run(a_record(id=recipe.run_id, kind="study", recipe=stored, summary={}))
    return recipe.run_id, recipe


class Study:
    """A study in a store, to which trials are added."""

    def __init__(self, store: Store, *cells: FitRecipe, **more: Any) -> None:
        self.store = store
        self.id, self.recipe = a_study(store, *cells, **more)
        self.number = 0

    def add(self, lr: float, state: str, *, evaluated: int = 0, **more: Any) -> list[FitRecipe]:
        settings = {"training.lr": lr, **more}
        fits = self.recipe.trial_fits(settings)
        data = {"settings": settings, "state": state, "intermediate": [0.5] * evaluated}
        data["fits"] = [fit.run_id for fit in fits]
        self.store.write_trial(self.id, self.number, data)
        self.number += 1
        return list(fits)


def found(store: Store, **cell: Any) -> Savings:
    store.manifests.write(a_manifest(a_cell(**cell)))
    return savings(store, sweep="sweep")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path)


def test_savings_of_early_stopping_are_weighted_by_flops(store):
    cell = a_cell()
    done(store, a_fit(), id=cell.student, spent=30, planned=100, early_stopping=STOPPING)
    done(store, a_fit(), id=cell.ceiling, spent=900, planned=900, early_stopping=STOPPING)
    done(store, a_fit(), id=cell.supervisor, spent=5, planned=5)
    saved = found(store)
    assert saved.early_stopping == pytest.approx(1 - 930 / 1000)
    assert saved.stopping_fits == 2
    assert (saved.pruning, saved.pruning_studies) == (None, 0)
    assert saved.lines() == ["early stopping saved 7 % of training in 2 fits"]


def test_a_pruned_trial_counts_by_its_evaluations_and_a_finished_fits_flops(store):
    study = Study(store, a_fit())
    (whole,) = study.add(1e-3, "complete", evaluated=8)
    done(store, whole, spent=800, planned=800)
    study.add(1e-4, "pruned", evaluated=2)
    study.add(1e-5, "pruned", evaluated=6)
    study.add(1e-6, "failed", evaluated=1)
    saved = found(store, study=study.id)
    # Of 800 each: 200 and 600 spent, 600 and 200 saved.
    assert saved.pruning == pytest.approx(800 / (800 + 800 + 800))
    assert (saved.pruned_trials, saved.trials, saved.unpriced_trials) == (2, 4, 0)
    assert saved.lines() == [
        "pruning saved up to 33 % of training in 1 study (estimated: 2 of 4 trials pruned, "
        "each counted at its whole schedule)"
    ]


def test_the_price_of_a_trial_depends_on_its_epochs(store):
    study = Study(store, a_fit())
    (whole,) = study.add(1e-3, "complete", evaluated=8)
    done(store, whole, spent=800, planned=800)
    study.add(1e-4, "pruned", evaluated=4, **{"training.epochs": 4})
    # 1,600 planned over 16 evaluations, 4 of them made.
    assert found(store, study=study.id).pruning == pytest.approx(1200 / (800 + 1600))


def test_the_fits_of_one_trial_are_trained_one_after_the_other(store):
    study = Study(store, a_fit("sha256:a"), a_fit("sha256:b"))
    for fit, price in zip(study.add(1e-3, "complete", evaluated=16), (800, 8000), strict=True):
        done(store, fit, spent=price, planned=price)
    first, _ = study.add(1e-4, "pruned", evaluated=10)
    done(store, first, spent=800, planned=800)
    # The second fit made 2 of its 8 evaluations.
    assert found(store, study=study.id).pruning == pytest.approx(6000 / (8800 + 800 + 8000))


def test_a_fit_of_two_trials_is_counted_once(store):
    study = Study(store, a_fit())
    (whole,) = study.add(1e-3, "complete", evaluated=8)
    study.add(1e-3, "complete", evaluated=8)
    done(store, whole, spent=800, planned=800)
    study.add(1e-4, "pruned", evaluated=4)
    assert found(store, study=study.id).pruning == pytest.approx(400 / 1600)


def test_a_trial_without_a_price_is_left_out_and_counted(store):
    study = Study(store, a_fit())
    (whole,) = study.add(1e-3, "complete", evaluated=8)
    done(store, whole, spent=800, planned=800)
    study.add(1e-4, "pruned", evaluated=4)
    lora = LoraTuning().model_dump()
    study.add(1e-5, "pruned", evaluated=4, **{"training.tuning": lora})
    saved = found(store, study=study.id)
    assert saved.pruning == pytest.approx(400 / 1600)
    assert saved.unpriced_trials == 1
    assert saved.lines()[0].endswith("whole schedule; 1 left out)")


def test_studies_without_pruning_and_records_without_figures_are_ignored(store):
    study = Study(store, a_fit(), scheduler="none")
    (whole,) = study.add(1e-3, "complete", evaluated=8)
    done(store, whole, spent=800, planned=800)
    cell = a_cell(study=study.id)
    stopping = {**a_fit().model_dump(mode="json"), "early_stopping": STOPPING}
    store.write_run(a_record(id=cell.student, recipe=stopping, summary={"tokens": 3}))
    saved = found(store, study=study.id)
    assert (saved.early_stopping, saved.stopping_fits, saved.pruning) == (None, 0, None)
    assert saved.lines() == []


def test_early_stopping_counts_the_trials_fits_too(store):
    study = Study(store, a_fit(), scheduler="none")
    (whole,) = study.add(1e-3, "complete", evaluated=8)
    done(store, whole, spent=600, planned=800, early_stopping=STOPPING)
    assert found(store, study=study.id).early_stopping == pytest.approx(0.25)


def test_savings_are_available_as_a_frame(store):
    study = Study(store, a_fit())
    (whole,) = study.add(1e-3, "complete", evaluated=8)
    done(store, whole, spent=800, planned=800)
    study.add(1e-4, "pruned", evaluated=4)
    expected = found(store, study=study.id)
    frame = open_results(store.uri).savings()
    assert frame["sweep"].tolist() == ["sweep"]
    assert frame["pruning"].tolist() == [expected.pruning]
    assert frame["early_stopping"].isna().all()
    assert list(frame.columns) == list(Savings.__dataclass_fields__)
