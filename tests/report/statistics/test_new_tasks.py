"""Intervals over tasks, in a world in which tasks are drawn from a known distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from w2s_ray.report.statistics.new_tasks import mean_draws, mean_interval, median_interval
from w2s_ray.report.statistics.resampling import task_counts

STUDIES = 1000
FOUR_ERRORS = 4 * (0.95 * 0.05 / STUDIES) ** 0.5


def names(tasks: int, study: int = 0) -> list[str]:
    """Names differ between studies, so that their draws are independent."""
    return [f"{study}-{task}" for task in range(tasks)]


@pytest.mark.parametrize("tasks", [3, 5, 22])
def test_the_mean_over_new_tasks_is_in_its_interval(tasks):
    """Two pairs of models on each task; a task moves both."""
    random = np.random.default_rng(tasks)
    held, fixed = [], []
    for study in range(STUDIES):
        of_task = random.normal(0.5, 0.2, tasks)
        figures = np.concatenate([of_task, of_task]) + random.normal(0, 0.05, 2 * tasks)
        found = mean_interval(list(figures), names(tasks, study) * 2)
        assert found is not None
        held.append(found.holds(0.5))
        alone = stats.t.interval(0.95, 2 * tasks - 1, figures.mean(), stats.sem(figures))
        fixed.append(alone[0] <= 0.5 <= alone[1])
    assert abs(np.mean(held) - 0.95) < FOUR_ERRORS
    assert np.mean(fixed) < 0.95 - FOUR_ERRORS  # rows are not independent


@pytest.mark.parametrize("tasks", [5, 10, 22])
def test_the_median_over_new_tasks_is_in_its_interval(tasks):
    random = np.random.default_rng(tasks)
    held = []
    for study in range(STUDIES):
        found = median_interval(list(random.normal(0.5, 0.2, tasks)), names(tasks, study))
        assert found is not None
        held.append(found.holds(0.5))
    assert np.mean(held) > 0.95 - FOUR_ERRORS


def test_the_interval_of_a_mean_is_students_for_normal_tasks():
    figures = np.random.default_rng(0).normal(0.5, 0.2, 8)
    found = mean_interval(list(figures), names(8))
    low, high = stats.t.interval(0.95, 7, figures.mean(), stats.sem(figures))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_the_median_of_a_draw_is_numpys_of_the_drawn_rows():
    random = np.random.default_rng(1)
    tasks = [name for name in names(7) for _ in range(random.integers(1, 4))]
    figures = random.normal(size=len(tasks))
    counts = task_counts(sorted(set(tasks)), draws=2000)
    repeats_BR = counts[:, [sorted(set(tasks)).index(task) for task in tasks]]
    medians = [np.median(np.repeat(figures, repeats_R)) for repeats_R in repeats_BR]
    widening = np.sqrt(7 / 6) * stats.t.ppf(0.975, 6) / stats.norm.ppf(0.975)
    ordered = np.sort(np.median(figures) + widening * (np.array(medians) - np.median(figures)))
    found = median_interval(list(figures), tasks)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((ordered[49], ordered[-50]))


def test_one_task_has_no_interval_over_tasks():
    assert mean_interval([0.1, 0.2], ["a", "a"]) is None
    assert median_interval([0.1, 0.2], ["a", "a"]) is None
    with pytest.raises(ValueError, match="one task shows no spread over tasks; there is only a"):
        mean_draws(np.zeros((2, 1)), ["a", "a"])


def test_equal_tasks_have_an_interval_without_width():
    assert mean_interval([0.3] * 4, names(4)) == pytest.approx((0.3, 0.3))
    assert median_interval([0.3] * 4, names(4)) == pytest.approx((0.3, 0.3))
