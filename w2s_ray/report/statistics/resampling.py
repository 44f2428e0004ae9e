"""The random numbers of the bootstrap: resamples of a test set's examples and of seeds.

Owns how often an example counts in each draw, and how far a mean over seeds is moved in it. The
numbers follow from names alone (the test set's, a seed's), so every process and every order of
asking gets the same, and all that is measured on one test set is paired. It knows nothing of
accuracies.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

DRAWS = 2000
"""Draws of a bootstrap: a bound's Monte Carlo error is then about 6 % of the standard error."""

_BLOCK = 1_000_000
"""Counts that are made at once, at 8 bytes each."""


def unit_counts(eval_set: str, *, units: int, draws: int = DRAWS) -> Iterator[np.ndarray]:
    """Blocks of draws: how often each of `units` is drawn, float32 [b, units], rows sum to `units`.

    Units are drawn with replacement, as many as there are. `eval_set` names them.
    """
    random = _generator(eval_set, "examples")
    block = max(1, _BLOCK // units)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        drawn = random.integers(0, units, size=(rows, units), dtype=np.uint32)
        places = np.add(drawn, units * np.arange(rows)[:, None], dtype=np.intp)
        counts = np.bincount(places.ravel(), minlength=rows * units)
        yield counts.reshape(rows, units).astype(np.float32)


@lru_cache(maxsize=256)
def seed_deviations(
    eval_set: str, *, seeds: tuple[int, ...], draws: int = DRAWS, freedom: int | None = None
) -> np.ndarray:
    """What to multiply per-seed figures by to get a draw's deviation from their mean, [draws, S].

    Few seeds cannot be resampled as they are: S of S with replacement have only (S − 1)/S of the
    variance (Hesterberg 2015, arXiv 1411.5279, "narrowness bias"), and with 3 seeds only 10
    different means. So seeds get random weights instead. The deviation of a mean, or of any linear
    contrast of figures measured under the same seeds, is then distributed as Student's t with S − 1
    degrees of freedom, times its standard error: what a mean of S normal values asks for. Rows sum
    to 0; with one seed they are 0, since one seed says nothing of others.

    Args:
        test_set: whose name the numbers follow from.
        seeds: the S seeds.
        draws: how many.
        freedom: degrees of freedom where it is a mean over several test sets that these deviations
            are summed up to, whose spread is then better known than that of one (Welch 1947);
            None: S − 1.
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
    # A t vector's squared length over its dimension is F; evenly spaced quantiles of it, shuffled.
    across = count - 1
    quantiles = (_generator(eval_set, "length").permutation(draws) + 0.5) / draws
    lengths = np.sqrt(across * fdtri(across, freedom or across, quantiles))
    deviations = directions * lengths[:, None] / math.sqrt(count * across)
    deviations.setflags(write=False)
    return deviations


def _generator(*names: object) -> np.random.Generator:
    named = "\0".join(map(str, names)).encode()
    return np.random.Generator(np.random.PCG64DXSM(int(hashlib.sha256(named).hexdigest(), 16)))
