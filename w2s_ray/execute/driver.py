"""Running a sweep: what is refused first, then Ray, a walk over the graph, and its end.

Owns what surrounds the walk. The same sweep run again goes on where a killed driver was. It trains
nothing itself and imports no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from rich.text import Text

from w2s_ray.config import Sweep
from w2s_ray.config.budget import Budget
from w2s_ray.data.shapes import Shapes
from w2s_ray.execute.environment import ray_address, set_variables
from w2s_ray.execute.graph_runner import GraphRunner, Outcome
from w2s_ray.execute.stopping import Stop
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan import Nodes, Plan, model_order_warnings
from w2s_ray.prepare import (
    materialize,
    plan_sweep,
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
) -> Outcome:
    """Carry out everything in `sweep` that the store (by default its own) doesn't hold yet.

    On the Ray cluster at `address` (by default `RAY_ADDRESS`, else this machine). `types` are the
    node types that its autoscaler may start, where the cluster itself doesn't tell.

    Everything that can be refused is refused before any training: trackers whose packages are
    missing, inputs that can't be read, a store that can't be written, resources that the cluster
    doesn't have.

    Once the sweep's runs have taken `budget`, those of earlier calls included, nothing new starts:
    fits under way are trained to their end, and the walk ends as one that was stopped.

    `on_ray_lost` is called, and told what died, where the Ray that was started for this call can't
    go on; without it the call ends with an error in time.

    Raises:
        ValueError: one of those; the message names the remedy.
    """
    check_trackers(sweep.trackers)
    address = ray_address(address)
    console = console or PlainConsole(stderr=True)
    store = store or Store.open(sweep.store)
    plan = plan_sweep(sweep, store=store)
    refuse_provisional(plan)
    for warning in model_order_warnings(plan, Shapes(plan.inputs)):
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    store.check_writable()
    materialize(plan, store)
    write_manifest(plan, store, sweep_text)
    withdraw_damaged(plan, store)
    runs = {*plan.fits, *plan.studies}
    if store.done(runs) == runs and not plan.waiting:
        return Outcome(plan=plan, done=len(runs), trained=0)
    refuse_values(plan)
    budget_guard, stop = BudgetGuard(budget, store), Stop()
    if budget is not None:
        budget_guard.count(plan)
    if budget_guard.empty:
        return _spent(Outcome(plan, done=len(store.done(runs)), trained=0), budget_guard, store)
    set_variables(joins=address is not None)  # Ray reads some of them when it is imported
    with DriverHeartbeat(store, sweep=sweep.name, stop=stop.request) as heartbeat, stop:
        signs = _vital_signs(on_ray_lost, stop)
        with signs, _cluster(console, address, types) as cluster:
            cluster.check(plan)
            with _walk(plan, store, sweep_text, console, cluster, budget_guard) as walk:
                outcome = walk.to_end(heartbeat, stop)
        walk.tidy()
    return _spent(outcome, budget_guard, store)


def _spent(outcome: Outcome, budget_guard: BudgetGuard, store: Store) -> Outcome:
    """The outcome with what its budget, if it had one, has to do with it."""
    if budget_guard.budget is None:
        return outcome
    budget_guard.count(outcome.plan)
    left = fits_left(outcome.plan, store, lost={*outcome.failed, *outcome.blocked})
    why = outcome.stopped or (budget_guard.why if budget_guard.empty and left else None)
    return replace(outcome, stopped=why, spent=budget_guard.said, left=left)


@contextlib.contextmanager
def _cluster(console: PlainConsole, address: str | None, types: Nodes | None) -> Iterator[Any]:
    from w2s_ray.execute.cluster import ray_cluster

    with console.status("starting Ray", spinner="dots"):
        context = ray_cluster(address, types=types)
        cluster = context.__enter__()
    try:
        yield cluster
    finally:
        context.__exit__(None, None, None)


@contextlib.contextmanager
def _walk(
    plan: Plan,
    store: Store,
    sweep_text: str,
    console: PlainConsole,
    cluster: Any,
    budget_guard: BudgetGuard,
) -> Iterator[GraphRunner]:
    walk = GraphRunner(plan, store, sweep_text, console, cluster, budget_guard)
    try:
        yield walk
    finally:
        walk.tracking.close()
        walk.context.close()


def _vital_signs(
    lost: Callable[[str], None] | None, stop: Stop
) -> contextlib.AbstractContextManager[None]:
    """The watch over this call's own Ray; whoever is asked to stop doesn't begin again."""
    if lost is None:
        return contextlib.nullcontext()
    from w2s_ray.execute.local_ray import vital_signs

    return vital_signs(lambda dead: lost(dead) if stop.why is None else None)
