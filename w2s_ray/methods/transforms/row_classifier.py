"""A small classifier of activations: the probability that a label is right, learned from few rows.

Owns its training: scaled inputs, at most one hidden layer, L-BFGS, and no draw but of the first
weights. Shapes: S rows to learn from, N rows to score, D width of the activations.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from w2s_ray.errors import InputError

if TYPE_CHECKING:
    import numpy as np

_STEPS = 1000
"""Most steps of L-BFGS."""
_SMALLEST_SPREAD = 1e-6


def right_probabilities(
    known_SD: np.ndarray,
    right_S: np.ndarray,
    activations_ND: np.ndarray,
    *,
    hidden: int,
    l2: float,
    seed: Sequence[int],
    of: str,
) -> np.ndarray:
    """The probability that each row's label is right, float64 [N].

    It minimizes the mean cross-entropy plus l2 / (2 S) times the squared norm of the weights;
    biases are free. `hidden` is the width of the hidden layer; 0 is logistic regression. `of` names
    the labels in errors.

    Raises:
        InputError: all labels of the slice are right, or none.
    """
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning

    if right_S.all() or not right_S.any():
        share = "all" if right_S.any() else "none"
        raise InputError(
            f"{of} is right on {share} of {len(right_S)} rows with known truth, so that nothing "
            "can be learned from them; raise truth.rows, or set truth.of to another part"
        )
    wide_SD = known_SD.astype(np.float64)
    mean_D, spread_D = wide_SD.mean(axis=0), wide_SD.std(axis=0)
    spread_D = np.where(spread_D > _SMALLEST_SPREAD, spread_D, 1.0)
    model = _model(hidden, l2, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((wide_SD - mean_D) / spread_D, right_S.astype(int))
    return model.predict_proba((activations_ND.astype(np.float64) - mean_D) / spread_D)[:, 1]


def _model(hidden: int, l2: float, seed: Sequence[int]) -> Any:
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    if hidden == 0:
        return LogisticRegression(C=1 / l2, max_iter=_STEPS, tol=1e-8)
    first = int(np.random.default_rng(seed).integers(2**31))
    return MLPClassifier(
        (hidden,), alpha=l2, solver="lbfgs", max_iter=_STEPS, tol=1e-8, random_state=first
    )
