"""Rankings of a sweep's methods over the tasks and pairs that all of them have.

Owns which methods and rows are ranked, over which seeds, and which are left out and counted. A row
is ranked by student accuracy: its methods share supervisor and ceiling, so PGR gives the same order
and would need a gap. `report.rank_draws` computes intervals over seeds and test examples,
`report.statistics.new_tasks` those over tasks. It renders nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import fmean

import numpy as np

from w2s_ray.report.common_rows import Place, on_all_tasks, place_of
from w2s_ray.report.objectives import RowObjective, counted
from w2s_ray.report.rank_draws import RankDraws, RowDrawsSummary, ranks_of, row_summary, summarized
from w2s_ray.report.ranking import MethodRank, PairwiseWins, Ranking
from w2s_ray.report.row_groups import group_of
from w2s_ray.report.statistics import Group
from w2s_ray.report.statistics.intervals import LEVEL
from w2s_ray.report.statistics.new_tasks import ONE_TASK, Over, mean_draws
from w2s_ray.report.table_rows import PgrTable, SeedRow
from w2s_ray.store import Store


def rank(table: PgrTable, store: Store, *, over_tasks: bool = False) -> tuple[Ranking, ...]:
    """The ranking of the methods of each sweep in `table`; controls are no methods.

    Args:
        table: the rows to rank.
        store: the store with the runs' predictions.
        over_tasks: draw whole tasks, for a claim about new tasks; otherwise intervals are for
            these tasks and pairs, over seeds and test examples.
    """
    sweeps = dict.fromkeys(row.sweep for row in table.rows)
    return tuple(_ranking(table, sweep, store, over_tasks=over_tasks) for sweep in sweeps)


@dataclass(frozen=True)
class _Rows:
    """R rows that all M ranked methods have."""

    places: tuple[Place, ...]
    seeds: tuple[tuple[tuple[SeedRow, ...], ...], ...]
    """[R][M]: the seeds that are complete in all methods of a row."""

    @property
    def tasks(self) -> list[str]:
        return [task for task, _, _ in self.places]

    @property
    def accuracies(self) -> np.ndarray:
        """[R, M], means over seeds."""
        return np.array(
            [
                [fmean(seed.student_accuracy or 0.0 for seed in seeds) for seeds in row]
                for row in self.seeds
            ]
        )

    @property
    def groups(self) -> list[list[Group]]:
        return [[group_of(seeds) for seeds in row] for row in self.seeds]

    @property
    def fewest_seeds(self) -> int:
        return min(len(row[0]) for row in self.seeds)


def _ranking(table: PgrTable, sweep: str, store: Store, *, over_tasks: bool) -> Ranking:
    rows = [row for row in table.rows if row.sweep == sweep and not row.control]
    complete = _complete(table, sweep)
    objectives: dict[str, RowObjective] = {}
    excluded, left_out = [], set()
    everywhere, tasks = on_all_tasks(rows), {row.task for row in rows}
    for name in dict.fromkeys(row.method for row in rows):
        of_method = [row for row in rows if row.method == name]
        kept = counted(of_method, by=lambda row: row.objective)
        if name not in everywhere:
            used_on = len({row.task for row in of_method})
            excluded.append((name, f"it is used on {used_on} of {len(tasks)} tasks"))
        elif kept[0].objective == "oracle":
            excluded.append((name, "its own ground truth chose a setting in every row"))
        elif not any(complete.get((name, place_of(row))) for row in kept):
            excluded.append((name, "no seed is complete"))
        else:
            objectives[name] = kept[0].objective
            left_out |= set(map(place_of, of_method)) - set(map(place_of, kept))
    names = list(objectives)
    places = [place for place in dict.fromkeys(map(place_of, rows)) if place not in left_out]
    ranked = _common(names, places, complete)
    reason = None
    if len(names) < 2:
        reason = f"sweep {sweep} has fewer than two methods that can be ranked"
    elif not ranked.places:
        reason = f"sweep {sweep} has no row with a seed that is complete in all its methods"
    if reason is not None:
        return Ranking(sweep, (), (), tuple(excluded), reason)
    counts = {"left_out": len(left_out), "missing": len(places) - len(ranked.places)}
    found = _compute(ranked, store, over_tasks=over_tasks)
    return Ranking(
        sweep,
        _methods(sweep, objectives, ranked, found, over_tasks=over_tasks, counts=counts),
        _wins(sweep, names, ranked.accuracies, found.summary),
        tuple(excluded),
    )


def _complete(table: PgrTable, sweep: str) -> dict[tuple[str, Place], dict[int, SeedRow]]:
    """Method and place -> its complete seeds."""
    found: dict[tuple[str, Place], dict[int, SeedRow]] = {}
    for seed in table.by_seed:
        if seed.sweep == sweep and seed.is_complete:
            found.setdefault((seed.method, place_of(seed)), {})[seed.seed] = seed
    return found


def _common(
    names: Sequence[str],
    places: Sequence[Place],
    complete: Mapping[tuple[str, Place], Mapping[int, SeedRow]],
) -> _Rows:
    """The places at which some seeds are complete in all methods, with these seeds."""
    rows = {}
    for place in places:
        of_method = [complete.get((name, place), {}) for name in names]
        common = sorted(set.intersection(*map(set, of_method))) if of_method else []
        if common:
            rows[place] = tuple(tuple(seeds[seed] for seed in common) for seeds in of_method)
    return _Rows(tuple(rows), tuple(rows.values()))


@dataclass(frozen=True)
class _Found:
    """The ranks of R rows and what draws say about them."""

    ranks_RM: np.ndarray
    summary: RowDrawsSummary | str
    """From draws over seeds and examples, or why there are none."""
    ranks: RankDraws | str
    """Intervals of the mean ranks, or why there are none."""


def _compute(rows: _Rows, store: Store, *, over_tasks: bool) -> _Found:
    ranks_RM = ranks_of(rows.accuracies)
    mean_rank_M = ranks_RM.mean(axis=0)
    groups = rows.groups
    runs = {run for row in groups for group in row for run in group.runs}
    records = {record.id: record for record in store.latest(runs)}
    summary = row_summary(groups, mean_rank_M, store=store, records=records)
    if not over_tasks:
        return _Found(ranks_RM, summary, summary if isinstance(summary, str) else summary.ranks)
    if len(set(rows.tasks)) < 2:
        return _Found(ranks_RM, summary, ONE_TASK)
    drawn_BM = np.clip(mean_draws(ranks_RM, rows.tasks), 1, ranks_RM.shape[1])
    return _Found(ranks_RM, summary, summarized(drawn_BM, mean_rank_M=mean_rank_M))


def _methods(
    sweep: str,
    objectives: Mapping[str, RowObjective],
    rows: _Rows,
    found: _Found,
    *,
    over_tasks: bool,
    counts: Mapping[str, int],
) -> tuple[MethodRank, ...]:
    """The methods, best first."""
    mean_rank_M = found.ranks_RM.mean(axis=0)
    first_RM = found.ranks_RM == found.ranks_RM.min(axis=1, keepdims=True)
    best_M = (first_RM / first_RM.sum(axis=1, keepdims=True)).sum(axis=0)
    over: Over = (
        "tasks" if over_tasks else "seeds and examples" if rows.fewest_seeds > 1 else "examples"
    )
    tasks = len(set(rows.tasks))
    friedman_p, no_friedman = _friedman(found.ranks_RM, rows.tasks)
    drawn = None if isinstance(found.ranks, str) else found.ranks
    return tuple(
        MethodRank(
            sweep=sweep,
            method=name,
            objective=objective,
            mean_rank=float(mean_rank_M[m]),
            mean_rank_low=drawn.intervals[m].low if drawn else None,
            mean_rank_high=drawn.intervals[m].high if drawn else None,
            p_best=drawn.p_best[m] if drawn else None,
            intervals_over=over if drawn else None,
            no_interval=found.ranks if isinstance(found.ranks, str) else None,
            best_rows=float(best_M[m]),
            rows=len(rows.places),
            tasks=tasks,
            seeds=rows.fewest_seeds,
            methods=len(objectives),
            critical_difference=critical_difference(len(objectives), blocks=tasks),
            friedman_p=friedman_p,
            no_friedman=no_friedman,
            **counts,
        )
        for m, (name, objective) in sorted(
            enumerate(objectives.items()), key=lambda each: mean_rank_M[each[0]]
        )
    )


def critical_difference(methods: int, *, blocks: int) -> float:
    """Nemenyi's critical difference of mean ranks at 5 %, for independent blocks.

    CD = q √(k (k + 1) / (6 N)) for k methods and N blocks, with q the 95 % point of the studentized
    range of k over √2 (Demšar 2006, "Statistical comparisons of classifiers over multiple data
    sets", section 3.2.2). Blocks are tasks here: pairs of a task are related. A mean of a task's
    ranks varies at most as much as one rank, so the difference is at least as large as needed.
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(LEVEL, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def _friedman(ranks_RM: np.ndarray, tasks: Sequence[str]) -> tuple[float | None, str | None]:
    """Friedman's test over the mean ranks of tasks: p, or why there is none."""
    names, methods = sorted(set(tasks)), ranks_RM.shape[1]
    if len(names) < 2 or methods < 3:
        return None, "Friedman's test needs two tasks and three methods"
    from scipy.stats import friedmanchisquare

    at_R = np.array(tasks)
    mean_TM = np.stack([ranks_RM[at_R == name].mean(axis=0) for name in names])
    if (mean_TM == mean_TM[:, :1]).all():
        return None, "all ranks are equal"
    return float(friedmanchisquare(*mean_TM.T)[1]), None


def _wins(
    sweep: str, names: Sequence[str], accuracies_RM: np.ndarray, summary: RowDrawsSummary | str
) -> tuple[PairwiseWins, ...]:
    ranks_RM = ranks_of(accuracies_RM)
    clear = None if isinstance(summary, str) else summary.clear_wins
    return tuple(
        PairwiseWins(
            sweep=sweep,
            method=names[one],
            against=names[other],
            wins=int((ranks_RM[:, one] < ranks_RM[:, other]).sum()),
            ties=int((ranks_RM[:, one] == ranks_RM[:, other]).sum()),
            losses=int((ranks_RM[:, one] > ranks_RM[:, other]).sum()),
            clear_wins=clear[one][other] if clear else None,
            clear_losses=clear[other][one] if clear else None,
        )
        for one, other in permutations(range(len(names)), 2)
    )
