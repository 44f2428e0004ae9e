"""The section `ground_truth`: its settings, and the errors for impossible searches."""

from __future__ import annotations

import pytest

from w2s_ray.config import Sweep, SweepError, parse_sweep
from w2s_ray.errors import InputError
from w2s_ray.plan import check_forms

BASE = """\
name: tuned
tasks:
  - {name: sciq, train: 100, validation: 20, test: 20}
  - {name: creak, train: 100, validation: 20, test: 20}
models: [s, {name: m, training: {lr: 1.0e-4}}]
methods: {naive: {}}
ground_truth: {search: {training.lr: {loguniform: [1.0e-5, 1.0e-3]}}}
"""
SPACE = "training.lr: {loguniform: [1.0e-5, 1.0e-3]}"


def found(text: str) -> Sweep:
    return parse_sweep(text, name="s")


def test_chosen_settings_take_precedence_over_the_models_for_supervisors_and_ceilings_alone():
    sweep = found(BASE)
    model, chosen = sweep.model("m"), {"training.lr": 5e-4, "early_stopping.patience": 3}
    settings = sweep.ground_truth_settings(model, chosen)
    assert settings.training.lr == 5e-4
    assert settings.early_stopping is not None
    assert (settings.early_stopping.patience, settings.early_stopping.oracle) == (3, False)
    assert sweep.ground_truth_settings(model).training.lr == 1e-4
    assert sweep.student_settings("naive", model).training.lr == 1e-4


def test_nothing_is_searched_unless_it_is_declared():
    sweep = found(BASE.replace(f"{{search: {{{SPACE}}}}}", "{}"))
    assert sweep.spaces == {}
    assert list(found(BASE).spaces) == ["ground_truth.search"]


ERRORS = {
    "a loss": (
        (SPACE, "loss.alpha: {uniform: [0, 1]}"),
        "s:7: ground_truth: search.loss.alpha: supervisors and ceilings have no other settings "
        "than training and early_stopping; search a setting of these",
    ),
    "a stage": (
        (SPACE, "stages.temperature.by: {uniform: [1, 2]}"),
        "s:7: ground_truth: search.stages.temperature.by: supervisors and ceilings have no other "
        "settings than training and early_stopping; search a setting of these",
    ),
    "an unknown setting": (
        (SPACE, "training.rate: {uniform: [0, 1]}"),
        "s:7: ground_truth.search: training.rate is not a setting: unknown key 'rate'; ",
    ),
    "a value that is impossible for one model": (
        (SPACE, "early_stopping.patience: {integer: [1, 99]}"),
        "s:7: ground_truth.search: early_stopping.patience = 99: early_stopping.patience is 99, "
        "but training evaluates only 8 times; lower the patience or raise evaluations_per_epoch",
    ),
    "stopping by ground truth": (
        (SPACE, "early_stopping.oracle: {choice: [true, false]}"),
        "s:7: ground_truth.search.early_stopping.oracle: a search may not choose between ground "
        "truth and weak labels; set oracle in a method of its own",
    ),
    "a grid of floats": (
        ("methods:", "search: {sampler: grid}\nmethods:"),
        "s:8: ground_truth.search.training.lr: sampler grid needs choices; use {choice: [...]} or "
        "sampler: tpe",
    ),
    "a seed of the sweep": (
        ("methods:", "seeds: [1000]\nmethods:"),
        "search.seed 1000 is also in seeds; choose another, because the best settings must be "
        "refitted on seeds that the search didn't use",
    ),
    "a setting that the engine lacks": (
        (
            f"naive: {{}}}}\nground_truth: {{search: {{{SPACE}}}}}",
            "naive: {}}\nexecution: {engine: deepspeed}\n"
            "ground_truth: {search: {training.weight_decay_to: {choice: [zero, initial]}}}",
        ),
        "s:8: ground_truth.search: training.weight_decay_to is initial, which the DeepSpeed engine "
        "doesn't support; set execution.engine: torch for s, or choose another weight_decay_to",
    ),
    "pruning of several tasks with other evaluations": (
        (
            f"search: {{{SPACE}",
            "tasks: together, search: {training.epochs: {integer: [1, 3]}",
        ),
        "s:7: ground_truth.search.training.epochs changes when a trial is evaluated, and "
        "scheduler: asha with several tasks needs trials with the same evaluations; set tasks: "
        "separate, or set scheduler: none",
    ),
    "an unknown key": (
        ("ground_truth: {", "ground_truth: {on: [[s, m]], "),
        "s:7: ground_truth.on: unknown key 'on'; known: search, tasks, trials",
    ),
    "an unknown word": (
        ("ground_truth: {", "ground_truth: {tasks: all, "),
        "s:7: ground_truth.tasks: write 'separate' or 'together' (got 'all')",
    ),
    "no trials": (
        ("ground_truth: {", "ground_truth: {trials: 0, "),
        "s:7: ground_truth.trials: Input should be greater than or equal to 1 (got 0)",
    ),
    "a list": (("{search: {" + SPACE + "}}", "[1]"), "s:7: ground_truth: write a mapping"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_impossible_search_is_an_error_that_names_the_key_and_the_remedy(name):
    (old, new), message = ERRORS[name]
    assert old in BASE
    text = BASE.replace(old, new)
    if "asha" in message:
        text += "search: {scheduler: asha}\n"
    with pytest.raises(SweepError) as error:
        found(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("space", "search", "message"),
    [
        (
            "training.tuning: {one_of: [{kind: full}, {kind: probe}]}",
            "{}",
            "ground_truth.search.training.tuning is probe, but training on the answers of task "
            "creak uses no classification head; choose full, lora or last_layers",
        ),
        (SPACE, "{metric: log_loss}", "search.metric is log_loss, but task creak has answers"),
    ],
)
def test_a_search_that_a_tasks_form_forbids_is_an_error(space, search, message):
    sweep = found(BASE.replace(SPACE, space) + f"search: {search}\n")
    with pytest.raises(InputError) as error:
        check_forms(sweep, {"sciq": "classes", "creak": "answers"})
    assert message in str(error.value)
