"""Controls on the embedded task: without ground truth they score chance, on average over seeds."""

from __future__ import annotations

from math import sqrt
from statistics import fmean, stdev

import pytest
from scipy.stats import binom
from scipy.stats import t as student_t

from tests.support import NoCheckpoints
from w2s_ray.config import parse_sweep
from w2s_ray.config.controls import PREFIX
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plan import Plan
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

SEEDS = range(8)
TEST_ROWS = 1000
SWEEP = f"""
name: chance
task: {{name: embedded, train: 800, validation: 100, test: {TEST_ROWS}}}
models:
  - {{name: "embedded:s", label: s, training: {{lr: 1.0e-2}}}}
  - {{name: "embedded:l", label: l, training: {{lr: 2.0e-3}}}}
seeds: {list(SEEDS)}
training: {{batch_size: 32, epochs: 2, schedule: linear, lr_warmup_fraction: 0.1, max_tokens: 32,
  evaluations_per_epoch: 1}}
early_stopping: {{patience: 2}}
methods: {{naive: {{}}}}
controls: true
execution: {{gpus_per_worker: 0}}
"""


@pytest.fixture(scope="module")
def accuracies(tmp_path_factory) -> dict[str, list[float]]:
    """Method -> the test accuracy of each seed's student."""
    store = Store.open(tmp_path_factory.mktemp("chance"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(tmp_path_factory.mktemp("cache")))
        plan = plan_sweep(parse_sweep(SWEEP), store=store)
        materialize(plan, store)
        found = {id_: accuracy(plan, store, id_) for id_ in plan.fits}
    by_method: dict[str, list[float]] = {}
    for cell in plan.cells:
        by_method.setdefault(cell.method, []).append(found[cell.student or ""])
    return by_method


def accuracy(plan: Plan, store: Store, id_: str) -> float:
    record = FitTraining(plan.fits[id_]).run(store, checkpoints=NoCheckpoints())
    assert record.status == "done", record.traceback
    return float(record.summary["test_accuracy"] or 0.0)


def over_seeds(values: list[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean over seeds: a seed's labels are drawn independently."""
    half = student_t.ppf(0.975, len(values) - 1) * stdev(values) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


@pytest.mark.slow
@pytest.mark.parametrize("control", ["shuffled labels", "random labels", "class prior"])
def test_labels_without_relation_to_rows_give_chance_over_seeds(accuracies, control):
    low, high = over_seeds(accuracies[PREFIX + control])
    assert low < 0.5 < high


@pytest.mark.parametrize("control", ["shuffled labels", "random labels"])
def test_their_spread_over_seeds_is_more_than_that_of_guesses_on_the_test_rows(accuracies, control):
    """So a single seed shows little: the student's guesses on test rows are not independent."""
    low, high = binom.interval(0.95, TEST_ROWS, 0.5)
    outside = [not low <= value * TEST_ROWS <= high for value in accuracies[PREFIX + control]]
    assert sum(outside) >= 2


def test_the_supervisors_labels_do_not(accuracies):
    low, _ = over_seeds(accuracies["naive"])
    assert low > 0.5


def test_an_untrained_head_is_right_on_one_class_of_the_balanced_test_rows(accuracies):
    assert accuracies["control: untrained"] == [0.5] * len(SEEDS)


def test_few_rows_of_ground_truth_are_better_than_chance(accuracies):
    low, _ = over_seeds(accuracies["control: ground truth of 1 row in 10"])
    assert low > 0.5
