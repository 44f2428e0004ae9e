"""Coverage of intervals over tasks, and of mean ranks of methods, by simulation.

Owns the population of tasks and the methods. `benchmarks.intervals` runs it, and simulates the
runs. The measured code is `w2s_ray.report.statistics.new_tasks` and `w2s_ray.report.rank_draws`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.special import ndtri

from benchmarks.intervals import BATCH, STEADY, measured
from w2s_ray.report.rank_draws import RankDraws, ranks_of, summary_of
from w2s_ray.report.statistics import (
    Interval,
    Trio,
    accuracy_draws,
    interval,
    median_interval,
    new_tasks,
)

PGR, GAP, WEAK = (0.6, 0.2), (0.10, 0.20), (0.75, 0.05)
"""Distributions of tasks: PGR normal (mean, spread), the gap uniform, the supervisor normal."""
TASK_SEEDS, TASK_EXAMPLES = 3, 1000


def show_tasks(studies: int) -> None:
    """Print how often intervals contain the values of all tasks, as Markdown.

    Each study has one row for each of its tasks, which are drawn from a population.
    """
    print("| tasks | mean gain, fixed | mean gain, drawn | median PGR, fixed | median PGR, drawn |")
    print("|---:|---:|---:|---:|---:|")
    truth = {"gain": PGR[0] * sum(GAP) / 2, "pgr": PGR[0]}
    for tasks in (3, 5, 10, 22):
        held: dict[str, list[bool]] = {}
        for batch in range(studies // BATCH):
            for name, found in _of_tasks(tasks, batch):
                if found is not None:
                    held.setdefault(name, []).append(found.holds(truth[name.split()[0]]))
        names = ("gain fixed", "gain drawn", "pgr fixed", "pgr drawn")
        cells = [f"{100 * np.mean(held[name]):.1f} %" for name in names]
        print(f"| {tasks} | {' | '.join(cells)} |", flush=True)


def _of_tasks(tasks: int, batch: int) -> Iterator[tuple[str, Interval | None]]:
    """The intervals of a batch of studies: mean gain and median PGR, tasks fixed and drawn."""
    random = np.random.default_rng([tasks, batch])
    gain_TMB, pgr_TMB, gain_TM, pgr_TM = [], [], [], []
    for task in range(tasks):
        weak_M = np.clip(random.normal(*WEAK, BATCH), 0.55, 0.79)
        ceiling_M = weak_M + random.uniform(*GAP, BATCH)
        student_M = weak_M + random.normal(*PGR, BATCH) * (ceiling_M - weak_M)
        rate_KM = np.stack([weak_M, np.clip(student_M, 0.05, 0.99), ceiling_M])
        correct_NKSM, _ = measured(
            rate_KM, STEADY, random, seeds=TASK_SEEDS, examples=TASK_EXAMPLES
        )
        runs = [
            f"{role}-{seed}-{row}"
            for role, seed, row in product(range(3), range(TASK_SEEDS), range(BATCH))
        ]
        flat_NR = correct_NKSM.reshape(TASK_EXAMPLES, -1)
        draws = accuracy_draws(flat_NR, runs=runs, eval_set=f"{tasks}/{batch}/{task}")
        rows = [
            draws.of_row(
                {s: Trio(*(f"{role}-{s}-{m}" for role in range(3))) for s in range(TASK_SEEDS)}
            )
            for m in range(BATCH)
        ]
        gain_TMB.append([row.student - row.weak for row in rows])
        pgr_TMB.append([row.pgr for row in rows])
        weak, student, ceiling = correct_NKSM.mean(axis=(0, 2))
        gain_TM.append(student - weak)
        pgr_TM.append((student - weak) / (ceiling - weak))
    for m in range(BATCH):
        names = [f"{batch}-{m}-{task}" for task in range(tasks)]
        yield "gain fixed", interval(np.mean([task[m] for task in gain_TMB], axis=0))
        yield "gain drawn", new_tasks.mean_interval([task[m] for task in gain_TM], names)
        yield "pgr fixed", median_interval(np.stack([task[m] for task in pgr_TMB]))
        yield "pgr drawn", new_tasks.median_interval([task[m] for task in pgr_TM], names)


METHODS = 5
EFFECTS = (("equal methods", 0.0, 0.0), ("close methods", 0.01, 0.01), ("clear order", 0.05, 0.0))
"""Name, distance of neighbouring methods in accuracy, and their spread over rows."""


def show_ranks(studies: int) -> None:
    """Print how often intervals of mean ranks contain the mean over all studies, as Markdown.

    Also the probability of being best that the first method of a study has on average, and how
    often it is truly the best.
    """
    print("| scenario | tasks | pairs | coverage | P(best) of the first | first is the best |")
    print("|---|---:|---:|---:|---:|---:|")
    for (name, distance, spread), (tasks, pairs) in product(EFFECTS, ((1, 3), (10, 2))):
        random = np.random.default_rng([tasks, pairs, len(name)])
        steps = distance * np.linspace(1 - METHODS, METHODS - 1, METHODS) / 2
        rate_RK = 0.85 + steps + spread * random.standard_normal((tasks * pairs, METHODS))
        mean_ranks, found = [], []
        for batch in range(studies // BATCH):
            for mean_rank_K, ranks in _ranks(rate_RK, random, tasks=tasks, batch=f"{name}/{batch}"):
                mean_ranks.append(mean_rank_K)
                found.append(ranks)
        average_K = np.mean(mean_ranks, axis=0)
        held = [
            each.holds(value)
            for one in found
            for each, value in zip(one.intervals, average_K, strict=True)
        ]
        first = [int(np.argmin(mean_rank_K)) for mean_rank_K in mean_ranks]
        claimed = np.mean([one.p_best[k] for one, k in zip(found, first, strict=True)])
        best = int(np.argmin(ranks_of(rate_RK).mean(axis=0)))
        right = "–" if not distance else f"{100 * np.mean([k == best for k in first]):.0f} %"
        print(
            f"| {name} | {tasks} | {pairs} | {100 * np.mean(held):.1f} % | {100 * claimed:.0f} % "
            f"| {right} |",
            flush=True,
        )


def _ranks(
    rate_RK: np.ndarray, random: np.random.Generator, *, tasks: int, batch: str
) -> Iterator[tuple[np.ndarray, RankDraws]]:
    """The measured mean ranks of each study of a batch, and what draws say of them."""
    rows = len(rate_RK)
    drawn_RMKB, measured_RMK = [], []
    for row, rate_K in enumerate(rate_RK):
        spread_K = 0.01 / (np.exp(-(ndtri(rate_K) ** 2) / 2) / math.sqrt(2 * math.pi))
        ability_K = ndtri(rate_K) * np.sqrt(1 + spread_K**2)
        of_seed_KSM = random.standard_normal((METHODS, TASK_SEEDS, BATCH))
        run_KSM = ability_K[:, None, None] + spread_K[:, None, None] * of_seed_KSM
        shared_NM = random.standard_normal((TASK_EXAMPLES, 1, 1, BATCH))
        own_NKSM = random.standard_normal((TASK_EXAMPLES, METHODS, TASK_SEEDS, BATCH))
        difficulty_NKSM = math.sqrt(0.77) * shared_NM + math.sqrt(0.23) * own_NKSM
        correct_NKSM = (run_KSM > difficulty_NKSM).astype(np.uint8)
        runs = [
            f"{method}-{seed}-{study}"
            for method, seed, study in product(range(METHODS), range(TASK_SEEDS), range(BATCH))
        ]
        draws = accuracy_draws(
            correct_NKSM.reshape(TASK_EXAMPLES, -1),
            runs=runs,
            eval_set=f"{batch}/{row * tasks // rows}",
        )
        drawn_RMKB.append(
            [
                [
                    draws.of_mean({seed: f"{method}-{seed}-{study}" for seed in range(TASK_SEEDS)})
                    for method in range(METHODS)
                ]
                for study in range(BATCH)
            ]
        )
        measured_RMK.append(correct_NKSM.mean(axis=(0, 2)).T)
    for study in range(BATCH):
        mean_rank_K = ranks_of(np.stack([row[study] for row in measured_RMK])).mean(axis=0)
        drawn = [np.stack(row[study]) for row in drawn_RMKB]
        yield mean_rank_K, summary_of(drawn, mean_rank_K).ranks
