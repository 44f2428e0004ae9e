"""A study's proposals are functions of its recipe and its trials, and of nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from tests.config.test_identity import STUDENT
from tests.search.recipes import GRID, KINDS, LISTS, PLAIN, run, study
from w2s_ray.config import Distribution, StudyRecipe, branches, grid_size
from w2s_ray.search.proposals import propose, rebuilt
from w2s_ray.search.trials import Trial, visible

STUDIES = {
    "tpe": study(space=KINDS),
    "random": study(space=KINDS, sampler="random"),
    "gp": study(space=KINDS, sampler="gp", trials=9),
    "grid": study(space=GRID, sampler="grid", trials=grid_size(GRID)),
    "nsga2": study(space=KINDS, sampler="nsga2", cost=True, trials=20),
    "tpe of two": study(space=KINDS, cost=True),
    "gp of two": study(space=PLAIN, sampler="gp", cost=True, trials=9),
    "tpe of plain settings": study(),
    "nsga2 of plain settings": study(sampler="nsga2", cost=True, trials=20),
    "tpe of lists": study(space=LISTS),
    "gp of lists": study(space=LISTS, sampler="gp", trials=9),
    "grid of lists": study(space=LISTS, sampler="grid", trials=grid_size(LISTS)),
    "nsga2 of lists": study(space=LISTS, sampler="nsga2", cost=True, trials=20),
}
every_study = pytest.mark.parametrize("recipe", STUDIES.values(), ids=STUDIES)


def holds(recipe: StudyRecipe, found: Trial) -> bool:
    return sum(way.holds(found.settings) for way in branches(recipe.space)) == 1


@every_study
def test_proposals_do_not_depend_on_the_order_of_endings(recipe):
    assert run(recipe, ends=min) == run(recipe, ends=max)


@settings(max_examples=12, deadline=None)
@given(name=st.sampled_from([n for n in STUDIES if "gp" not in n]), data=st.data())
def test_any_order_of_endings_gives_the_same_valid_trials(name, data):
    recipe = STUDIES[name]
    found = run(recipe, ends=lambda running: data.draw(st.sampled_from(running)))
    assert found == run(recipe)
    assert all(holds(recipe, trial) for trial in found.values())


@every_study
def test_every_proposal_lies_in_the_space_and_is_a_fit(recipe):
    for trial in run(recipe).values():
        assert holds(recipe, trial)
        (fit,) = recipe.trial_fits(dict(trial.settings))
        assert fit.loss.kind == trial.settings.get("loss.kind", STUDENT.loss.kind)
        if fit.loss.kind == "confidence" and "loss.prior" in trial.settings:
            assert fit.loss.prior == 0.4
            assert fit.loss.alpha == trial.settings["loss.alpha"]


names = st.sampled_from(["loss.alpha", "training.lr", "training.weight_decay"])
ranges = st.tuples(st.floats(1e-6, 0.4), st.floats(0.5, 0.9))
distributions = st.one_of(
    ranges.map(lambda r: Distribution(uniform=r)),
    ranges.map(lambda r: Distribution(loguniform=r)),
    st.lists(st.floats(0.01, 0.9), min_size=1, max_size=3, unique=True).map(
        lambda values: Distribution(choice=tuple(values))
    ),
)


@settings(max_examples=25, deadline=None)
@given(
    space=st.dictionaries(names, distributions, min_size=1),
    sampler=st.sampled_from(["tpe", "random", "nsga2"]),
    seed=st.integers(0, 2**31),
)
def test_proposals_lie_in_any_space(space, sampler, seed):
    recipe = study(space=space, sampler=sampler, seed=seed, trials=8, cost=sampler == "nsga2")
    assert all(holds(recipe, trial) for trial in run(recipe).values())


@every_study
def test_a_resumed_study_proposes_the_same_as_one_that_was_never_stopped(recipe):
    """Stopped at trial 7, with those that still ran lost, and read back from the store."""
    whole = run(recipe)
    kept = run(recipe, ends=max, stop_after=7)
    assert sorted(kept) != list(range(7))
    assert run(recipe, known=kept) == whole


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_study_stopped_at_trial_7_of_16_and_resumed_has_seen_each_ended_trial_once(sampler):
    recipe = study(sampler=sampler, trials=16, concurrent_trials=1)
    kept = run(recipe, stop_after=7)
    resumed = run(recipe, known=kept)
    assert sorted(resumed) == list(range(16))
    assert resumed == run(recipe)
    for number in (7, 15):
        seen = visible(recipe, resumed, number=number)
        optuna_study = rebuilt(recipe, seen).trials
        assert [t.params for t in optuna_study] == [
            dict(resumed[n].settings) for n in range(number)
        ]
        assert [t.number for t in optuna_study] == list(range(number))


def test_optuna_gets_trials_with_the_state_in_which_they_ended():
    recipe = study()
    tried = propose(recipe, number=0, seen=[]).settings
    optuna_study = rebuilt(
        recipe,
        [
            Trial(0, tried, "failed", reason="loss is nan"),
            Trial(1, tried, "pruned", intermediate=(0.5, 0.6)),
            Trial(2, tried, "complete", value=math.nan),
            Trial(3, tried, "complete", value=0.8, intermediate=(0.7, 0.8)),
        ],
    )
    states = (TrialState.FAIL, TrialState.PRUNED, TrialState.FAIL, TrialState.COMPLETE)
    assert tuple(trial.state for trial in optuna_study.trials) == states
    assert optuna_study.trials[1].intermediate_values == {0: 0.5, 1: 0.6}
    assert optuna_study.trials[3].intermediate_values == {0: 0.7, 1: 0.8}
    assert optuna_study.best_trial.number == 3
    assert optuna_study.directions[0].name == "MAXIMIZE"
    assert rebuilt(study(metric="log_loss"), []).directions[0].name == "MINIMIZE"


def test_optuna_gets_both_objectives_and_no_trial_without_a_cost():
    recipe = study(cost=True)
    tried = propose(recipe, number=0, seen=[]).settings
    optuna_study = rebuilt(
        recipe,
        [
            Trial(0, tried, "complete", value=0.8, cost=2e9),
            Trial(1, tried, "complete", value=0.9),
            Trial(2, tried, "complete", value=0.7, cost=1e9),
            Trial(3, tried, "complete", value=0.7, cost=3e9),
        ],
    )
    assert optuna_study.trials[0].values == [0.8, 2e9]
    assert optuna_study.trials[1].state is TrialState.FAIL
    assert [trial.number for trial in optuna_study.best_trials] == [0, 2]


def test_each_kind_has_parameters_of_its_own():
    """Two kinds' `alpha` mean different things; what a kind fixes is nothing to sample."""
    recipe = study(space=KINDS)
    confidence = {
        "loss.kind": "confidence",
        "loss.alpha": 0.3,
        "loss.warmup_fraction": 0.1,
        "loss.prior": 0.4,
        "training.lr": 1e-3,
    }
    product = {"loss.kind": "product", "loss.alpha": 1.5, "loss.beta": 1, "training.lr": 1e-3}
    optuna_study = rebuilt(
        recipe,
        [
            Trial(0, confidence, "complete", value=0.8),
            Trial(1, product, "complete", value=0.9),
        ],
    )
    assert [set(trial.params) for trial in optuna_study.trials] == [
        {
            "loss.kind",
            "loss[confidence].alpha",
            "loss[confidence].warmup_fraction",
            "training.lr",
        },
        {"loss.kind", "loss[product].alpha", "loss[product].beta", "training.lr"},
    ]


def test_nsga2_goes_through_generations_and_rebuilds_them():
    recipe = study(space=KINDS, sampler="nsga2", cost=True, trials=40, concurrent_trials=1)
    trials = run(recipe)
    key = "NSGAIISampler:generation"
    generations = [t.attrs["sampler"][key] for _, t in sorted(trials.items())]
    assert generations == sorted(generations)
    assert len(set(generations)) >= 3
    seen = visible(recipe, trials, number=39)
    assert [t.system_attrs[key] for t in rebuilt(recipe, seen).trials] == generations[:39]
    parents = {t.settings["training.lr"] for t in trials.values() if t.attrs["sampler"][key] == 0}
    inherited = [t for n, t in trials.items() if generations[n] == 1]
    assert any(t.settings["training.lr"] in parents for t in inherited)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_adaptive_samplers_are_better_than_chance(sampler):
    recipe = study(sampler=sampler, trials=40 if sampler == "tpe" else 20, concurrent_trials=1)
    late = [t for n, t in run(recipe).items() if n >= recipe.trials - 10]
    assert sum(abs(t.settings["loss.alpha"] - 0.7) < 0.25 for t in late) > 7


def test_random_does_not_repeat():
    drawn = run(study(sampler="random"))
    assert len({t.settings["loss.alpha"] for t in drawn.values()}) == 12


def test_a_trial_waits_for_those_it_may_learn_from():
    recipe = study()
    assert visible(recipe, {}, number=2) == []
    assert visible(recipe, {}, number=3) is None
    first = Trial(0, {}, "failed")
    assert visible(recipe, {0: first}, number=3) == [first]


def test_a_grid_visits_every_point_of_every_kind_once():
    recipe = STUDIES["grid"]
    points = [propose(recipe, number=n, seen=[]).settings for n in range(recipe.trials)]
    assert len({tuple(sorted(point.items())) for point in points}) == (1 + 3 + 2) * 2
    kinds = [point["loss.kind"] for point in points]
    assert [kinds.count(kind) for kind in ("xent", "confidence", "product")] == [2, 6, 4]
    assert kinds != sorted(kinds)


def confidence(alpha: float) -> dict:
    fixed = {"loss.kind": "confidence", "loss.prior": 0.4, "loss.warmup_fraction": 0.2}
    return {**fixed, "loss.alpha": alpha, "training.lr": 1e-3}


@pytest.mark.parametrize("name", ["tpe", "random", "gp", "nsga2", "tpe of two"])
def test_a_warm_started_study_tries_the_given_settings_first(name):
    recipe = STUDIES[name]
    first = [confidence(0.1), {"loss.kind": "xent", "training.lr": 2e-3}, confidence(0.1)]
    trials = run(recipe, first=first)
    assert [trials[0].settings, trials[1].settings] == first[:2]
    assert trials[2].settings not in first
    assert trials == run(recipe, first=first, ends=max)
    if name == "nsga2":
        assert trials[0].attrs["sampler"]["NSGAIISampler:generation"] == 0
        assert "loss[product].alpha" in trials[0].attrs["inactive"]


def test_given_settings_belong_to_a_generation_of_nsga2():
    recipe = STUDIES["nsga2 of plain settings"]
    given = propose(study(), number=0, seen=[]).settings
    proposal = propose(recipe, number=0, seen=[], first=[given])
    assert proposal.settings == given
    assert proposal.attrs["sampler"]["NSGAIISampler:generation"] == 0


def test_a_warm_grid_visits_every_point_once():
    recipe = STUDIES["grid"]
    first = [{"loss.kind": "product", "loss.beta": 0.5, "training.epochs": 2}]
    points = [
        propose(recipe, number=n, seen=[], first=first).settings for n in range(recipe.trials)
    ]
    assert points[0] == first[0]
    assert len({tuple(sorted(point.items())) for point in points}) == recipe.trials


def test_settings_to_begin_with_must_lie_in_the_space():
    with pytest.raises(ValueError, match=r"warm_start: the settings .* are outside the study's"):
        propose(study(space=KINDS), number=0, seen=[], first=[confidence(0.95)])


def test_the_order_of_keys_in_the_file_does_not_matter():
    turned = study(space=dict(reversed(PLAIN.items())))
    assert turned.run_id == study().run_id
    assert propose(turned, number=0, seen=[]) == propose(study(), number=0, seen=[])
