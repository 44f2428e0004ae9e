"""The search of supervisors and ceilings reads its own half and validation, and nothing else.

Whole plans in this process, without Ray: each study tries every choice, then its best one is
trained. The rows that a study may not read are changed between two runs, and it must choose the
same from the same values; the rows that it may read are changed too, and its values must change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support import NoCheckpoints, make_model, make_task
from w2s_ray.config import ModelSource, Part, Sweep, parse_sweep
from w2s_ray.data import load_split
from w2s_ray.data.inputs import Inputs, SplitRef
from w2s_ray.execute.trial import final_objective
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plan import Plan, PlannedFit, PlannedStudy, make_plan
from w2s_ray.search.proposals import propose
from w2s_ray.search.trials import Trial, best
from w2s_ray.store import Record, Store
from w2s_ray.store.tables import SPLIT_ROWS

SWEEP = """
name: guard
task: {{name: words, path: {task}, columns: {{text: text, label: label}}, train: 96, validation: 32,
  test: 32}}
models: [a, b]
training: {{batch_size: 16, epochs: 1, evaluations_per_epoch: 2, max_tokens: 64}}
early_stopping: {{patience: 2, metric: loss}}
execution: {{gpus_per_worker: 0}}
methods:
  naive: {{}}
  found: {{search: {{training.lr: {{choice: [1.0e-3, 2.0e-2]}}}}}}
search:
  {{trials: 2, sampler: grid, objective: weak_validation, metric: log_loss, concurrent_trials: 1}}
ground_truth: {{search: {{training.lr: {{choice: [1.0e-3, 2.0e-2]}}}}}}
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    task = make_task(tmp_path_factory.mktemp("task") / "task.csv")
    return parse_sweep(SWEEP.format(task=task))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    models = {
        name: ModelSource(
            name=name,
            location=str(make_model(tmp_path_factory.mktemp(name) / name)),
            identity=f"sha256:{name}",
        )
        for name in "ab"
    }
    counts = {"supervisor_half": 48, "student_half": 48, "validation": 32, "test": 32}
    return Inputs(splits={"words": SplitRef("f" * 20, False, counts)}, models=models)


def store_of(sweep: Sweep, folder: Path, *, labels: Part | None, texts: Part | None) -> Store:
    """A store with the split, in which `labels` are inverted and `texts` are one word."""
    store = Store.open(folder)
    rows = [
        {
            "example_id": e.id,
            "part": part,
            "text": "w0" if part == texts else e.text,
            "label": 1 - (e.label or 0) if part == labels else e.label,
            "group": e.group,
        }
        for part, examples in load_split(sweep.tasks[0]).parts.items()
        for e in examples
    ]
    store.splits.write("f" * 20, pa.Table.from_pylist(rows, schema=SPLIT_ROWS), {})
    return store


def trained(fit: PlannedFit, store: Store) -> Record:
    record = store.find(fit.id) or FitTraining(fit).run(store, checkpoints=NoCheckpoints())
    assert record.status == "done", f"{fit.description}: {record.traceback}"
    return record


def trials_of(study: PlannedStudy, store: Store) -> dict[int, Trial]:
    """The study's trials, run one after the other."""
    trials: dict[int, Trial] = {}
    for number in range(study.recipe.trials):
        seen = list(trials.values())
        settings = propose(study.recipe, number=number, seen=seen).settings
        (fit,) = study.trial_fits(settings)
        value = final_objective(study, trained(fit, store))
        trials[number] = Trial(number, settings, "complete", value=value, fits=(fit.id,))
    return trials


def run_sweep(sweep: Sweep, inputs: Inputs, store: Store) -> tuple[Plan, dict[str, Any]]:
    """The plan with all that its studies chose, everything trained, and each study's values."""
    outcomes: dict[str, dict[str, Any]] = {}
    values: dict[str, Any] = {}
    plan = make_plan(sweep, inputs)
    while True:
        for fit in plan.fits.values():
            trained(fit, store)
        if not plan.studies.keys() - outcomes.keys():
            return plan, values
        for study in plan.studies.values():
            trials = trials_of(study, store)
            chosen = best(study.recipe, trials)
            assert chosen is not None
            outcomes[study.id] = dict(chosen.settings)
            values[study.subject] = {
                fit: store.predictions(fit, "validation").column("probability").to_pylist()
                for trial in trials.values()
                for fit in trial.fits
            }
        plan = make_plan(sweep, inputs, outcomes=outcomes)


@pytest.fixture(scope="module")
def runs(sweep, inputs, tmp_path_factory):
    """Runs the sweep with a part's labels or texts changed, each change once."""
    found: dict[Any, tuple[Plan, dict[str, Any], Store]] = {}

    def run(labels: Part | None = None, texts: Part | None = None):
        if (labels, texts) not in found:
            folder = tmp_path_factory.mktemp("store")
            store = store_of(sweep, folder, labels=labels, texts=texts)
            with pytest.MonkeyPatch.context() as patch:  # tokens are cached by the split's identity
                patch.setenv("W2S_CACHE", str(folder / "cache"))
                found[labels, texts] = (*run_sweep(sweep, inputs, store), store)
        return found[labels, texts]

    return run


@pytest.mark.parametrize("changed", ["labels", "texts"])
@pytest.mark.parametrize("part", ["supervisor_half", "student_half", "test"])
def test_a_search_depends_on_its_own_half_and_never_on_the_other_or_on_test(runs, part, changed):
    _, values, _ = runs()
    _, other, _ = runs(**{changed: part})
    assert (values["supervisor"] == other["supervisor"]) is (part != "supervisor_half")
    assert (values["ceiling"] == other["ceiling"]) is (part != "student_half")


def test_a_trial_is_judged_by_ground_truth_of_validation_rows(runs, sweep, inputs):
    (_, _, store), (_, _, flipped) = runs(), runs(labels="validation")
    for study in make_plan(sweep, inputs).studies.values():
        for trial, other in zip(
            trials_of(study, store).values(), trials_of(study, flipped).values(), strict=True
        ):
            (fit,) = study.trial_fits(dict(trial.settings))
            summary = store.record(fit.id).summary
            assert trial.value == summary["validation_log_loss"]
            assert trial.value == pytest.approx(summary["validation_loss"])
            assert not [name for name in summary if name.startswith(("test_", "student_half_"))]
            parts = store.predictions(fit.id, None).column("part").to_pylist()
            assert set(parts) == {"validation"}
            assert other.value != trial.value


def test_no_truth_of_a_students_half_or_of_test_reaches_a_student_through_a_search(runs):
    plan, _, store = runs()
    for part in ("student_half", "test"):
        other, _, changed = runs(labels=part)
        for cell, again in zip(plan.cells, other.cells, strict=True):
            assert (cell.supervisor, cell.student) == (again.supervisor, again.student)
            first, second = (
                each.predictions(cell.student, "test").column("probability").to_pylist()
                for each in (store, changed)
            )
            assert first == second


def test_each_record_has_the_settings_that_its_study_chose(runs):
    plan, _, store = runs()
    for cell in plan.cells:
        for run, study in (
            (cell.supervisor, cell.supervisor_study),
            (cell.ceiling, cell.ceiling_study),
        ):
            trials = trials_of(plan.studies[study], store)
            chosen = best(plan.studies[study].recipe, trials)
            assert chosen is not None
            lr = store.record(run).recipe["training"]["lr"]
            assert lr == chosen.settings["training.lr"]
