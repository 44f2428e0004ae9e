"""The runs behind a row's figures, in the form that the bootstrap takes."""

from __future__ import annotations

from collections.abc import Sequence

from w2s_ray.report.statistics import Group, Trio
from w2s_ray.report.table_rows import SeedRow


def group_of(seeds: Sequence[SeedRow]) -> Group:
    """The runs of some complete seeds of one task, pair and method.

    Raises:
        ValueError: a seed without a student.
    """
    students = [seed.student for seed in seeds if seed.student is not None]
    trios = (
        Trio(seed.supervisor, student, seed.ceiling)
        for seed, student in zip(seeds, students, strict=True)
    )
    return Group(tuple(seed.seed for seed in seeds), tuple(trios))
