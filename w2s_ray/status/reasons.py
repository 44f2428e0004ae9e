"""Why a run is not under way: the first thing that it waits for.

Owns the words and their order: what it depends on, whether anybody is at work at all, who else has
claimed it, room. It knows the plan and what drivers say, and no store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from w2s_ray.plan import Plan, PlannedFit, PlannedStudy
from w2s_ray.status.values import Waiting, Why
from w2s_ray.store import Record
from w2s_ray.store.leases import Holder


@dataclass(frozen=True)
class WaitContext:
    """What decides why runs wait."""

    plan: Plan
    done: Set[str]
    said: Mapping[str, Mapping[str, Any]]
    """Run -> what a living driver says of it: its state, step and steps."""
    watched: Set[str]
    """Runs that a living driver has begun with."""
    tried: Mapping[str, Record]
    """Run -> its last attempt that failed."""
    at_work: bool
    """Whether a driver lives."""
    starting: bool
    """Whether all that live are still starting Ray."""
    holder: Callable[[str], Holder | None]
    """Who has claimed a run."""
    nodes: str | None = None
    """The nodes that living drivers wait for, in words."""


def waits(run: PlannedFit | PlannedStudy, facts: WaitContext) -> Waiting:
    """What `run` waits for."""
    why, of, said = _reason(run, facts)
    return Waiting(run=run.id, called=run.called, why=why, of=of, said=said)


def _reason(run: PlannedFit | PlannedStudy, facts: WaitContext) -> tuple[Why, str | None, str]:
    parent = next((p for p in run.parents if p not in facts.done), None)
    if parent is not None:
        return _for_parent(parent, facts)
    if not facts.at_work:
        return "driver", None, "no driver is running"
    if facts.starting:
        return "start", None, "Ray is starting"
    state = facts.said.get(run.id, {}).get("state")
    if state == "held":
        return "lease", None, _claimed_by(facts.holder(run.id))
    if state == "starting" and facts.nodes is not None:
        return "nodes", None, facts.nodes
    if state == "waiting":
        return "room", None, "room on the cluster"
    if run.id in facts.watched:
        if run.id in facts.tried:
            return "retry", None, f"its next try, after {facts.tried[run.id].cause}"
        return "start", None, "its start"
    if isinstance(run, PlannedStudy):
        limit = facts.plan.sweep.limits.studies_at_once
        some = f"one of {limit}" if limit else "as many as the cluster needs"
        return "turn", None, f"its turn: {some} studies at once (limits.studies_at_once)"
    return "room", None, "room on the cluster"


def _for_parent(parent: str, facts: WaitContext) -> tuple[Why, str, str]:
    study = facts.plan.studies.get(parent)
    if study is not None:
        return "study", parent, f"the {study.called}, which it begins with"
    return "supervisor", parent, _progress(facts.plan.fits[parent], facts)


def _progress(fit: PlannedFit, facts: WaitContext) -> str:
    said = facts.said.get(fit.id, {})
    if said.get("state") != "running":
        return f"{fit.called}, which waits too"
    at = f" at step {said['step']} of {said['steps']}" if said.get("step") else ""
    return f"{fit.called}, running{at}"


def _claimed_by(holder: Holder | None) -> str:
    if holder is None:
        return "another driver's claim, which is about to be free"
    host = holder.host.partition("/")[0]
    return f"another driver, whose process {holder.pid} on {host} has claimed it"
