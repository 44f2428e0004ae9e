"""What few seeds can show: a line for a plan, from the number of seeds and from results so far.

Owns the words. It reads the PGR table and computes no figures of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from w2s_ray.report.statistics.few_seeds import FEW, spreads_needed
from w2s_ray.report.table_rows import Row


def few_seeds_warning(seeds: int, rows: Iterable[Row] = ()) -> str | None:
    """What intervals of fewer than three seeds leave out, and how many seeds would be enough.

    Args:
        seeds: number of seeds in the sweep.
        rows: the sweep's rows so far; those with at least two seeds say what is enough for their
            gap.
    """
    if seeds >= FEW:
        return None
    needed = "; ".join(f"{count}: {spreads_needed(count):.1f}" for count in (2, 3, 5))
    needs = (
        "a gap has an interval above 0 only if it is this many times its standard deviation over "
        f"seeds, by the number of seeds: {needed}"
    )
    if seeds == 1:
        return f"1 seed: intervals are about these runs alone, not about other seeds; {needs}"
    return f"{seeds} seeds: {_so_far(rows) or needs}"


def _so_far(rows: Iterable[Row]) -> str | None:
    """How many seeds the measured gaps need."""
    known = [row for row in rows if row.seeds > 1 and not row.control]
    places = {(row.task, row.weak, row.strong): row.enough_seeds for row in known}
    if not places:
        return None
    enough = [count for count in places.values() if count is not None]
    parts = []
    if enough:
        parts = [
            f"by the results so far, {max(enough)} would be enough for the gaps of "
            f"{len(enough)} of {len(places)} tasks and pairs"
        ]
    if len(enough) < len(places):
        parts += [f"{len(places) - len(enough)} have a gap that more seeds would not show"]
    return "; ".join(parts)
