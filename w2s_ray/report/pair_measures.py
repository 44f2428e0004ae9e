"""Measures of two or three runs on the same rows: similarity, joint errors, misfit, blind spots.

Owns the definition of each measure. Its functions take arrays: the probabilities of C classes of N
examples by each run, float [N, C]; whether each run is right, bool [N]; and the places of the
classes, [N]. An undefined measure is None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from w2s_ray.report.measures import CERTAIN, Classes, Floats, Truths, log_loss

CONFIDENT = 0.75
"""A model is confident if its predicted class has more than this probability, else uncertain."""


def capa(first_NC: Floats, second_NC: Floats, *, labels_N: Classes) -> float | None:
    """Chance-adjusted probabilistic agreement of two models; 1 = equal and certain.

    κ = (o − e) / (1 − e). o is the mean probability that both give the same class if each draws its
    class from its probabilities [N, C]. e is the same for two independent models of these
    accuracies, with q the mean probability of the true class and errors spread evenly over the
    other classes: e = q₁q₂ + (1 − q₁)(1 − q₂) / (C − 1) (Goel et al. 2025, arXiv 2502.04313,
    section 2). None if both are certain and right everywhere.
    """
    observed = np.mean((first_NC * second_NC).sum(axis=1))
    at_N = np.arange(len(labels_N)), labels_N.astype(np.int64)
    one, other = (np.mean(p_NC[at_N]) for p_NC in (first_NC, second_NC))
    expected = one * other + (1 - one) * (1 - other) / (first_NC.shape[1] - 1)
    return float((observed - expected) / (1 - expected)) if expected < 1 else None


def error_correlation(first_N: Truths, second_N: Truths) -> float | None:
    """Pearson's correlation of two models' errors (the phi coefficient).

    With a, b, c, d the numbers of examples with both right, only the first, only the second, and
    neither: φ = (ad − bc) / √((a + b)(c + d)(a + c)(b + d)). 0 = independent errors. None if a
    model is right everywhere or nowhere.
    """
    if any(right_N.all() or not right_N.any() for right_N in (first_N, second_N)):
        return None
    return float(np.corrcoef(first_N, second_N)[0, 1])


def union_ceiling(weak_N: Truths, *, ceiling_N: Truths) -> float:
    """Accuracy of the ceiling's prediction where it is right, and the supervisor's elsewhere.

    It is the share of examples on which at least one of them is right: what a student would reach
    that had all knowledge of both (Goel et al. 2025, arXiv 2502.04313, section 4).
    """
    return float(np.mean(weak_N | ceiling_N))


@dataclass(frozen=True)
class Quadrant:
    """The student on the examples with one combination of right and wrong of the other two."""

    examples: int
    accuracy: float | None
    """The student's; None without examples."""


@dataclass(frozen=True)
class Quadrants:
    """The student by whether supervisor and ceiling are right (Goel et al. 2025, section 4).

    Accuracy where only the ceiling is right is elicited knowledge; where only the supervisor is
    right, complementary knowledge that the student took over.
    """

    both_right: Quadrant
    only_weak_right: Quadrant
    only_ceiling_right: Quadrant
    both_wrong: Quadrant


def quadrants(student_N: Truths, *, weak_N: Truths, ceiling_N: Truths) -> Quadrants:
    """The student's accuracy by whether the supervisor and the ceiling are right."""

    def of(chosen_N: Truths) -> Quadrant:
        examples = int(chosen_N.sum())
        return Quadrant(examples, float(student_N[chosen_N].mean()) if examples else None)

    return Quadrants(
        both_right=of(weak_N & ceiling_N),
        only_weak_right=of(weak_N & ~ceiling_N),
        only_ceiling_right=of(~weak_N & ceiling_N),
        both_wrong=of(~weak_N & ~ceiling_N),
    )


@dataclass(frozen=True)
class Misfit:
    """A student's divergence from its supervisor, and its gain over it in the same unit.

    For a student that is the best fit to the supervisor in a convex set of models which has the
    truth, the gain is at least the misfit (Charikar et al. 2024, arXiv 2405.15116, theorem 1, for
    squares; Mulgund and Pabbaraju 2025, arXiv 2501.19105, for Bregman divergences, here the one of
    cross-entropy). So the misfit, which needs no labels, predicts the gain.
    """

    squared: float
    """Mean of ½ Σ (p − p_w)² over the classes, p by the student and p_w by the supervisor; with two
    classes it is the square of one difference."""
    squared_gain: float
    """The supervisor's mean squared error (Brier score, with the same ½) minus the student's."""
    nats: float
    """Mean of KL(p ‖ p_w) in nats."""
    nats_gain: float
    """The supervisor's log loss minus the student's, in nats."""


def misfit(student_NC: Floats, *, supervisor_NC: Floats, labels_N: Classes) -> Misfit:
    """The misfit and the gain; in logarithms, probabilities are clipped by `CERTAIN`."""
    truth_NC = np.eye(student_NC.shape[1])[labels_N.astype(np.int64)]
    both = student_NC, supervisor_NC
    p_NC, q_NC = (np.clip(p_NC, CERTAIN, 1 - CERTAIN) for p_NC in both)
    student, weak = (_squared(p_NC, truth_NC) for p_NC in both)
    losses = [log_loss(p_NC, labels_N=labels_N) for p_NC in (supervisor_NC, student_NC)]
    return Misfit(
        squared=_squared(*both),
        squared_gain=weak - student,
        nats=float((p_NC * np.log(p_NC / q_NC)).sum(axis=1).mean()),
        nats_gain=losses[0] - losses[1],
    )


@dataclass(frozen=True)
class BlindSpots:
    """Examples on which the supervisor is uncertain."""

    uncertain: float
    """Share of examples on which the supervisor is uncertain."""
    blind: float
    """Share of examples on which, besides, the student is confident and wrong."""


def blind_spots(student_NC: Floats, *, supervisor_NC: Floats, labels_N: Classes) -> BlindSpots:
    """Shares of examples on which the student is confidently wrong where its supervisor is unsure.

    The supervisor's weak labels can't correct such errors (Osooli et al. 2026, arXiv 2604.25077).
    Both models are judged by the same bound on the predicted class's probability, `CONFIDENT`.
    """
    unsure_N = ~_confident(supervisor_NC)
    wrong_N = student_NC.argmax(axis=1) != labels_N
    return BlindSpots(
        uncertain=float(unsure_N.mean()),
        blind=float((unsure_N & _confident(student_NC) & wrong_N).mean()),
    )


def outperforming_ratio(student: float, *, weak: float) -> float | None:
    """The student's accuracy over its supervisor's (Dong et al. 2025, arXiv 2502.05075).

    It is above 1 for a better student, and needs no ceiling. None for a supervisor that is never
    right.
    """
    return student / weak if weak else None


def _squared(first_NC: Floats, second_NC: Floats) -> float:
    return float(np.square(first_NC - second_NC).sum(axis=1).mean() / 2)


def _confident(probabilities_NC: Floats) -> Truths:
    return probabilities_NC.max(axis=1) > CONFIDENT
