"""Coverage of the intervals of accuracies, gaps and PGR by simulation, and the time they take.

Owns the simulation, in which the true values are known: examples differ in difficulty, errors of
supervisor, student and ceiling are correlated, and seeds differ. `benchmarks.task_intervals` has
tasks that differ, and ranks. The measured code is `w2s_ray.report.statistics`.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pyarrow as pa
from scipy.special import ndtr, ndtri

from w2s_ray.report.pgr import pgr
from w2s_ray.report.statistics import Bootstrap, RowIntervals, Trio, accuracy_draws
from w2s_ray.report.table import tabulate
from w2s_ray.store import Cell, Record, Store

SHARED, OF_ROLE = 0.5, 0.3
"""Shares of an example's difficulty that are common to all runs, and to the runs of one role; the
rest is independent. In the quickstart 0.77 of the variance is common to all seeds of a student."""
INHERITED = 0.5
"""Correlation of a student's own part, and of its seed effect, with its supervisor's."""
BATCH = 50
"""Number of simulated rows in a batch."""


@dataclass(frozen=True)
class Scenario:
    """True accuracies of supervisor, student and ceiling, and their spread over seeds."""

    name: str
    accuracies: tuple[float, float, float]
    seed_sd: tuple[float, float, float]
    """Standard deviation of the accuracy over seeds."""


STEADY, UNSTEADY = (0.008, 0.011, 0.001), (0.026, 0.063, 0.003)
"""As in the quickstart: s → m and l, and xs → l."""
SCENARIOS = (
    Scenario("large gap, steady seeds", (0.75, 0.84, 0.95), STEADY),
    Scenario("large gap, unsteady seeds", (0.75, 0.84, 0.95), UNSTEADY),
    Scenario("small gap, steady seeds", (0.85, 0.88, 0.91), STEADY),
    Scenario("small gap, unsteady seeds", (0.85, 0.88, 0.91), UNSTEADY),
    Scenario("no gap, steady seeds", (0.85, 0.86, 0.85), STEADY),
)
FIGURES = ("weak", "student", "ceiling", "gap", "pgr")


@dataclass(frozen=True)
class Simulated:
    """One measured row, and its true values."""

    truth: tuple[float, float, float]
    """True accuracies: of these runs for one seed, else over all seeds."""
    intervals: RowIntervals


def simulate(scenario: Scenario, *, seeds: int, examples: int, rows: int) -> Iterator[Simulated]:
    """Rows measured in `scenario`, each on a test set of its own."""
    for batch in range(rows // BATCH):
        name = f"{scenario.name}/{seeds}/{examples}/{batch}"
        random = np.random.default_rng([seeds, examples, batch, len(scenario.name)])
        rate_KM = np.array(scenario.accuracies)[:, None]
        correct_NKSM, truth_KSM = measured(
            rate_KM, scenario.seed_sd, random, seeds=seeds, examples=examples
        )
        runs = [
            f"{role}-{seed}-{row}"
            for role, seed, row in product(range(3), range(seeds), range(BATCH))
        ]
        draws = accuracy_draws(correct_NKSM.reshape(examples, -1), runs=runs, eval_set=name)
        for row in range(BATCH):
            trios = {s: Trio(*(f"{role}-{s}-{row}" for role in range(3))) for s in range(seeds)}
            truth = truth_KSM[:, 0, row] if seeds == 1 else scenario.accuracies
            weak, student, ceiling = map(float, truth)
            yield Simulated((weak, student, ceiling), draws.of_row(trios).intervals())


def measured(
    rate_KM: np.ndarray,
    seed_sd: Sequence[float],
    random: np.random.Generator,
    *,
    seeds: int,
    examples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Correctness [N, roles K, seeds S, rows M], and the runs' true accuracies [K, S, M].

    A run is right if its ability exceeds the example's difficulty, a standard normal value.
    `rate_KM` has the true accuracies, [K, 1] if they are those of every row.
    """
    # An accuracy's spread over seeds in units of ability: by the slope of the normal's integral.
    slope_KM = np.exp(-(ndtri(rate_KM) ** 2) / 2) / math.sqrt(2 * math.pi)
    spread_KM = np.array(seed_sd)[:, None] / slope_KM
    ability_KM = ndtri(rate_KM) * np.sqrt(1 + spread_KM**2)
    of_seed_KSM = _inherited(random.standard_normal((3, seeds, BATCH)))
    run_KSM = ability_KM[:, None] + spread_KM[:, None] * of_seed_KSM
    shared_NM = random.standard_normal((examples, BATCH))
    role_NKM = _inherited(random.standard_normal((3, examples, BATCH))).swapaxes(0, 1)
    own_NKSM = random.standard_normal((examples, 3, seeds, BATCH))
    difficulty_NKSM = (
        math.sqrt(SHARED) * shared_NM[:, None, None]
        + math.sqrt(OF_ROLE) * role_NKM[:, :, None]
        + math.sqrt(1 - SHARED - OF_ROLE) * own_NKSM
    )
    return (run_KSM > difficulty_NKSM).astype(np.uint8), ndtr(run_KSM)


def _inherited(normal_K: np.ndarray) -> np.ndarray:
    """Independent values of the three roles, with the student's made to follow the supervisor's."""
    weak, student, ceiling = normal_K
    follows = INHERITED * weak + math.sqrt(1 - INHERITED**2) * student
    return np.stack([weak, follows, ceiling])


def covered(rows: list[Simulated]) -> dict[str, float]:
    """Share of rows whose interval contains the true value, by figure (PGR: of rows with a PGR).

    `defined` is the share of rows whose gap's interval lies above 0.
    """
    held: dict[str, list[bool]] = {figure: [] for figure in FIGURES}
    for row in rows:
        weak, student, ceiling = row.truth
        value = pgr(weak, student=student, ceiling=ceiling).value
        truth = dict(zip(FIGURES, (*row.truth, ceiling - weak, value), strict=True))
        for figure in FIGURES:
            found = getattr(row.intervals, figure)
            if found is not None and truth[figure] is not None:
                held[figure].append(found.holds(truth[figure]))
    shares = {figure: float(np.mean(of)) if of else math.nan for figure, of in held.items()}
    defined = float(np.mean([row.intervals.pgr is not None for row in rows]))
    return {**shares, "defined": defined}


def show_coverage(rows: int) -> None:
    """Print the coverage of each figure's interval in each scenario as Markdown."""
    print("| scenario | seeds | examples | weak | student | ceiling | gap | PGR | PGR defined |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for scenario, seeds, examples in product(SCENARIOS, (1, 2, 3, 5), (500, 2000)):
        found = covered(list(simulate(scenario, seeds=seeds, examples=examples, rows=rows)))
        cells = [f"{100 * found[name]:.1f} %" for name in (*FIGURES, "defined")]
        cells = [cell.replace("nan %", "–") for cell in cells]
        print(f"| {scenario.name} | {seeds} | {examples} | {' | '.join(cells)} |", flush=True)


@dataclass(frozen=True)
class Grid:
    """The grid for the measurement of time."""

    tasks: int = 22
    models: int = 5
    """Each weaker model supervises each stronger one: 10 pairs."""
    methods: int = 5
    seeds: int = 5
    examples: int = 10_000


def write_grid(store: Store, grid: Grid) -> list[Cell]:
    """A store with the predictions and records of a whole grid; its cells."""
    cells: list[Cell] = []
    for task in range(grid.tasks):
        random = np.random.default_rng(task)
        split, difficulty_N = f"split-{task}", random.standard_normal(grid.examples)
        ids = pa.array([f"example-{number}" for number in range(grid.examples)])
        label_N = random.integers(0, 2, grid.examples).astype(np.int8)
        part = pa.array(["test"] * grid.examples)
        rows = {"example_id": ids, "part": part, "text": ids, "label": label_N, "group": ids}
        store.splits.write(split, pa.table(rows), {})

        def write(
            name: str,
            ability: float,
            *,
            split=split,
            label_N=label_N,
            ids=ids,
            part=part,
            difficulty_N=difficulty_N,
            random=random,
        ) -> str:
            own_N = random.standard_normal(grid.examples)
            right_N = ability > math.sqrt(0.7) * difficulty_N + math.sqrt(0.3) * own_N
            probability_N = np.where(right_N == (label_N == 1), 0.9, 0.1)
            columns = {"example_id": ids, "part": part, "probability": probability_N}
            record = a_record(name, split=split, accuracy=float(right_N.mean()))
            return store.write_run(record, predictions=pa.table(columns)).id

        abilities = np.linspace(0.6, 1.6, grid.models)
        for seed in range(grid.seeds):
            supervisors, ceilings = (
                [
                    write(f"{role}-{task}-{model}-{seed}", ability)
                    for model, ability in enumerate(abilities)
                ]
                for role in ("supervisor", "ceiling")
            )
            for weak, strong in combinations(range(grid.models), 2):
                between = (abilities[weak] + abilities[strong]) / 2
                for method in range(grid.methods):
                    name = f"student-{task}-{weak}-{strong}-{method}-{seed}"
                    cells.append(
                        Cell(
                            task=f"task-{task}",
                            weak=f"model-{weak}",
                            strong=f"model-{strong}",
                            method=f"method-{method}",
                            seed=seed,
                            supervisor=supervisors[weak],
                            ceiling=ceilings[strong],
                            student=write(name, between),
                        )
                    )
    return cells


def a_record(name: str, *, split: str, accuracy: float) -> Record:
    """A done fit of the grid."""
    return Record(
        id=name,
        kind="fit",
        status="done",
        recipe={"split": split},
        summary={"test_accuracy": accuracy},
        started_at="2026-01-01T00:00:00+00:00",
        ended_at="2026-01-01T00:00:00+00:00",
        seconds=1,
        identity_version=1,
    )


def show_time(grid: Grid) -> None:
    """Print the times of the intervals of a whole grid, computed and cached."""
    with tempfile.TemporaryDirectory(prefix="w2s-intervals-") as folder:
        store = Store.open(folder)
        cells = write_grid(store, grid)
        records = {record.id: record for record in store.latest()}
        before_mb = _peak_mb()
        started, worked = time.perf_counter(), time.process_time()
        table = tabulate(cells, records, sweep="grid", bootstrap=Bootstrap(store, records))
        first_s, first_worked_s = time.perf_counter() - started, time.process_time() - worked
        started = time.perf_counter()
        again = tabulate(cells, records, sweep="grid", bootstrap=Bootstrap(store, records))
        again_s = time.perf_counter() - started
        # Rows of seeds are read from the store at their first use.
        if table != again or any(row.weak_low is None for row in table.rows):
            raise SystemExit("an interval is missing, or differs when it is read back")
    print(
        f"{len(records)} runs, {len(table.rows)} rows, {len(table.by_seed)} seed rows, "
        f"{len(table.by_method)} medians, {grid.examples} test examples\n"
        f"first: {first_s:.1f} s, {first_worked_s:.1f} s of processors, "
        f"{_peak_mb() - before_mb:.0f} MB more at its peak; "
        f"again: {again_s:.2f} s"
    )


def _peak_mb() -> float:
    """The peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the chosen measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("coverage", "tasks", "ranks", "time"))
    parser.add_argument(
        "--rows", type=int, default=1000, help="simulated rows or studies of each line"
    )
    parser.add_argument("--tasks", type=int, default=22, help="tasks of the timed grid")
    options = parser.parse_args()
    # They use the simulation of this module.
    from benchmarks.task_intervals import show_ranks, show_tasks

    match options.what:
        case "coverage":
            show_coverage(options.rows)
        case "tasks":
            show_tasks(options.rows)
        case "ranks":
            show_ranks(options.rows)
        case _:
            show_time(Grid(tasks=options.tasks))


if __name__ == "__main__":
    main()
