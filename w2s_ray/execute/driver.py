"""Running a sweep: the checks before it, Ray's start, the graph's run, and the end.

Owns the steps around `graph_runner`. The same sweep run again resumes where a killed driver was. It
imports no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from rich.text import Text

from w2s_ray import config
from w2s_ray.config import Sweep
from w2s_ray.config.budget import Budget
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.execute.environment import ray_address, set_variables
from w2s_ray.execute.graph_runner import GraphRunner
from w2s_ray.execute.outcome import Outcome
from w2s_ray.execute.steps import step
from w2s_ray.execute.stopping import Stop
from w2s_ray.notebook import progress_console
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan import Nodes, Plan, model_order_warnings
from w2s_ray.plan.tuned import check_packages
from w2s_ray.prepare import (
    materialize,
    plan_sweep,
    refuse_known_figures,
    refuse_provisional,
    refuse_values,
    withdraw_damaged,
    write_manifest,
)
from w2s_ray.status.budget import BudgetGuard, fits_left
from w2s_ray.status.driver_heartbeat import DriverHeartbeat
from w2s_ray.store import Store
from w2s_ray.trackers.check import check_trackers


def run_sweep(
    sweep: Sweep,
    *,
    store: Store | None = None,
    sweep_text: str = "",
    console: PlainConsole | None = None,
    address: str | None = None,
    types: Nodes | None = None,
    on_ray_lost: Callable[[str], None] | None = None,
    budget: Budget | None = None,
    warnings: Callable[[Plan], Iterable[str]] = lambda plan: (),
) -> Outcome:
    """Run everything in `sweep` that the store (by default its own) doesn't hold yet.

    The store keeps `sweep_text`, by default a text with the same values.

    It runs on the Ray cluster at `address` (by default `RAY_ADDRESS`, else this machine). `types`
    are the node types that its autoscaler may start, where the cluster doesn't report them.

    Missing packages of trackers or of a base in 4 bits, unreadable inputs, a store that can't be
    written and resources that the cluster lacks are errors before any training.

    Once the sweep's runs have spent `budget`, those of earlier calls included, nothing new starts:
    running fits are trained to their end, and the outcome is that of a stopped sweep.

    Ctrl-C, in a notebook the interrupt of the cell, is a clean stop: running fits write a
    checkpoint, and the same call continues the sweep.

    `warnings` gives lines about the plan, which are printed beside its own.

    `on_ray_lost` is called with the name of the process where a vital process of the Ray that was
    started for this call dies; without it the call ends with an error after some time.

    Raises:
        InputError: one of those; the message names the remedy.
    """
    check_trackers(sweep.trackers)
    address = ray_address(address)
    console, sweep_text = console or progress_console(), sweep_text or config.sweep_text(sweep)
    store = store or Store.open(sweep.store)
    parts = len(sweep.models) + len(sweep.tasks)
    with step(console, "reading models and data, planning", parts=parts) as progress:
        plan = plan_sweep(sweep, store=store, progress=progress)
    check_packages(plan)
    refuse_provisional(plan)
    for warning in (*model_order_warnings(plan, InputSizes(plan.inputs)), *warnings(plan)):
        console.warn(Text(warning, style="yellow"))
    with step(console, f"preparing the store {store.uri}"):
        store.check_writable()
        refuse_known_figures(plan, store)
        materialize(plan, store)
        write_manifest(plan, store, sweep_text)
        withdraw_damaged(plan, store)
    runs = {*plan.fits, *plan.studies}
    if store.done(runs) == runs and not plan.waiting:
        return Outcome(plan=plan, done=len(runs), trained=0)
    with step(console, "checking the models' weights"):
        refuse_values(plan)
    budget_guard, stop = BudgetGuard(budget, store), Stop()
    if budget is not None:
        budget_guard.count(plan)
    if budget_guard.spent:
        outcome = Outcome(plan, done=len(store.done(runs)), trained=0)
        return _with_budget(outcome, budget_guard, store)
    set_variables(joins=address is not None)  # Ray reads some of them when it is imported
    with DriverHeartbeat(store, sweep=sweep.name, stop=stop.request) as heartbeat, stop:
        monitor = _process_monitor(on_ray_lost, stop)
        with monitor, _cluster(console, address, types) as cluster:
            cluster.check(plan)
            console.print(_to_train(plan, store), soft_wrap=True)
            with _runner(plan, store, sweep_text, console, cluster, budget_guard) as runner:
                outcome = runner.run(heartbeat, stop)
        runner.clear_work()
    return _with_budget(outcome, budget_guard, store)


def _to_train(plan: Plan, store: Store) -> str:
    """The number of fits that are trained now, in words."""
    left, done = fits_left(plan, store), len(store.done(plan.fits))
    return f"training {left} fits, trials included{f'; {done} are done' if done else ''}"


def _with_budget(outcome: Outcome, budget_guard: BudgetGuard, store: Store) -> Outcome:
    """The outcome with the spent part of its budget, if it had one."""
    if budget_guard.budget is None:
        return outcome
    budget_guard.count(outcome.plan)
    left = fits_left(outcome.plan, store, lost={*outcome.failed, *outcome.blocked})
    reason = outcome.stopped or (budget_guard.stop_reason if budget_guard.spent and left else None)
    return replace(outcome, stopped=reason, spent=budget_guard.spent_text, left=left)


@contextlib.contextmanager
def _cluster(console: PlainConsole, address: str | None, types: Nodes | None) -> Iterator[Any]:
    from w2s_ray.execute.cluster import ray_cluster

    with step(console, "starting Ray" if address is None else f"joining Ray at {address}"):
        context = ray_cluster(address, types=types)
        cluster = context.__enter__()
    try:
        yield cluster
    finally:
        with step(console, "ending Ray" if address is None else "leaving Ray"):
            context.__exit__(None, None, None)


@contextlib.contextmanager
def _runner(
    plan: Plan,
    store: Store,
    sweep_text: str,
    console: PlainConsole,
    cluster: Any,
    budget_guard: BudgetGuard,
) -> Iterator[GraphRunner]:
    runner = GraphRunner(plan, store, sweep_text, console, cluster, budget_guard)
    try:
        yield runner
    finally:
        runner.tracking.close()
        runner.context.close()


def _process_monitor(
    on_ray_lost: Callable[[str], None] | None, stop: Stop
) -> contextlib.AbstractContextManager[None]:
    """Monitors this call's own Ray; a loss after a stop request is ignored."""
    if on_ray_lost is None:
        return contextlib.nullcontext()
    from w2s_ray.execute.local_ray import monitor_processes

    return monitor_processes(lambda dead: on_ray_lost(dead) if stop.reason is None else None)
