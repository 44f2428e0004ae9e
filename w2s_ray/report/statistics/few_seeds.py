"""How many seeds a gap needs: what two or three seeds can't show, and how many could.

Owns the number of seeds at which a gap's 95 % interval would lie above 0. It reads no store.
"""

from __future__ import annotations

import math

FEW = 3
"""At most this many seeds give intervals over seeds that are wide whatever the figures: Student's t
has one or two degrees of freedom."""
MOST = 100
"""More seeds than this are no advice."""


def spreads_needed(seeds: int) -> float:
    """The gap that `seeds` seeds can tell from 0, in standard deviations of the gap over seeds.

    It is t / √S, with Student's t at 97.5 % and S − 1 degrees of freedom: 9.0 for two seeds, 2.5
    for three, 1.2 for five. Infinite for one seed. Test rows without noise are assumed.
    """
    from scipy.special import stdtrit

    return math.inf if seeds < 2 else float(stdtrit(seeds - 1, 0.975)) / math.sqrt(seeds)


def enough_seeds(*, gap: float, sd: float, low: float, high: float, seeds: int) -> int | None:
    """The fewest seeds at which the gap's interval would lie above 0; None if 100 are too few.

    Gap and spread are taken to stay as they are. The measured interval's half width h has a part of
    the seeds, t·sd / √S, and a part of the test rows, which more seeds do not change; both are
    taken to add in quadrature.

    Args:
        gap: mean over the seeds, ceiling minus supervisor.
        sd: sample standard deviation of the gap over the seeds.
        low: lower bound of the gap's 95 % interval over seeds and test rows.
        high: its upper bound.
        seeds: number of seeds that these figures are from, at least 2.
    """
    of_seeds = spreads_needed(seeds) * sd
    of_rows = math.sqrt(max(0.0, ((high - low) / 2) ** 2 - of_seeds**2))
    return next(
        (
            count
            for count in range(2, MOST + 1)
            if math.hypot(spreads_needed(count) * sd, of_rows) < gap
        ),
        None,
    )
