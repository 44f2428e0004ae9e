"""Controls in a plan: off by default, five for each cell, shared where no supervisor labels."""

from __future__ import annotations

import pytest

from tests.plan.test_forms import planned as planned_form
from tests.plan.test_plan import SEARCH, SWEEP, planned
from w2s_ray.config import parse_sweep
from w2s_ray.config.controls import PREFIX
from w2s_ray.plan import Plan

CONTROLS = "controls: true\n"
NAMES = [
    "control: shuffled labels",
    "control: random labels",
    "control: class prior",
    "control: untrained",
    "control: ground truth of 1 row in 10",
]


def students(plan: Plan, control: str) -> list[str | None]:
    return [cell.student for cell in plan.cells if cell.method == PREFIX + control]


def test_a_sweep_has_no_controls_unless_it_says_so():
    assert planned(SWEEP).cells == planned(SWEEP + "controls: false\n").cells
    assert not any(cell.control for cell in planned(SWEEP).cells)


def test_controls_add_fits_and_change_no_others():
    plain, plan = planned(SWEEP), planned(SWEEP + CONTROLS)
    assert plain.fits.keys() < plan.fits.keys()
    assert [cell for cell in plan.cells if not cell.control] == plain.cells
    pairs, seeds, strong = 3, 2, 2  # s -> m, s -> l, m -> l
    assert len(plan.cells) - len(plain.cells) == 5 * pairs * seeds
    of_supervisors, of_none = 3 * pairs * seeds, 2 * strong * seeds
    assert len(plan.fits) - len(plain.fits) == of_supervisors + of_none


def test_controls_have_their_names_and_follow_the_methods():
    plan = planned(SWEEP + CONTROLS)
    assert list(dict.fromkeys(c.method for c in plan.cells)) == ["naive", "confidence", *NAMES]
    assert [cell.control for cell in plan.cells[:7]] == [False] * 2 + [True] * 5


@pytest.mark.parametrize("control", ["random labels", "ground truth of 1 row in 10"])
def test_fits_without_weak_labels_are_shared_by_all_supervisors(control):
    plan = planned(SWEEP + CONTROLS)
    by_student = dict[tuple[str, int], set[str | None]]()
    for cell in plan.cells:
        if cell.method == PREFIX + control:
            by_student.setdefault((cell.strong, cell.seed), set()).add(cell.student)
    assert all(len(found) == 1 for found in by_student.values())


def test_controls_are_trained_as_naive_and_no_search_changes_them():
    text = SEARCH.replace(
        "naive: {}",
        "naive: {training: {lr: 7.0e-4, epochs: 3}, "
        "early_stopping: {patience: 2, metric: loss, oracle: true}, "
        "search: {training.weight_decay: {uniform: [0, 1]}}}",
    )
    plan = planned(text + CONTROLS)
    for cell in plan.cells:
        if not cell.control:
            continue
        assert cell.study is None
        recipe = plan.fits[cell.student or ""].recipe
        assert recipe.training.lr == 7e-4
        assert recipe.loss.model_dump()["kind"] == "xent"
        stopping = recipe.early_stopping
        if cell.method in (NAMES[3], NAMES[4]):
            assert stopping is None
        else:
            assert stopping is not None
            assert (stopping.patience, stopping.metric, stopping.oracle) == (2, "loss", False)


def test_the_price_decides_the_rows_of_ground_truth_and_their_epochs():
    plan = planned(SWEEP + "controls: {truth_price: 4}\n")
    for id_ in students(plan, "ground truth of 1 row in 4"):
        recipe = plan.fits[id_ or ""].recipe
        assert recipe.learns_from_ground_truth
        assert recipe.one_row_in == 4
        assert recipe.training.epochs == 4 * 2


def test_words_make_the_untrained_student_a_zero_shot_prompt():
    plan = planned(SWEEP + "controls: {words: [bad, good], question: 'Is it?'}\n")
    for id_ in students(plan, "untrained"):
        prompt = plan.fits[id_ or ""].recipe.prompt
        assert prompt is not None
        assert (prompt.shots, prompt.question, prompt.words) == (0, "Is it?", ("bad", "good"))
    plain = planned(SWEEP + CONTROLS)
    assert not any(plain.fits[id_ or ""].recipe.trained for id_ in students(plain, "untrained"))


@pytest.mark.parametrize("stage", ["truth", "random_labels", "untrained"])
def test_stages_of_controls_need_classes(stage):
    for form in ("classes", "pairs", "categories", "features"):
        assert planned_form(form, f"stages: [{{kind: {stage}}}]").cells
    with pytest.raises(ValueError, match=f"has {stage}, which needs classes, but task"):
        planned_form("answers", f"stages: [{{kind: {stage}}}]")


def test_cells_of_controls_count_towards_the_limit():
    assert len(parse_sweep(SWEEP + CONTROLS).methods_and_controls) == 7
