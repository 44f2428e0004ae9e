"""Wilcoxon's signed-rank test that differences are symmetric about zero, and Holm's correction.

Owns the smallest number of differences for a test. Its functions take plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

FEWEST = 6
"""With fewer differences p exceeds 5 % even if all have one sign: 2 / 2**5 = 0.0625."""
_DIGITS = 12
"""Differences are rounded to this many digits, so that rounding errors don't break ties."""


@dataclass(frozen=True)
class Test:
    """A two-sided p value, or why there is none."""

    p: float | None
    reason: str | None = None
    """Why `p` is None."""


def signed_rank(differences: Sequence[float]) -> Test:
    """Wilcoxon's signed-rank test that the differences are symmetric about zero.

    Zero differences are dropped. The p value is exact where scipy can give it (no ties up to 50
    differences, otherwise up to 13) and from the normal approximation beyond.
    """
    rounded = [round(difference, _DIGITS) for difference in differences]
    differing = [difference for difference in rounded if difference]
    if len(differing) < FEWEST:
        return Test(
            None,
            f"{len(differing)} of {len(rounded)} rows differ; below {FEWEST} no signed-rank test "
            "can reject at 5 %",
        )
    from scipy.stats import wilcoxon

    _, p = cast("tuple[float, float]", wilcoxon(differing))
    return Test(float(p))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of one family, corrected for multiple tests.

    The smallest of m is multiplied by m, the next by m - 1 and so on, and the results are made
    non-decreasing (Holm 1979, "A simple sequentially rejective multiple test procedure").
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    scaled = (min(1.0, (len(order) - i) * p_values[at]) for i, at in enumerate(order))
    corrected = dict(zip(order, accumulate(scaled, max), strict=True))
    return [corrected[at] for at in range(len(p_values))]
