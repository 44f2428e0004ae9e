"""Performance gap recovered (PGR): its one definition, and when it is undefined.

Its functions take three accuracies as plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

F = TypeVar("F", "float", "np.ndarray")

SMALL_GAP = 0.02
"""PGR divides by the gap: below this gap (a share of the test rows), a few rows change it by much,
and tables show it in grey."""
ROUNDING = 1e-9
"""A gap below this share of the accuracies is a rounding error of a mean, not a gap."""


@dataclass(frozen=True)
class Pgr:
    """A PGR, or the reason why there is none."""

    value: float | None
    """1 = the whole gap, 0 = no better than the supervisor; may be negative or above 1."""
    estimate: float | None = None
    """The same wherever the measured gap is above 0, also if the gap's interval is not."""
    reason: str | None = None
    """Why `value` is None."""
    caution: str | None = None
    """Why `value` says little."""


def pgr(
    weak: float, *, student: float, ceiling: float, gap_within: tuple[float, float] | None = None
) -> Pgr:
    """The share of the gap between supervisor and ceiling that the student recovers.

    PGR = (student − weak) / (ceiling − weak), all three measured on the same test set (Burns et
    al. 2023, arXiv 2312.09390, section 3). It is never clipped. If the ceiling does not beat the
    supervisor, there is no gap to recover and no PGR; nor if the gap's confidence interval
    `gap_within` is given and does not lie above 0.

    The paper's vision experiment as a check: AlexNet 56.6 %, DINO ViT-B/8 74.0 %, its student
    66.6 %: PGR = 10.0 / 17.4 = 57.5 %.
    """
    gap = ceiling - weak
    size = f"gap {gap:+.3f}"
    if gap_within is not None:
        size += f", 95 % interval {gap_within[0]:+.3f} to {gap_within[1]:+.3f}"
    if not gap > ROUNDING * max(abs(weak), abs(ceiling)):
        return Pgr(None, reason=f"ceiling does not beat the supervisor ({size})")
    value = recovered(weak, student=student, ceiling=ceiling)
    if gap_within is not None and not gap_within[0] > 0:
        uncertain = f"ceiling does not beat the supervisor for certain ({size})"
        return Pgr(None, estimate=value, reason=uncertain)
    small = f"PGR divides by a gap below {100 * SMALL_GAP:g} points ({size})"
    return Pgr(value, estimate=value, caution=small if gap < SMALL_GAP else None)


def recovered(weak: F, *, student: F, ceiling: F) -> F:
    """The formula of PGR, for numbers or arrays of one shape; the caller checks the gap."""
    return (student - weak) / (ceiling - weak)
