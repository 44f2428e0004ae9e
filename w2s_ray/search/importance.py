"""How much each setting of a study matters, by Optuna's own evaluators.

Owns the choice of the evaluators and the number of trials that they need. The study is rebuilt from
its trials in memory; nothing is trained or stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from w2s_ray.config import StudyRecipe, branches
from w2s_ray.search.proposals import rebuilt
from w2s_ray.search.trials import Trial, objectives

PED_ANOVA, FANOVA = "PED-ANOVA", "fANOVA"
FEWEST = 4
"""Smallest number of complete trials."""


def importances(recipe: StudyRecipe, trials: Sequence[Trial]) -> dict[str, dict[str, float]]:
    """Evaluator -> setting -> its share of the importance of all settings, from complete trials.

    PED-ANOVA (Watanabe et al. 2023): for being among the best tenth of the trials. fANOVA (Hutter
    et al. 2014): for the variance of the objective; it leaves out settings that only some trials
    have. Trials whose settings are outside the space do not count. There is none from fewer than
    `FEWEST` trials, or where all objectives are equal. Of two objectives it is the first.
    """
    from optuna.importance import (
        FanovaImportanceEvaluator,
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    recipe = recipe.model_copy(update={"cost": False})
    ways = branches(recipe.space)
    known = [trial for trial in trials if any(way.holds(trial.settings) for way in ways)]
    values = [found[0] for trial in known if (found := objectives(recipe, trial)) is not None]
    if len(values) < FEWEST or len(set(values)) < 2:
        return {}
    study = rebuilt(recipe, known)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PED-ANOVA is marked experimental
        for name, evaluator in (
            (PED_ANOVA, PedAnovaImportanceEvaluator()),
            (FANOVA, FanovaImportanceEvaluator(seed=0)),
        ):
            found[name] = get_param_importances(study, evaluator=evaluator)
    return {name: shares for name, shares in found.items() if shares}
