"""Boosting in series: how much each of several classifiers counts, and the weights of rows.

Owns AdaBoost (Freund and Schapire 1997), for several classes as SAMME (Zhu et al. 2009), from the
errors of classifiers that were trained one after the other. It trains nothing. Shapes: M
classifiers, N rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def boosted(wrong_MN: np.ndarray, *, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """votes_M of the classifiers and weights_N of the rows for the next one, float64.

    `wrong_MN` tells on which rows each classifier errs. Weights begin equal and sum to 1. With e
    the weight of a classifier's errors and C `classes`, its vote is a = 1/2 (ln((1 - e) / e) +
    ln(C - 1)); rows on which it errs are multiplied by exp(a), the others by exp(-a).

    The series ends at a classifier that is no better than chance (e >= 1 - 1/C), as in SAMME: it
    and those after it have no vote and change no weight. If this is the first one, it alone has a
    vote. An e below half a row's equal weight counts as that, so that votes are finite.
    """
    import numpy as np

    count, rows = wrong_MN.shape
    votes_M, weights_N = np.zeros(count), np.full(rows, 1 / rows)
    for number, wrong_N in enumerate(wrong_MN):
        error = float(weights_N[wrong_N].sum())
        if error >= 1 - 1 / classes - 1e-9:
            break
        error = max(error, 1 / (2 * rows))
        vote = (np.log((1 - error) / error) + np.log(classes - 1)) / 2
        votes_M[number] = vote
        weights_N = weights_N * np.exp(np.where(wrong_N, vote, -vote))
        weights_N = weights_N / weights_N.sum()
    if not votes_M.any():
        votes_M[0] = 1.0
    return votes_M, weights_N
