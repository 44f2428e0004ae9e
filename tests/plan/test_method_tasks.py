"""Methods that are used on some of a sweep's tasks."""

from __future__ import annotations

import pytest

from tests.plan.test_plan import inputs
from w2s_ray.config import parse_sweep
from w2s_ray.errors import InputError
from w2s_ray.plan import check_forms, make_plan

SWEEP = """
name: tasks
tasks:
  - {{name: sciq, train: 100, validation: 20, test: 20}}
  - {{name: creak, train: 100, validation: 20, test: 20}}
models: [s, m]
seeds: [0]
methods:
  naive: {naive}
  threshold: {threshold}
{search}
"""


def sweep_of(naive: str = "{}", threshold: str = "{}", search: str = ""):
    return parse_sweep(SWEEP.format(naive=naive, threshold=threshold, search=search))


def test_a_method_has_cells_on_its_tasks_alone():
    sweep = sweep_of(threshold="{tasks: [creak], loss: {kind: confidence}}")
    plan = make_plan(sweep, inputs("s", "m"))
    assert {(cell.task, cell.method) for cell in plan.cells} == {
        ("sciq", "naive"),
        ("creak", "naive"),
        ("creak", "threshold"),
    }


def test_the_same_fits_as_without_the_setting():
    without = make_plan(sweep_of(), inputs("s", "m"))
    every = make_plan(sweep_of(threshold="{tasks: [creak, sciq]}"), inputs("s", "m"))
    assert list(every.fits) == list(without.fits)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"threshold": "{tasks: [crek]}"},
            "methods.threshold.tasks: unknown task 'crek'; the sweep's tasks are: sciq, creak",
        ),
        (
            {"naive": "{tasks: [sciq]}", "threshold": "{tasks: [sciq]}"},
            "task creak is in no method's tasks; add it to one, or remove the task",
        ),
        (
            {
                "threshold": "{tasks: [sciq], search: {training.lr: {choice: [1e-3, 1e-2]}}}",
                "search": "search: {on: [{task: creak, pair: [s, m]}], trials: 2}",
            },
            "search.on has task creak, but methods.threshold.tasks is sciq; add it there, or "
            "search within each task",
        ),
    ],
)
def test_refused(given: dict[str, str], says: str):
    with pytest.raises(InputError) as caught:
        sweep_of(**given)
    assert says in str(caught.value)


def test_a_policy_needs_pairs():
    forms = {"sciq": "classes", "creak": "pairs"}
    policy = "training: {pair_model: {kind: policy}}"
    with pytest.raises(InputError, match="pair_model is policy, but task sciq has no pairs"):
        check_forms(sweep_of(threshold=f"{{{policy}}}"), forms)
    check_forms(sweep_of(threshold=f"{{tasks: [creak], {policy}}}"), forms)
