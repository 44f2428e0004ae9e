"""A large sweep's schedule by simulation: makespan against its lower bound, on 8 to 512 GPUs.

    python benchmarks/schedule.py [--gpus 8 64 512] [--out docs/figures/schedule]

Owns a simulated cluster and its clock. The code that runs sweeps decides the order of runs: `plan`,
`scheduling`, and a study's rule for the trials that a trial depends on. Durations are the estimates
of `w2s plan` times a random factor for each run, which the scheduling code does not get. Start-up,
faults and pruning are not simulated.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2s_ray.config import PARTS, ModelSource, Sweep, parse_sweep
from w2s_ray.config.accelerators import find_accelerator
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_from_config
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.data.inputs import Inputs, SplitRef
from w2s_ray.plan import Plan, PlannedFit, PlannedStudy, make_plan
from w2s_ray.plan.estimates import Device, Estimator
from w2s_ray.scheduling.priority import priorities
from w2s_ray.scheduling.requests import SWEEP, FitRequest, WorkerSpec, has_capacity, next_request
from w2s_ray.scheduling.start import at_once, fits_to_start, studies_to_start

LADDER = {"s": (768, 12), "m": (1024, 24), "l": (1280, 36), "xl": (1600, 48), "2b": (2048, 40)}
"""Model -> width and layers, GPT-2-shaped; five of them give ten pairs."""
TASKS, TRIALS, METHODS = 22, 16, 5
WORDS = tuple(float(20 + 3 * i) for i in range(65))
SPREAD = 0.2
"""Standard deviation of the logarithm of a run's factor."""
SETUP_S = 10.0
"""Loading a model, on top of every estimate."""

SWEEP_FILE = f"""
name: schedule
tasks: [{
    ", ".join(
        f"{{name: t{i}, path: ., columns: {{text: t, label: l}}, train: 16000, "
        "validation: 1000, test: 2000}"
        for i in range(TASKS)
    )
}]
models: [{", ".join(LADDER)}]
seeds: [0]
training: {{batch_size: 32, epochs: 2, precision: bf16, max_tokens: 512}}
methods:
{
    chr(10).join(
        f"  m{i}: {{loss: {{kind: confidence, warmup_fraction: 0.{i}}}, search: "
        "{loss.alpha: {uniform: [0, 1]}}}"
        for i in range(METHODS)
    )
}
search: {{trials: {TRIALS}, objective: weak_validation}}
"""


def planned() -> tuple[Plan, InputSizes]:
    """The whole graph, with the refits of all studies."""
    sweep = parse_sweep(SWEEP_FILE)
    found = inputs(sweep)
    first = make_plan(sweep, found)
    plan = make_plan(sweep, found, outcomes={study: {"loss.alpha": 0.5} for study in first.studies})
    return plan, FixedSizes(found)


def inputs(sweep: Sweep) -> Inputs:
    """Inputs with made-up rows and models."""
    counts = {"supervisor_half": 8000, "student_half": 8000, "validation": 1000, "test": 2000}
    return Inputs(
        splits={
            task.name: SplitRef(
                f"split-{task.name}",
                provisional=False,
                counts={part: counts[part] for part in PARTS},
                words=dict.fromkeys(PARTS, WORDS),
            )
            for task in sweep.tasks
        },
        models={
            label: ModelSource(name=label, location=label, identity=f"sha256:{label}")
            for label in LADDER
        },
    )


class FixedSizes(InputSizes):
    """Sizes of models that have no files."""

    def architecture(self, source: ModelSource) -> Architecture | str:
        width, layers = LADDER[source.name]
        shape = {"n_embd": width, "n_layer": layers, "vocab_size": 50257}
        return architecture_from_config({"model_type": "gpt2", **shape})


@dataclass(frozen=True)
class Graph:
    """Runs with their durations and dependencies."""

    plan: Plan
    seconds: dict[str, float]
    """Fit, or `STUDY#n` for a trial -> its duration."""
    studies_of: dict[str, set[str]]
    """Refit -> the studies that chose its settings."""

    @property
    def work(self) -> float:
        """GPU seconds of everything."""
        return sum(self.seconds.values())

    def critical_path(self) -> float:
        """Length of the critical path in seconds."""
        ends: dict[str, float] = {}
        for study in self.plan.studies.values():
            begin = max(self._end(parent, ends) for parent in study.parents)
            ends[study.id] = begin + self._longest_of(study)
        return max(self._end(fit, ends) for fit in self.plan.fits)

    def _end(self, fit: str, ends: dict[str, float]) -> float:
        if fit not in ends:
            behind = [*self.plan.fits[fit].parents, *self.studies_of.get(fit, ())]
            begin = max((self._end(parent, ends) for parent in behind), default=0.0)
            ends[fit] = begin + self.seconds[fit]
        return ends[fit]

    def _longest_of(self, study: PlannedStudy) -> float:
        """Length of a study's critical path: a trial waits for the trials that it depends on."""
        window, ended = study.recipe.concurrent_trials, list[float]()
        for number in range(study.recipe.trials):
            begin = max(ended[: max(0, number - window + 1)], default=0.0)
            ended.append(begin + self.seconds[f"{study.id}#{number}"])
        return max(ended)


def graph(*, seed: int) -> Graph:
    """The sweep with random durations."""
    plan, sizes = planned()
    estimator, rng = Estimator(sizes), random.Random(seed)
    device = Device("H100", find_accelerator("H100"), 0.4)

    def duration(recipe: Any, source: Any, execution: Any) -> float:
        made = estimator.fit(recipe, source, execution)
        assert not isinstance(made, str), made
        usual = SETUP_S + device.seconds(made.flops.total, precision=recipe.training.precision)
        return usual * math.exp(rng.gauss(0, SPREAD))

    seconds = {
        fit.id: duration(fit.recipe, fit.source, fit.execution) for fit in plan.fits.values()
    }
    for study in plan.studies.values():
        (recipe,), (source,), (execution,) = study.recipe.cells, study.sources, study.executions
        for number in range(study.recipe.trials):
            seconds[f"{study.id}#{number}"] = duration(recipe, source, execution)
    chosen: dict[str, set[str]] = {}
    for cell in plan.cells:
        if cell.student is not None and cell.study is not None:
            chosen.setdefault(cell.student, set()).add(cell.study)
    return Graph(plan, seconds, chosen)


@dataclass
class Simulation:
    """A simulated cluster: the driver, the worker pool and the studies, on one clock."""

    graph: Graph
    gpus: int
    now: float = 0.0
    order: dict[str, int] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    pending: dict[str, set[str]] = field(default_factory=dict)
    """Run that has not started -> the runs that it waits for."""
    started: dict[str, PlannedFit | PlannedStudy] = field(default_factory=dict)
    waiting: list[FitRequest] = field(default_factory=list)
    busy: dict[str, FitRequest] = field(default_factory=dict)
    ends: list[tuple[float, str]] = field(default_factory=list)
    trials: dict[str, dict[int, str]] = field(default_factory=dict)
    """Study -> trial -> `going` or `ended`."""
    spec: WorkerSpec = WorkerSpec(engine="torch", workers=1, cpus=1.0, gpus=1.0)  # noqa: RUF009

    def run(self) -> float:
        """The makespan in seconds."""
        self.order = priorities(self.graph.plan)
        chosen = self.graph.studies_of
        runs = (*self.graph.plan.fits.values(), *self.graph.plan.studies.values())
        self.pending = {run.id: {*run.parents, *chosen.get(run.id, ())} for run in runs}
        self._start_ready()
        while self.ends:
            self.now, ended = heapq.heappop(self.ends)
            request = self.busy.pop(ended)
            if request.queue == SWEEP:
                self._ended(ended)
            else:
                self._trial_ended(request.queue, request.priority)
            self._assign()
        assert len(self.done) == len(self.graph.plan.fits) + len(self.graph.plan.studies)
        return self.now

    def _start_ready(self) -> None:
        """Start ready runs, as the driver does when a run has ended."""
        plan, limits = self.graph.plan, self.graph.plan.sweep.limits
        ready = [run for run, behind in self.pending.items() if behind <= self.done]
        slots: Callable[[Any], int] = lambda execution: self.gpus  # noqa: E731
        running = [run for run in self.started.values() if isinstance(run, PlannedStudy)]
        studies = [plan.studies[r] for r in ready if r in plan.studies]
        for study in studies_to_start(
            studies, running=running, order=self.order, limits=limits, slots=slots
        ):
            self.started[study.id] = study
            del self.pending[study.id]
            self.trials[study.id] = {}
            self._propose(study)
        fits = [plan.fits[r] for r in ready if r in plan.fits]
        in_line = len(self.started) - sum(r in plan.studies for r in self.started)
        for fit in fits_to_start(fits, running=in_line, order=self.order, slots=slots):
            self.started[fit.id] = fit
            del self.pending[fit.id]
            self.waiting.append(FitRequest(fit.id, SWEEP, self.spec, self.order[fit.id]))
        self._assign()

    def _propose(self, study: PlannedStudy) -> None:
        """Request the trials whose earlier trials have ended."""
        recipe, trials = study.recipe, self.trials[study.id]
        limits = self.graph.plan.sweep.limits
        most = at_once(study, limits=limits, slots=lambda execution: self.gpus)
        while len(trials) < recipe.trials:
            number = len(trials)
            seen = range(number - recipe.concurrent_trials + 1)
            going = sum(state == "going" for state in trials.values())
            if going >= most or any(trials.get(earlier) != "ended" for earlier in seen):
                return
            trials[number] = "going"
            self.waiting.append(FitRequest(f"{study.id}#{number}", study.id, self.spec, number))

    def _trial_ended(self, study_id: str, number: int) -> None:
        study = self.graph.plan.studies[study_id]
        self.trials[study_id][number] = "ended"
        self._propose(study)
        if len(self.trials[study_id]) == study.recipe.trials and all(
            state == "ended" for state in self.trials[study_id].values()
        ):
            self._ended(study_id)

    def _ended(self, run_id: str) -> None:
        del self.started[run_id]
        self.done.add(run_id)
        self._start_ready()

    def _assign(self) -> None:
        """Assign free GPUs to requests, as the worker pool does."""
        room = {"GPU": float(self.gpus)}
        while self.waiting:
            place = next_request(self.waiting, busy=self.busy.values(), capacity=room)
            held = [request.spec for request in self.busy.values()]
            if not has_capacity(self.waiting[place].spec, held=held, capacity=room):
                return
            request = self.waiting.pop(place)
            self.busy[request.run_id] = request
            heapq.heappush(
                self.ends, (self.now + self.graph.seconds[request.run_id], request.run_id)
            )


def figure(rows: list[dict[str, Any]], out: Path) -> None:
    """Makespan over lower bound by GPUs."""
    import altair as alt

    data = alt.Data(values=rows)
    x = alt.X("gpus:Q", title="GPUs", scale=alt.Scale(type="log", base=2)).axis(
        values=sorted({row["gpus"] for row in rows})
    )
    line = (
        alt.Chart(data)
        .mark_line(point=True)
        .encode(x, alt.Y("ratio:Q", title="makespan / lower bound", scale=alt.Scale(zero=False)))
    )
    rule = alt.Chart(alt.Data(values=[{"y": 1.15}])).mark_rule(strokeDash=[4, 3]).encode(y="y:Q")
    made = (line + rule).properties(
        width=420, height=240, title="Scheduling 22 tasks x 10 pairs x 5 methods x 16 trials"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    for kind in ("svg", "png"):
        made.save(str(out.with_suffix(f".{kind}")))


def main() -> None:
    """Print the table; with --out, draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256, 512])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="figure, without its extension")
    arguments = parser.parse_args()
    made = graph(seed=arguments.seed)
    path, work = made.critical_path(), made.work
    print(
        f"{len(made.plan.fits):,} fits and {len(made.plan.studies):,} studies: "
        f"{len(made.seconds):,} runs, {work / 3600:,.0f} GPU hours, critical path "
        f"{path / 3600:.2f} h\n"
    )
    print(
        "| GPUs | lower bound, h | makespan, h | ratio | GPUs in use |\n|---:|---:|---:|---:|---:|"
    )
    rows: list[dict[str, Any]] = []
    for gpus in arguments.gpus:
        least = max(work / gpus, path)
        makespan = Simulation(made, gpus).run()
        rows.append({"gpus": gpus, "ratio": makespan / least})
        print(
            f"| {gpus} | {least / 3600:.1f} | {makespan / 3600:.1f} | {makespan / least:.3f} | "
            f"{work / gpus / makespan:.0%} |",
            flush=True,
        )
    if arguments.out is not None:
        figure(rows, arguments.out)


if __name__ == "__main__":
    main()
