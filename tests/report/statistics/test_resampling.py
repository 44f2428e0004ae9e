from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from w2s_ray.report.statistics.resampling import seed_deviations, unit_counts


def counts(name: str, *, units: int, draws: int) -> np.ndarray:
    return np.concatenate(list(unit_counts(name, units=units, draws=draws)))


@pytest.mark.parametrize("units", [1, 7, 3000])
def test_a_resample_draws_as_many_units_as_there_are(units):
    drawn = counts("split", units=units, draws=1000)
    assert drawn.shape == (1000, units)
    assert (drawn.sum(axis=1) == units).all()
    assert (drawn >= 0).all()


def test_units_are_drawn_with_equal_probability():
    drawn = counts("split", units=50, draws=20_000)
    assert drawn.mean(axis=0) == pytest.approx(1, abs=0.04)
    assert drawn.var(axis=0) == pytest.approx(1 - 1 / 50, abs=0.08)
    together = np.corrcoef(drawn.T)[~np.eye(50, dtype=bool)]
    assert together == pytest.approx(-1 / 49, abs=0.05)


def test_the_random_numbers_depend_on_names_alone():
    assert (counts("a", units=30, draws=50) == counts("a", units=30, draws=50)).all()
    assert (counts("a", units=30, draws=50) != counts("b", units=30, draws=50)).any()
    three = {"seeds": (0, 1, 2), "draws": 100}
    assert (seed_deviations("a", **three) == seed_deviations.__wrapped__("a", **three)).all()
    assert (seed_deviations("a", **three) != seed_deviations("b", **three)).all()


@pytest.mark.parametrize("seeds", [(0, 1), (3, 1, 2), (0, 1, 2, 3, 4)])
def test_deviations_of_a_mean_over_seeds_have_students_t_distribution(seeds):
    figures = np.random.default_rng(0).normal(0.8, 0.05, len(seeds))
    weights = seed_deviations("split", seeds=seeds, draws=20_000)
    assert weights.sum(axis=1) == pytest.approx(0, abs=1e-9 * np.abs(weights).max())
    standard_error = figures.std(ddof=1) / len(seeds) ** 0.5
    moved = weights @ figures / standard_error
    tails = [0.025, 0.25, 0.5, 0.75, 0.975]
    expected = stats.t(len(seeds) - 1).ppf(tails)
    assert np.quantile(moved, tails) == pytest.approx(expected, rel=0.05, abs=0.03)


def test_a_single_seed_has_no_deviations():
    assert (seed_deviations("split", seeds=(5,), draws=10) == 0).all()
