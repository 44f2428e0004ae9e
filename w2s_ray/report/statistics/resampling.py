"""The random numbers of the bootstrap: resamples of a test set's examples, of seeds and of tasks.

Owns the count of each example in each draw, each draw's deviation of a mean over seeds, and the
count of each task. The numbers are seeded by names alone (of the test set, of seeds, of tasks), so
that they don't depend on the process or on the order of calls, and all figures on one test set are
paired. It computes no accuracies.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

DRAWS = 2000
"""Draws of a bootstrap: a bound's Monte Carlo error is then about 6 % of the standard error."""

_BLOCK = 1_000_000
"""Counts in memory together, at 8 bytes each."""


def unit_counts(eval_set: str, *, units: int, draws: int = DRAWS) -> Iterator[np.ndarray]:
    """Blocks of draws: the count of each of `units`, float32 [b, units]; rows sum to `units`.

    As many units as there are get drawn with replacement. `eval_set` is the test set's name.
    """
    random = _generator(eval_set, "examples")
    block = max(1, _BLOCK // units)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        drawn = random.integers(0, units, size=(rows, units), dtype=np.uint32)
        places = np.add(drawn, units * np.arange(rows)[:, None], dtype=np.intp)
        counts = np.bincount(places.ravel(), minlength=rows * units)
        yield counts.reshape(rows, units).astype(np.float32)


def task_counts(tasks: Sequence[str], *, draws: int = DRAWS) -> np.ndarray:
    """The count of each task in each draw, [draws, T]; as many as there are get drawn."""
    random = _generator("tasks", *tasks)
    return random.multinomial(len(tasks), np.full(len(tasks), 1 / len(tasks)), size=draws)


@lru_cache(maxsize=256)
def seed_deviations(
    eval_set: str, *, seeds: tuple[int, ...], draws: int = DRAWS, freedom: int | None = None
) -> np.ndarray:
    """Weights whose products with per-seed figures sum to a draw's deviation, [draws, S].

    Few seeds cannot be resampled directly: S of S with replacement have only (S − 1)/S of the
    variance (Hesterberg 2015, arXiv 1411.5279, "narrowness bias"), and with 3 seeds only 10
    different means. Random weights are used instead. The deviation of a mean, or of any linear
    contrast of figures with the same seeds, is then distributed as Student's t with S − 1 degrees
    of freedom times its standard error, as for a mean of S normal values. Rows sum to 0; with one
    seed they are 0, since one seed has no spread.

    Args:
        eval_set: the test set's name, which seeds the random numbers.
        seeds: the S seeds.
        draws: number of draws.
        freedom: degrees of freedom if the deviations are part of a mean over several test sets,
            whose spread is estimated more precisely than the spread of one (Welch 1947); None:
            S − 1.
    """
    count = len(seeds)
    if count == 1:
        return np.zeros((draws, 1))
    from scipy.special import fdtri

    normal = np.stack(
        [_generator(eval_set, "seed", seed).standard_normal(draws) for seed in seeds], axis=1
    )
    centred = normal - normal.mean(axis=1, keepdims=True)
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    # The squared length of a t vector over its dimension has an F distribution; its quantiles are
    # taken evenly spaced, in random order.
    across = count - 1
    quantiles = (_generator(eval_set, "length").permutation(draws) + 0.5) / draws
    lengths = np.sqrt(across * fdtri(across, freedom or across, quantiles))
    deviations = directions * lengths[:, None] / math.sqrt(count * across)
    deviations.setflags(write=False)
    return deviations


def _generator(*names: object) -> np.random.Generator:
    named = "\0".join(map(str, names)).encode()
    return np.random.Generator(np.random.PCG64DXSM(int(hashlib.sha256(named).hexdigest(), 16)))
