"""Figures of one run's predictions: accuracy, AUC, log loss, calibration, agreement.

Owns the definition of each figure. Its functions take arrays: P(class 1) of N examples, float [N],
and their classes, 0 or 1 (or False and True), [N]; or probabilities of C classes, [N, C], and the
classes' places. Equal probabilities count as the first class, as in a fit's own figures. An
undefined figure is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]
Classes = np.ndarray[Any, np.dtype[np.integer]] | Truths

BINS = 15
"""Bins of a reliability table."""
CERTAIN = 2.0**-24
"""Probabilities come from float32, which has no number between 1 minus this and 1; log losses clip
probabilities to this distance from 0 and 1."""


def two_classes(probabilities_N: Floats) -> Floats:
    """P(class 1) as the distributions over both classes, [N, 2]."""
    return np.stack([1 - probabilities_N, probabilities_N], axis=1)


def predicted(probabilities_N: Floats) -> Truths:
    """Whether class 1 is predicted, [N]."""
    return probabilities_N > 0.5


def auc(probabilities_N: Floats, *, labels_N: Classes) -> float | None:
    """Area under the ROC curve; None if all examples have one class.

    The share of (class 1, class 0) pairs of examples in which the example of class 1 has the higher
    probability; ties count half. This is Mann and Whitney's U over the number of pairs.
    """
    positives_P = probabilities_N[labels_N == 1]
    negatives_Q = np.sort(probabilities_N[labels_N == 0])
    pairs = len(positives_P) * len(negatives_Q)
    if not pairs:
        return None
    below, up_to = (np.searchsorted(negatives_Q, positives_P, side) for side in ("left", "right"))
    return float((below.sum() + up_to.sum()) / (2 * pairs))


def auc_of_classes(probabilities_NC: Floats, *, labels_N: Classes) -> float | None:
    """The mean of `auc` over ordered pairs of classes; None if all examples have one class.

    For classes i and j it compares P(class i) of the examples of both (Hand and Till 2001,
    doi:10.1023/A:1010920819831, equation 7). Classes without examples are left out.
    """
    found = []
    for i, j in permutations(np.unique(labels_N), 2):
        both_N = (labels_N == i) | (labels_N == j)
        found.append(auc(probabilities_NC[both_N, i], labels_N=labels_N[both_N] == i))
    return float(np.mean(found)) if found else None


def log_loss(probabilities_NC: Floats, *, labels_N: Classes) -> float:
    """Mean cross-entropy with the labels in nats; probabilities are clipped by `CERTAIN`."""
    of_label_N = probabilities_NC[np.arange(len(labels_N)), labels_N.astype(np.int64)]
    return float(-np.log(np.clip(of_label_N, CERTAIN, 1 - CERTAIN)).mean())


@dataclass(frozen=True)
class Bin:
    """Examples of similar confidence: low < confidence <= high."""

    low: float
    high: float
    count: int
    confidence: float | None
    """Mean probability of the predicted class; None in an empty bin."""
    accuracy: float | None
    """Share of correct predictions; None in an empty bin."""


def reliability(probabilities_NC: Floats, *, labels_N: Classes) -> list[Bin]:
    """Bins of rising confidence, with the share of correct predictions in each.

    The confidence is the predicted class's probability, in `BINS` bins of equal width over [0, 1]
    (Guo et al. 2017, arXiv 1706.04599, section 2). With C classes it is at least 1 / C, so the bins
    below that are left out.
    """
    confidence_N = probabilities_NC.max(axis=1)
    right_N = probabilities_NC.argmax(axis=1) == labels_N
    edges = np.linspace(0, 1, BINS + 1)
    bin_N = np.digitize(confidence_N, edges[1:-1], right=True)
    counts, confidences, rights = (
        np.bincount(bin_N, weights, minlength=BINS) for weights in (None, confidence_N, right_N)
    )
    return [
        Bin(
            low=float(edges[k]),
            high=float(edges[k + 1]),
            count=int(counts[k]),
            confidence=float(confidences[k] / counts[k]) if counts[k] else None,
            accuracy=float(rights[k] / counts[k]) if counts[k] else None,
        )
        for k in range(BINS)
        if edges[k + 1] > 1 / probabilities_NC.shape[1] - 1e-9
    ]


def calibration_error(probabilities_NC: Floats, *, labels_N: Classes) -> float:
    """Expected calibration error; 0 = confidence equals accuracy in every bin.

    The mean of |accuracy − confidence| over the bins of `reliability`, weighted by their numbers of
    examples (Guo et al. 2017, equation 3).
    """
    found = reliability(probabilities_NC, labels_N=labels_N)
    gaps = (
        b.count * abs(b.accuracy - b.confidence)
        for b in found
        if b.accuracy is not None and b.confidence is not None
    )
    return sum(gaps) / len(labels_N)


@dataclass(frozen=True)
class Agreement:
    """Share of examples on which a student predicts its supervisor's class."""

    overall: float
    where_right: float | None
    """Among the examples on which the supervisor is right; None if there are none."""
    where_wrong: float | None
    """Among the examples on which the supervisor is wrong: the share of its errors that the student
    repeats. None if there are none."""


def agreement(student_N: Floats, *, supervisor_N: Floats, labels_N: Classes) -> Agreement:
    """Student-supervisor agreement, overall and by whether the supervisor is right.

    The measure in Burns et al. 2023 (arXiv 2312.09390, the section on student-supervisor
    agreement): low agreement where the supervisor is wrong, with high agreement where it is right,
    is generalization; equal agreement in both is imitation.
    """
    weak_N = predicted(supervisor_N)
    same_N = predicted(student_N) == weak_N
    return agreement_shares(same_N, right_N=weak_N == (labels_N == 1))


def agreement_shares(same_N: Truths, *, right_N: Truths) -> Agreement:
    """The agreement, from whether predictions are equal (`same_N`) and the supervisor is right."""
    return Agreement(
        overall=float(same_N.mean()),
        where_right=float(same_N[right_N].mean()) if right_N.any() else None,
        where_wrong=float(same_N[~right_N].mean()) if not right_N.all() else None,
    )
