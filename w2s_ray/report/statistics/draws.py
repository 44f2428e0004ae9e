"""Joint draws of all accuracies on one test set, by a bootstrap of crossed seeds and examples.

All runs of a task, whatever their seed, are measured on the same test examples, so seeds and
examples are crossed, not nested. Draw b uses the same resample of the examples for every run, and
the same seed weights for every mean over the same seeds. Supervisor, student, ceiling and methods
therefore stay paired, and a difference of draws is a draw of the difference. It reads no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from w2s_ray.report.pgr import recovered
from w2s_ray.report.statistics.groups import Trio
from w2s_ray.report.statistics.intervals import Interval, interval
from w2s_ray.report.statistics.resampling import DRAWS, seed_deviations, unit_counts

_EXACT = 2**23
"""Float32 sums of counts are exact up to twice this."""


@dataclass(frozen=True)
class Draws:
    """Accuracies of R runs on one test set, and on B resamples of its examples."""

    eval_set: str
    """The test set's name: the split's fingerprint."""
    rows: Mapping[str, int]
    """Run id -> its row in the arrays below."""
    accuracy: np.ndarray
    """[R], on the test set itself."""
    resampled: np.ndarray
    """[R, B], on each resample of the test set."""

    def of_mean(self, runs: Mapping[int, str], *, freedom: int | None = None) -> np.ndarray:
        """Draws [B] of the mean accuracy over seeds, with seeds and examples resampled.

        The deviation of the seeds is added on the logit scale (by the delta method, d logit(p) =
        dp / (p (1 − p))). Accuracies near 1 vary more below their mean than above it, which an
        interval that is symmetric in accuracy does not allow for.

        Args:
            runs: seed -> run id. With one seed, the draws are over examples alone.
            freedom: as for `seed_deviations`.
        """
        seeds = tuple(sorted(runs))
        at_S = [self.rows[runs[seed]] for seed in seeds]
        drawn_B = self.resampled[at_S].mean(axis=0)
        mean = float(self.accuracy[at_S].mean())
        if len(seeds) == 1 or mean in (0.0, 1.0):
            return drawn_B
        from scipy.special import expit, logit

        weights_BS = seed_deviations(
            self.eval_set, seeds=seeds, draws=self.resampled.shape[1], freedom=freedom
        )
        deviation_B = weights_BS @ self.accuracy[at_S]
        return expit(logit(drawn_B) + deviation_B / (mean * (1 - mean)))

    def of_row(self, trios: Mapping[int, Trio], *, freedom: int | None = None) -> RowDraws:
        """Joint draws of the means of a row's three roles; `trios`: seed -> its three runs."""
        return RowDraws(
            *(
                self.of_mean({seed: trio[role] for seed, trio in trios.items()}, freedom=freedom)
                for role in range(len(Trio._fields))
            )
        )


@dataclass(frozen=True)
class RowDraws:
    """Joint draws [B] of the mean accuracies of supervisor, student and ceiling."""

    weak: np.ndarray
    student: np.ndarray
    ceiling: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """[B], ceiling minus supervisor."""
        return self.ceiling - self.weak

    @property
    def gain(self) -> np.ndarray:
        """[B], student minus supervisor."""
        return self.student - self.weak

    @property
    def pgr(self) -> np.ndarray:
        """[B]; a draw without a positive gap is infinite, with the sign of the gain.

        The percentile interval of these draws is Fieller's, with bootstrap draws in place of normal
        theory: the θ for which the draws of (student − weak) − θ (ceiling − weak) have 0 in their
        interval. If the gap's interval lies above 0, fewer than 2.5 % of draws are infinite, so
        both bounds are finite; otherwise no finite interval would be correct.
        """
        gain_B, gap_B = self.gain, self.gap
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio_B = recovered(self.weak, student=self.student, ceiling=self.ceiling)
        return np.where(gap_B > 0, ratio_B, np.where(gain_B > 0, np.inf, -np.inf))

    def intervals(self) -> RowIntervals:
        """The 95 % intervals of the row's figures."""
        gap, gain = (interval(drawn).clipped(-1.0, 1.0) for drawn in (self.gap, self.gain))
        weak, student, ceiling = (
            interval(drawn).clipped(0.0, 1.0) for drawn in (self.weak, self.student, self.ceiling)
        )
        return RowIntervals(
            weak, student, ceiling, gap, gain, pgr=interval(self.pgr) if gap.low > 0 else None
        )


class RowIntervals(NamedTuple):
    """95 % intervals of a row's means, their gap, the student's gain, and PGR."""

    weak: Interval
    student: Interval
    ceiling: Interval
    gap: Interval
    gain: Interval
    """Student minus supervisor."""
    pgr: Interval | None
    """None if the gap's interval does not lie above 0."""


def accuracy_draws(
    correct_NR: np.ndarray,
    *,
    runs: Sequence[str],
    eval_set: str,
    unit_N: np.ndarray | None = None,
    draws: int = DRAWS,
) -> Draws:
    """Draws of the accuracy of R runs on the N examples of one test set.

    Args:
        correct_NR: 1 where a run is right, else 0; examples in the test set's own order.
        runs: ids of the R runs.
        eval_set: the test set's name, which seeds the random numbers.
        unit_N: number of each example's resampling unit, 0 to G − 1: related examples, such as the
            right and the wrong answer to one question, share a unit. None: one unit per example.

    Raises:
        ValueError: no examples, or shapes that do not match.
    """
    examples, columns = correct_NR.shape
    if examples == 0 or columns != len(runs):
        raise ValueError(
            f"correctness of shape {correct_NR.shape} for {len(runs)} runs on {eval_set}; "
            "give one row per test example and one column per run"
        )
    right_GR, size_G = _per_unit(correct_NR, unit_N)
    resampled_RB = np.empty((columns, draws))
    done = 0
    for counts_bG in unit_counts(eval_set, units=len(size_G), draws=draws):
        block = slice(done, done + len(counts_bG))
        drawn_b = (counts_bG @ size_G).astype(np.float64)
        resampled_RB[:, block] = (counts_bG @ right_GR).T / drawn_b
        done = block.stop
    accuracy_R = right_GR.sum(axis=0, dtype=np.float64) / examples
    return Draws(eval_set, {run: row for row, run in enumerate(runs)}, accuracy_R, resampled_RB)


def _per_unit(correct_NR: np.ndarray, unit_N: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Number of correct examples of each run in each unit [G, R], and each unit's size [G]."""
    exact = np.float32 if len(correct_NR) < _EXACT else np.float64
    if unit_N is None:
        return correct_NR.astype(exact), np.ones(len(correct_NR), exact)
    order_N = np.argsort(unit_N, kind="stable")
    size_G = np.bincount(unit_N)
    starts_G = np.cumsum(size_G) - size_G
    right_GR = np.add.reduceat(correct_NR[order_N], starts_G, axis=0, dtype=exact)
    return right_GR, size_G.astype(exact)
