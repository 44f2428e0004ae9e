"""Intervals of mean differences over tasks, in simulations with a known true difference."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_ray.report.differences import freedom_of_mean, intervals_of_draws
from w2s_ray.report.statistics import accuracy_draws

WORLDS, EXAMPLES, SEEDS, TASKS = 200, 200, 3, 6
TRUTH = 0.04


@pytest.mark.slow
def test_the_interval_of_a_mean_over_tasks_with_few_seeds_has_its_coverage():
    """Two methods whose errors are correlated over examples and independent over seeds.

    The bound is four standard errors of a share of 0.95 of the worlds, above it too.
    """
    chance = np.random.default_rng(0)
    rates_KSTM = TRUTH * np.arange(2)[:, None, None, None] + chance.normal(
        0.7, 0.03, (2, SEEDS, TASKS, WORLDS)
    )
    drawn, accuracies = [], []
    for task in range(TASKS):
        luck = chance.random((EXAMPLES, 1, 1, WORLDS))
        own = chance.random((EXAMPLES, 2, SEEDS, WORLDS))
        luck_NKSM = np.where(chance.random(own.shape) < 0.7, luck, own)
        correct_NKSM = luck_NKSM < rates_KSTM[:, :, task]
        runs = [f"{k}-{s}-{m}" for k in range(2) for s in range(SEEDS) for m in range(WORLDS)]
        accuracies.append(correct_NKSM.mean(axis=0))
        correct_NR = correct_NKSM.reshape(EXAMPLES, -1)
        drawn.append(accuracy_draws(correct_NR, runs=runs, eval_set=str(task)))
    held = []
    for world in range(WORLDS):
        by_seed = [dict(enumerate(a_KSM[1, :, world] - a_KSM[0, :, world])) for a_KSM in accuracies]
        freedom = freedom_of_mean([str(task) for task in range(TASKS)], by_seed)

        def mean(draws, method, freedom=freedom, world=world):
            runs = {seed: f"{method}-{seed}-{world}" for seed in range(SEEDS)}
            return draws.of_mean(runs, freedom=freedom)

        found = intervals_of_draws(np.stack([mean(draws, 1) - mean(draws, 0) for draws in drawn]))
        assert found.mean is not None
        held.append(found.mean.low <= TRUTH <= found.mean.high)
    assert abs(np.mean(held) - 0.95) < 4 * (0.95 * 0.05 / WORLDS) ** 0.5


def test_draws_without_a_gap_never_narrow_an_interval():
    draws_RB = np.random.default_rng(0).normal(size=(3, 2000))
    plain = intervals_of_draws(draws_RB)
    assert plain.mean is not None
    assert plain.reason is None
    few = draws_RB.copy()
    few[0, :10], few[1, :5] = np.inf, -np.inf  # 5 draws are undecided, 5 are infinite
    some = intervals_of_draws(few)
    assert some.mean is not None
    assert some.mean.low <= plain.mean.low
    assert some.mean.high >= plain.mean.high
    few[0, :100] = np.inf
    many = intervals_of_draws(few)
    assert many.mean is None
    assert many.reason == "in too many draws some row has no gap"


SPREAD = {0: 0.1, 1: 0.2, 2: 0.3}


@pytest.mark.parametrize(
    ("rows", "freedom"),
    [
        ([("a", SPREAD)], 2),
        ([("a", SPREAD), ("b", SPREAD), ("c", SPREAD)], 6),
        ([("a", SPREAD), ("a", SPREAD)], 2),  # two pairs of one task
        ([("a", SPREAD), ("b", {0: 0.5, 1: 0.5, 2: 0.5})], 2),  # all spread is one task's
        ([("a", SPREAD), ("b", {0: 0.5})], 2),
        ([("a", {0: 0.1}), ("b", {0: 0.2})], None),
        ([("a", {0: 0.1, 1: 0.1})], None),
        ([], None),
    ],
)
def test_degrees_of_freedom_grow_with_tasks_and_not_with_pairs(rows, freedom):
    tasks, by_seed = [task for task, _ in rows], [figures for _, figures in rows]
    assert freedom_of_mean(tasks, by_seed) == freedom
