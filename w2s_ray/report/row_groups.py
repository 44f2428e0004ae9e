"""The runs behind a row's figures, in the form that the bootstrap takes."""

from __future__ import annotations

from collections.abc import Sequence

from w2s_ray.report.statistics import Group, Trio
from w2s_ray.report.table_rows import SeedRow


def group_of(seeds: Sequence[SeedRow]) -> Group:
    """The runs of some complete seeds of one task, pair and method.

    Raises:
        ValueError: a seed without one of its runs.
    """
    trios = [
        Trio(seed.supervisor, seed.student, seed.ceiling)
        for seed in seeds
        if seed.supervisor and seed.student and seed.ceiling
    ]
    if len(trios) < len(seeds):
        raise ValueError("a seed has no student, supervisor or ceiling; give complete seeds")
    return Group(tuple(seed.seed for seed in seeds), tuple(trios))
