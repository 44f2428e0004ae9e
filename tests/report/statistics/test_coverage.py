"""Intervals in a small simulated world, in which the truth is known.

The bounds of the shares are four standard errors of a share of 0.95 of 400 rows, above it too: an
interval that always holds the truth is as wrong. `benchmarks/intervals.py` measures many worlds.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from w2s_ray.report.statistics import DRAWS, Draws, RowIntervals, Trio, accuracy_draws, interval

ROWS = 400
FOUR_ERRORS = 4 * (0.95 * 0.05 / ROWS) ** 0.5


def rows_of(correct_NKSM: np.ndarray) -> list[RowIntervals]:
    """Intervals of M rows, each with S seeds of K = 3 roles on N examples."""
    examples, roles, seeds, rows = correct_NKSM.shape
    runs = [f"{k}-{s}-{m}" for k in range(roles) for s in range(seeds) for m in range(rows)]
    draws = accuracy_draws(correct_NKSM.reshape(examples, -1), runs=runs, eval_set="split")
    trios = [
        {s: Trio(f"0-{s}-{m}", f"1-{s}-{m}", f"2-{s}-{m}") for s in range(seeds)}
        for m in range(rows)
    ]
    return [draws.of_row(trio).intervals() for trio in trios]


def test_paired_examples_are_resampled_together():
    """Right wherever an example is easy enough: all errors are shared, and one seed is all."""
    easiness_NM = np.random.default_rng(0).random((500, ROWS))
    rates = np.array([0.6, 0.7, 0.8])
    correct_NKSM = easiness_NM[:, None, None] < rates[:, None, None]
    found = rows_of(correct_NKSM)
    gap = np.mean([row.gap.holds(0.2) for row in found])
    pgr = np.mean([row.pgr is not None and row.pgr.holds(0.5) for row in found])
    assert abs(gap - 0.95) < FOUR_ERRORS
    assert abs(pgr - 0.95) < FOUR_ERRORS


def test_few_seeds_that_differ_are_resampled_too():
    """Three seeds with a spread of 0.03, far above that of 2,000 examples, 0.009."""
    chance = np.random.default_rng(1)
    rates_KSM = chance.normal(np.array([0.6, 0.7, 0.8])[:, None, None], 0.03, (3, 3, ROWS))
    correct_NKSM = chance.random((2000, 1, 1, ROWS)) < rates_KSM
    found = rows_of(correct_NKSM)
    weak = np.mean([row.weak.holds(0.6) for row in found])
    gap = np.mean([row.gap.holds(0.2) for row in found])
    assert abs(weak - 0.95) < FOUR_ERRORS
    assert abs(gap - 0.95) < FOUR_ERRORS


def test_seeds_near_the_top_have_a_skewed_spread():
    """Five seeds of mean 0.92 and spread 0.05 or so. Deviations that are symmetric in accuracy
    hold 0.92 in 91.8 % of rows, too few for these bounds.
    """
    rows, seeds, spread = 3000, 5, 0.34
    ability = ndtri(0.92) * (1 + spread**2) ** 0.5
    rates_MS = ndtr(np.random.default_rng(2).normal(ability, spread, (rows, seeds)))
    assert abs(rates_MS.mean() - 0.92) < 0.002
    runs = {f"{row}-{seed}": row * seeds + seed for row in range(rows) for seed in range(seeds)}
    certain_RB = np.broadcast_to(rates_MS.reshape(-1, 1), (rows * seeds, DRAWS))
    draws = Draws("split", runs, rates_MS.ravel(), certain_RB)
    held = [
        interval(draws.of_mean({seed: f"{row}-{seed}" for seed in range(seeds)})).holds(0.92)
        for row in range(rows)
    ]
    assert abs(np.mean(held) - 0.95) < 4 * (0.95 * 0.05 / rows) ** 0.5
