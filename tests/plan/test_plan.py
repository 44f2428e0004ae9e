"""The graph: what is planned once, what depends on what, what a finished study adds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from w2s_ray.config import ModelSource, parse_sweep
from w2s_ray.data.inputs import Inputs, SplitRef
from w2s_ray.plan import make_plan

SWEEP = """
name: grid
task: {name: creak, train: 100, validation: 20, test: 20}
models: [s, m, {name: l, training: {lr: 3.0e-6}}]
seeds: [0, 1]
methods:
  naive: {}
  confidence: {loss: {kind: confidence}}
"""
SEARCH = (
    SWEEP
    + """\
  found: {loss: {kind: confidence}, search: {loss.alpha: {uniform: [0, 1]}}}
search: {trials: 5, on: [[s, m]]}
"""
)


def inputs(*labels: str) -> Inputs:
    counts = {"supervisor_half": 50, "student_half": 50, "validation": 20, "test": 20}
    return Inputs(
        splits={
            name: SplitRef(digits * 10, False, counts)
            for name, digits in (("creak", "ab"), ("sciq", "cd"))
        },
        models={
            label: ModelSource(name=label, location=label, identity=f"sha256:{label}")
            for label in labels or ("s", "m", "l")
        },
    )


def planned(text: str, **options):
    return make_plan(parse_sweep(text), inputs(), **options)


def test_each_fit_is_planned_once():
    plan = planned(SWEEP)
    roles = [fit.roles for fit in plan.fits.values()]
    assert roles.count(("supervisor",)) == 2 * 2  # s, m as supervisors
    assert roles.count(("ceiling",)) == 2 * 2  # m, l as ceilings
    assert roles.count(("student",)) == 3 * 2 * 2  # pairs x methods x seeds
    assert len(plan.cells) == 3 * 2 * 2
    assert plan.uses["supervisor"] == 3 * 2
    assert plan.uses["supervisor"] - roles.count(("supervisor",)) == 2


def test_a_supervisor_is_also_the_ceiling_when_ceilings_are_on_its_half():
    plan = planned(SWEEP + "ceiling_on: supervisor_half\n")
    middle = [fit for fit in plan.fits.values() if fit.roles == ("supervisor", "ceiling")]
    assert [fit.source.name for fit in middle] == ["m", "m"]
    assert sum(fit.recipe.learns_from_ground_truth for fit in plan.fits.values()) == 3 * 2


def test_a_students_id_contains_its_supervisors():
    plan = planned(SWEEP)
    for cell in plan.cells:
        assert plan.fits[cell.student].recipe.labels.runs == (cell.supervisor,)
        assert plan.fits[cell.student].parents == (cell.supervisor,)
    changed = planned(SWEEP.replace("models: [s,", "models: [{name: s, training: {lr: 0.5}},"))
    for before, after in zip(plan.cells, changed.cells, strict=True):
        if before.weak == "s":
            assert before.supervisor != after.supervisor
            assert before.student != after.student
            assert before.ceiling == after.ceiling
        else:
            assert before.student == after.student


def test_the_order_is_one_of_execution():
    plan = planned(SEARCH)
    seen: set[str] = set()
    for fit in plan.fits.values():
        assert set(fit.parents) <= seen
        seen.add(fit.id)


def test_ready_runs_have_done_parents_and_failures_block_only_dependent_runs():
    plan = planned(SWEEP)
    first = set(plan.ready(done=set(), excluded=set()))
    assert first == {f.id for f in plan.fits.values() if f.recipe.learns_from_ground_truth}
    supervisor = plan.cells[0].supervisor
    after = set(plan.ready(done={supervisor}, excluded=set())) - first
    assert after == {f.id for f in plan.fits.values() if f.recipe.labels.runs == (supervisor,)}
    assert set(plan.blocked_by({supervisor})) == after


def test_a_study_serves_all_cells_and_its_refits_come_with_its_outcome():
    plan = planned(SEARCH)
    (study,) = plan.studies.values()
    assert study.pairs == (("s", "m"),)
    assert study.parents == (plan.cells[0].supervisor,)
    waiting = [cell for cell in plan.cells if cell.method == "found"]
    assert all(cell.student is None and cell.objective == "transfer" for cell in waiting)
    assert plan.waiting == 3 * 2
    assert [cell.searched for cell in waiting] == [
        c[:2] == ("s", "m") for c in ((c.weak, c.strong) for c in waiting)
    ]
    known = planned(SEARCH, outcomes={study.id: {"loss.alpha": 0.25}})
    assert known.waiting == 0
    refits = [known.fits[cell.student] for cell in known.cells if cell.method == "found"]
    assert {fit.recipe.loss.alpha for fit in refits} == {0.25}
    assert {fit.recipe.seed for fit in refits} == {0, 1}
    assert set(plan.fits) < set(known.fits)


def test_trials_are_seeded_apart_from_the_refits():
    plan = planned(SEARCH)
    (study,) = plan.studies.values()
    (trial,) = study.trial_fits({"loss.alpha": 0.25})
    assert trial.recipe.seed == 1000
    assert trial.recipe.labels.runs == (plan.cells[0].supervisor,)
    assert trial.id not in planned(SEARCH, outcomes={study.id: {"loss.alpha": 0.25}}).fits


@pytest.mark.parametrize("objective", ["weak_validation", "oracle"])
def test_a_study_of_the_cell_itself_is_made_for_each_pair(objective):
    plan = planned(SEARCH.replace("trials: 5", f"trials: 5, objective: {objective}"))
    assert sorted(study.pairs for study in plan.studies.values()) == [
        (("m", "l"),),
        (("s", "l"),),
        (("s", "m"),),
    ]
    assert {c.objective for c in plan.cells if c.method == "found"} == {objective}


def test_per_model_settings_reach_every_role():
    plan = planned(SWEEP)
    rates = {(fit.source.name, fit.recipe.training.lr) for fit in plan.fits.values()}
    assert rates == {("s", 1e-5), ("m", 1e-5), ("l", 3e-6)}


def test_a_grid_has_no_more_trials_than_points():
    text = SEARCH.replace("{uniform: [0, 1]}", "{choice: [0.1, 0.5]}").replace(
        "trials: 5", "trials: 5, sampler: grid"
    )
    (study,) = planned(text).studies.values()
    assert study.recipe.trials == 2


def test_planning_imports_neither_torch_nor_ray():
    code = (
        "import sys, w2s_ray.plan, w2s_ray.execute.driver, w2s_ray.cli, "
        "w2s_ray.cli.plan_view\n"
        "print([m for m in ('torch', 'ray', 'transformers', 'pandas') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


TASKS = """
name: tasks
tasks:
  - {name: creak, train: 100, validation: 20, test: 20}
  - {name: sciq, train: 100, validation: 20, test: 20}
models: [s, m, l]
methods:
  found: {loss: {kind: confidence}, search: {loss.alpha: {uniform: [0, 1]}}}
search:
  trials: 8
  on: [{task: creak, pair: [s, m]}, {task: sciq, pair: [s, m]}]
"""


def test_one_study_over_tasks_serves_them_all_and_marks_the_cells_it_trained():
    plan = planned(TASKS)
    (study,) = plan.studies.values()
    assert study.tasks == ("creak", "sciq")
    assert study.pairs == (("s", "m"), ("s", "m"))
    assert {cell.study for cell in plan.cells} == {study.id}
    marked = {(cell.task, cell.weak, cell.strong) for cell in plan.cells if cell.searched}
    assert marked == {("creak", "s", "m"), ("sciq", "s", "m")}
    splits = {name: ref.fingerprint for name, ref in plan.inputs.splits.items()}
    for fit in study.trial_fits({"loss.alpha": 0.25}):
        assert fit.recipe.split == splits[fit.task]
        assert plan.fits[fit.recipe.labels.runs[0]].recipe.split == splits[fit.task]
        assert fit.recipe.loss.alpha == 0.25
    assert set(study.parents) <= set(plan.fits)
    known = planned(TASKS, outcomes={study.id: {"loss.alpha": 0.25}})
    assert known.waiting == 0
    assert len([f for f in known.fits.values() if f.roles == ("student",)]) == 2 * 3


def test_a_study_over_one_task_serves_the_other_unmarked():
    plan = planned(TASKS.replace(", {task: sciq, pair: [s, m]}", ""))
    (study,) = plan.studies.values()
    assert study.tasks == ("creak",)
    assert {cell.task for cell in plan.cells if cell.searched} == {"creak"}
    assert {cell.study for cell in plan.cells} == {study.id}


def test_pairs_without_a_task_are_a_study_for_each_task():
    plan = planned(
        TASKS.replace("[{task: creak, pair: [s, m]}, {task: sciq, pair: [s, m]}]", "[[s, m]]")
    )
    assert sorted(study.tasks for study in plan.studies.values()) == [("creak",), ("sciq",)]
    for cell in plan.cells:
        assert plan.studies[cell.study].tasks == (cell.task,)


WARM = TASKS.replace(
    "  on: [{task: creak, pair: [s, m]}, {task: sciq, pair: [s, m]}]",
    "  objective: weak_validation\n  warm_start: same_task",
)


def test_a_warm_started_study_depends_on_studies_of_smaller_pairs():
    plan = planned(WARM)
    by_cell = {(study.task, *study.pairs[0]): study for study in plan.studies.values()}
    assert len(by_cell) == 2 * 3
    for task in ("creak", "sciq"):
        smallest, wide, upper = (by_cell[task, *p] for p in (("s", "m"), ("s", "l"), ("m", "l")))
        assert smallest.recipe.warm_start == ()
        assert wide.recipe.warm_start == (smallest.id,)
        assert upper.recipe.warm_start == (wide.id, smallest.id)
        assert {wide.id, smallest.id} < set(upper.parents)
        fits = set(plan.fits)
        assert wide.id not in set(plan.ready(done=fits, excluded=set()))
        assert wide.id in set(plan.ready(done=fits | {smallest.id}, excluded=set()))
        assert plan.blocked_by({smallest.id}) == dict.fromkeys((wide.id, upper.id), smallest.id)


def test_the_order_of_pairs_in_the_file_does_not_change_warm_starts():
    turned = planned(WARM + "pairs: [[m, l], [s, l], [s, m]]\n")
    assert set(turned.studies) == set(planned(WARM).studies)
    assert turned.blocked_by({turned.cells[-1].study})


def test_a_warm_start_uses_at_most_a_quarter_of_the_trials():
    plan = planned(WARM.replace("trials: 8", "trials: 4"))
    assert max(len(study.recipe.warm_start) for study in plan.studies.values()) == 1
    upper = next(s for s in plan.studies.values() if s.pairs == (("m", "l"),))
    (nearest,) = upper.recipe.warm_start
    assert plan.studies[nearest].pairs == (("s", "l"),)


def test_what_changes_a_search_changes_the_studys_id():
    (study,) = planned(TASKS).studies.values()
    changes = (
        ("trials: 8", "trials: 8\n  cost: true"),
        ("trials: 8", "trials: 8\n  sampler: gp"),
        ("trials: 8", "trials: 8\n  scheduler: median"),
        (", {task: sciq, pair: [s, m]}", ""),
        ("loss.alpha: {uniform: [0, 1]}", "loss: {one_of: [{kind: xent}, {kind: product}]}"),
    )
    ids = {next(iter(planned(TASKS.replace(old, new)).studies)) for old, new in changes}
    assert len({study.id, *ids}) == 1 + len(changes)
    same = "limits: {studies_at_once: 1, trials_at_once: 1, lease_s: 5}\nexecution: {stall_s: 9}\n"
    assert set(planned(TASKS + same).studies) == {study.id}


def test_a_grid_over_kinds_is_the_union_of_their_grids():
    text = TASKS.replace(
        "loss.alpha: {uniform: [0, 1]}",
        "loss: {one_of: [{kind: xent}, {kind: product, beta: {choice: [0.5, 1]}}]}, "
        "training.epochs: {choice: [1, 2]}",
    ).replace("trials: 8", "trials: 20\n  sampler: grid")
    (study,) = planned(text).studies.values()
    assert study.recipe.trials == (1 + 2) * 2


def test_a_search_for_all_gives_every_method_a_study_of_equal_size():
    shared = "shared: {training.epochs: {choice: [1, 2]}}"
    plan = planned(SEARCH.replace("search: {trials: 5", f"search: {{for: all, {shared}, trials: 5"))
    studies = {study.method: study.recipe for study in plan.studies.values()}
    assert set(studies) == {"naive", "confidence", "found"}
    assert {recipe.trials for recipe in studies.values()} == {5}
    assert set(studies["naive"].space) == {"training.epochs"}
    assert set(studies["found"].space) == {"training.epochs", "loss.alpha"}
    assert {cell.objective for cell in plan.cells} == {"transfer"}


def test_the_defaults_of_a_search_for_all_are_in_no_studys_id():
    (study,) = planned(f"{SEARCH}training: {{bucket_batches: 16}}\n").studies.values()
    assert study.id == "14cfc31c019e73b2f6ac"


def test_only_reported_students_are_trained_on_after_a_stop():
    stopping = "early_stopping: {patience: 1, finish_schedule: true}\n"
    plan = planned(SEARCH + stopping)
    (study,) = plan.studies.values()
    plain = planned(SEARCH + "early_stopping: {patience: 1}\n")
    assert list(plan.studies) == list(plain.studies)
    for fit in study.trial_fits({"loss.alpha": 0.5}):
        assert not fit.recipe.early_stopping.finish_schedule
    finishing = {
        role: {fit.recipe.early_stopping.finish_schedule for fit in of_role}
        for role in ("supervisor", "ceiling", "student")
        if (of_role := [fit for fit in plan.fits.values() if role in fit.roles])
    }
    assert finishing == {"supervisor": {False}, "ceiling": {False}, "student": {True}}


def test_a_seal_marks_every_fit_and_changes_no_id():
    plain, sealed = planned(SEARCH), planned(SEARCH + "seal: true\n")
    assert plain.fits.keys() == sealed.fits.keys()
    assert plain.studies.keys() == sealed.studies.keys()
    for plan, is_sealed in ((plain, False), (sealed, True)):
        trials = [t for s in plan.studies.values() for t in s.trial_fits({"loss.alpha": 0.5})]
        assert {fit.sealed for fit in (*plan.fits.values(), *trials)} == {is_sealed}
