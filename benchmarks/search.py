"""The effect of pruning, samplers and objectives on the searches of one sweep.

Owns three comparisons over several study seeds, by default on the quickstart's task. All studies of
a call share one store, so a trial that two of them propose is trained once; each study's
compute counts all fits of its trials. Means exclude the pairs that a transfer study trains (`on`).
It prints Markdown, and writes a figure with `--figure`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_ray import load_sweep, plan_sweep, run_sweep
from w2s_ray.config import Sweep, TaskPair
from w2s_ray.plan import Plan
from w2s_ray.store import Record, Store

QUICKSTART = Path(__file__).parents[1] / "sweeps" / "quickstart.yaml"


@dataclass(frozen=True)
class Found:
    """The result and the cost of one sweep's studies."""

    arm: str
    seed: int
    weak: str
    strong: str
    settings: Mapping[str, Any]
    objective: float
    """The winner's objective in the study."""
    best_so_far: tuple[float, ...]
    """Best objective of the complete trials after each trial."""
    pruned: int
    compute: float
    """Share of the evaluations that all trials would have reached without pruning."""
    weak_accuracy: float
    student_accuracy: float
    """Test accuracy of the refits, mean over seeds."""
    oracle_stopped_accuracy: float
    """Test accuracy of the refits under early stopping by ground truth."""
    ceiling_accuracy: float

    @property
    def pgr(self) -> float:
        return (self.student_accuracy - self.weak_accuracy) / (
            self.ceiling_accuracy - self.weak_accuracy
        )


def variant(base: Sweep, *, store: str, **search: Any) -> Sweep:
    """The sweep with only its first searched method, and other search settings."""
    if search.get("objective", base.search.objective) != "transfer":
        search["on"] = None
    searched = next(name for name, method in base.methods.items() if method.search)
    changed = {
        "methods": {searched: base.methods[searched]},
        "search": base.search.model_copy(update=search),
        "store": store,
    }
    return Sweep.model_validate(base.model_copy(update=changed).model_dump())


def found(sweep: Sweep, *, arm: str) -> Iterator[Found]:
    """Run `sweep`; the result of each of its pairs."""
    store = Store.open(sweep.store)
    outcome = run_sweep(sweep)
    if not outcome.complete:
        raise RuntimeError(f"{arm}: {outcome.failed or outcome.blocked}")
    plan = plan_sweep(sweep)
    for pair in sweep.cells():
        yield _of_pair(plan, store, pair, arm=arm, seed=sweep.search.seed)


def _of_pair(plan: Plan, store: Store, pair: tuple[str, str], *, arm: str, seed: int) -> Found:
    cells = [c for c in plan.cells if (c.weak, c.strong) == pair]
    assert cells[0].study is not None
    study, trials = store.record(cells[0].study), store.trials(cells[0].study)
    recipe = plan.studies[study.id].recipe
    evaluations = sum(c.training.epochs * c.training.evaluations_per_epoch for c in recipe.cells)
    reached = sum(len(t["intermediate"]) if t["state"] == "pruned" else evaluations for t in trials)
    return Found(
        arm=arm,
        seed=seed,
        weak=pair[0],
        strong=pair[1],
        settings=study.about["settings"],
        objective=float(study.summary["value"] or 0.0),
        best_so_far=_best_so_far(trials, larger=recipe.metric == "accuracy"),
        pruned=sum(t["state"] == "pruned" for t in trials),
        compute=reached / (evaluations * len(trials)),
        weak_accuracy=_mean(store, [str(c.supervisor) for c in cells], "test_accuracy"),
        student_accuracy=_mean(store, [str(c.student) for c in cells], "test_accuracy"),
        oracle_stopped_accuracy=_mean(
            store, [str(c.student) for c in cells], "oracle_test_accuracy"
        ),
        ceiling_accuracy=_mean(store, [str(c.ceiling) for c in cells], "test_accuracy"),
    )


def _best_so_far(trials: list[dict[str, Any]], *, larger: bool) -> tuple[float, ...]:
    best, found_so_far = float("nan"), []
    for trial in trials:
        value = trial["value"]
        if trial["state"] == "complete" and not (value <= best if larger else value >= best):
            best = value
        found_so_far.append(best)
    return tuple(found_so_far)


def _mean(store: Store, ids: list[str], figure: str) -> float:
    records: list[Record] = [store.record(id_) for id_ in ids]
    return statistics.fmean(float(record.summary[figure] or 0.0) for record in records)


def trained_pairs(base: Sweep) -> set[tuple[str, str]]:
    """The pairs that a transfer study of the sweep trains, on any task."""
    on = base.search.on or ()
    return {one.pair if isinstance(one, TaskPair) else one for one in on}


def arms(what: str) -> dict[str, dict[str, Any]]:
    """Name -> search settings of each side of a comparison."""
    match what:
        case "pruning":
            return {s: {"scheduler": s} for s in ("none", "asha")}
        case "samplers":
            return {s: {"sampler": s, "scheduler": "none"} for s in ("tpe", "random")}
        case _:
            names = ("weak_validation", "transfer", "oracle")
            return {o: {"objective": o, "scheduler": "none"} for o in names}


def show(results: list[Found], *, apart: Collection[tuple[str, str]]) -> None:
    """Print a line for each arm, study seed and pair, and the arms' means without pairs `apart`."""
    print(
        "| arm | pair | study seed | chosen | objective | pruned | compute |"
        " student | oracle-stopped | PGR |"
    )
    print("|---|---|---:|---|---:|---:|---:|---:|---:|---:|")
    for r in results:
        chosen = ", ".join(f"{k.split('.')[-1]} {v:.3g}" for k, v in sorted(r.settings.items()))
        print(
            f"| {r.arm} | {r.weak} → {r.strong} | {r.seed} | {chosen} | {r.objective:.4f} "
            f"| {r.pruned} | {r.compute:.0%} | {r.student_accuracy:.2%} "
            f"| {r.oracle_stopped_accuracy:.2%} | {r.pgr:.3f} |"
        )
    print("\n| arm | compute | student | oracle-stopped | PGR |\n|---|---:|---:|---:|---:|")
    for arm in dict.fromkeys(r.arm for r in results):
        mine = [r for r in results if r.arm == arm and (r.weak, r.strong) not in apart]
        compute, student, stopped, pgr = (
            statistics.fmean(getattr(r, name) for r in mine)
            for name in ("compute", "student_accuracy", "oracle_stopped_accuracy", "pgr")
        )
        print(f"| {arm} | {compute:.0%} | {student:.2%} | {stopped:.2%} | {pgr:.3f} |")


def draw(results: list[Found], path: Path) -> None:
    """Best objective so far against trials: the mean over study seeds, and their range."""
    import altair as alt
    import pandas as pd

    curves = {(r.arm, r.seed): r.best_so_far for r in results}
    rows = pd.DataFrame(
        [
            {"sampler": arm, "study seed": seed, "trial": number, "best so far": value}
            for (arm, seed), curve in curves.items()
            for number, value in enumerate(curve, start=1)
        ]
    )
    scale = alt.Scale(scheme="dark2")
    base = alt.Chart(rows).encode(x=alt.X("trial:Q", title="trials"))
    y = alt.Y("best so far:Q", scale=alt.Scale(zero=False), title="best objective so far")
    band = base.mark_area(opacity=0.2, interpolate="step-after").encode(
        alt.Y("min(best so far):Q", scale=alt.Scale(zero=False), title="best objective so far"),
        alt.Y2("max(best so far):Q"),
        color=alt.Color("sampler:N", scale=scale, legend=None),
    )
    mean = base.mark_line(interpolate="step-after", strokeWidth=2).encode(
        y.aggregate("mean"),
        color=alt.Color("sampler:N", scale=scale),
        strokeDash=alt.StrokeDash("sampler:N"),
    )
    chart = (band + mean).properties(width=480, height=260)
    chart.save(path, scale_factor=2) if path.suffix == ".png" else chart.save(path)


def main() -> None:
    """Run one comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("pruning", "samplers", "objectives"))
    parser.add_argument("--sweep", type=Path, default=QUICKSTART)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--studies", type=int, default=3, help="study seeds")
    parser.add_argument("--store", help="keep the runs here")
    parser.add_argument("--figure", type=Path, help="of samplers: .svg or .png")
    options = parser.parse_args()
    base = load_sweep(options.sweep)

    from w2s_ray.execute.environment import set_variables

    set_variables()  # Ray reads some of them at import
    from w2s_ray.execute.cluster import ray_cluster

    with tempfile.TemporaryDirectory(prefix="w2s-search-") as name, ray_cluster():
        store = options.store or name
        results = [
            one
            for seed in range(1000, 1000 + options.studies)
            for arm, search in arms(options.what).items()
            for one in found(
                variant(base, store=store, trials=options.trials, seed=seed, **search), arm=arm
            )
        ]
    show(results, apart=trained_pairs(base))
    if options.figure is not None:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
