"""Why a run is not running: the first condition that it waits for.

Owns the conditions, their order and their texts: the runs that it depends on, a driver, another
driver's lease, free resources. It uses the plan and the heartbeats of drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from w2s_ray.plan import Plan, PlannedFit, PlannedStudy
from w2s_ray.status.values import Waiting, Why
from w2s_ray.store import Record
from w2s_ray.store.leases import Holder

FREE_RESOURCES = "free resources on the cluster"


@dataclass(frozen=True)
class WaitContext:
    """The conditions of all runs of a sweep."""

    plan: Plan
    done: Set[str]
    run_states: Mapping[str, Mapping[str, Any]]
    """Run -> its state, step and steps in a live driver's heartbeat."""
    monitored: Set[str]
    """Runs that a live driver has started to monitor."""
    last_failures: Mapping[str, Record]
    """Run -> its last attempt, which failed."""
    has_driver: bool
    """Whether a driver is alive."""
    starting: bool
    """Whether all live drivers are still starting Ray."""
    holder: Callable[[str], Holder | None]
    """The holder of a run's lease."""
    nodes: str | None = None
    """The nodes that live drivers wait for, as text."""


def wait_reason(run: PlannedFit | PlannedStudy, context: WaitContext) -> Waiting:
    """What `run` waits for."""
    why, of, text = _reason(run, context)
    return Waiting(run=run.id, description=run.description, why=why, of=of, reason=text)


def _reason(run: PlannedFit | PlannedStudy, context: WaitContext) -> tuple[Why, str | None, str]:
    parent = next((p for p in run.parents if p not in context.done), None)
    if parent is not None:
        return _parent_reason(parent, context)
    if not context.has_driver:
        return "driver", None, "no driver is running"
    if context.starting:
        return "start", None, "Ray is starting"
    state = context.run_states.get(run.id, {}).get("state")
    if state == "held":
        return "lease", None, _lease_text(context.holder(run.id))
    if state == "starting" and context.nodes is not None:
        return "nodes", None, context.nodes
    if state == "waiting":
        return "room", None, FREE_RESOURCES
    if run.id in context.monitored:
        if run.id in context.last_failures:
            cause = context.last_failures[run.id].cause
            return "retry", None, f"its next attempt, after {cause}"
        return "start", None, "its start"
    if isinstance(run, PlannedStudy):
        limit = context.plan.sweep.limits.studies_at_once
        some = f"one of {limit}" if limit else "as many as the cluster needs"
        return "turn", None, f"its turn: {some} studies at once (limits.studies_at_once)"
    return "room", None, FREE_RESOURCES


def _parent_reason(parent: str, context: WaitContext) -> tuple[Why, str, str]:
    study = context.plan.studies.get(parent)
    if study is not None:
        return "study", parent, f"the {study.description}, whose settings it starts with"
    return "supervisor", parent, _progress_text(context.plan.fits[parent], context)


def _progress_text(fit: PlannedFit, context: WaitContext) -> str:
    state = context.run_states.get(fit.id, {})
    if state.get("state") != "running":
        return f"{fit.description}, which waits too"
    at = f" at step {state['step']} of {state['steps']}" if state.get("step") else ""
    return f"{fit.description}, running{at}"


def _lease_text(holder: Holder | None) -> str:
    if holder is None:
        return "another driver's lease, which is about to expire"
    host = holder.host.partition("/")[0]
    return f"another driver, whose process {holder.pid} on {host} holds its lease"
