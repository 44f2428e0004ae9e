"""Performance gap recovered: its one definition, and when it has none.

Knows three numbers and nothing of where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

ROUNDING = 1e-9
"""A gap below this share of the accuracies is the rounding of a mean, not a gap."""


@dataclass(frozen=True)
class Pgr:
    """A PGR, or why there is none."""

    value: float | None
    """1 = the whole gap, 0 = no better than the supervisor; may be negative or above 1."""
    reason: str | None = None
    """Why `value` is None."""


def pgr(weak: float, *, student: float, ceiling: float) -> Pgr:
    """The share of the gap between supervisor and ceiling that the student recovers.

    PGR = (student − weak) / (ceiling − weak), all three measured on the same test set (Burns et
    al. 2023, arXiv 2312.09390, section 3). It is never clipped. Where the ceiling does not beat
    the supervisor there is no gap to recover, and no PGR.

    The paper's vision experiment as a check: AlexNet 56.6 %, DINO ViT-B/8 74.0 %, its student
    66.6 %: PGR = 10.0 / 17.4 = 57.5 %.
    """
    gap = ceiling - weak
    if not gap > ROUNDING * max(abs(weak), abs(ceiling)):
        return Pgr(None, f"ceiling does not beat the supervisor (gap {gap:+.3f})")
    return Pgr((student - weak) / gap)
