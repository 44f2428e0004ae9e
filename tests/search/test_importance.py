"""Importances of settings: the setting that decides the objective has most, by both evaluators."""

from __future__ import annotations

import pytest

from tests.search.recipes import KINDS, run, study
from w2s_ray.search.importance import FANOVA, PED_ANOVA, importances
from w2s_ray.search.trials import Trial


def test_the_setting_that_decides_the_objective_has_most_importance():
    recipe = study(trials=30, sampler="random", scheduler="none")
    found = importances(recipe, list(run(recipe).values()))  # the objective depends on alpha alone
    assert found.keys() == {PED_ANOVA, FANOVA}
    for shares in found.values():
        assert max(shares, key=lambda name: shares[name]) == "loss.alpha"
        assert sum(shares.values()) == pytest.approx(1)


def test_settings_of_single_kinds_are_left_to_ped_anova():
    recipe = study(trials=30, sampler="random", scheduler="none", space=KINDS)
    found = importances(recipe, list(run(recipe).values()))
    assert "loss.kind" in found[FANOVA]
    assert "loss[confidence].alpha" in found[PED_ANOVA].keys() - found[FANOVA].keys()


def test_two_objectives_give_the_importances_of_the_first():
    recipe = study(trials=30, sampler="random", cost=True)
    found = importances(recipe, list(run(recipe).values()))
    assert max(found[FANOVA], key=lambda name: found[FANOVA][name]) == "loss.alpha"


@pytest.mark.parametrize("values", [(0.5, 0.6, 0.7), (0.5,) * 6, (0.5, 0.6, 0.7, float("nan"))])
def test_few_trials_or_equal_objectives_have_none(values):
    settings = {
        "loss.alpha": 0.5,
        "training.lr": 1e-4,
        "training.epochs": 1,
        "early_stopping.patience": 1,
    }
    trials = [Trial(n, settings, "complete", value=value) for n, value in enumerate(values)]
    assert importances(study(), trials) == {}
