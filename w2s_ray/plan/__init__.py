"""The plan: a sweep as a graph of runs, each planned once however many cells use it.

Owns the way from (sweep, resolved inputs, settings that finished studies chose) to fits, studies
and cells, with ids, dependencies and totals. It is a pure function: asked again after a study
has ended, it knows that study's refits. It reads no data and no store, and knows no Ray and no
torch.
"""

from w2s_ray.plan.doubts import doubts
from w2s_ray.plan.forms import check_forms
from w2s_ray.plan.graph import Plan, PlannedCell, PlannedFit, PlannedStudy, Role
from w2s_ray.plan.make import Outcomes, make_plan
from w2s_ray.plan.nodes import NodeKind, Nodes, ResourceError, asked_by, check_nodes

__all__ = [
    "NodeKind",
    "Nodes",
    "Outcomes",
    "Plan",
    "PlannedCell",
    "PlannedFit",
    "PlannedStudy",
    "ResourceError",
    "Role",
    "asked_by",
    "check_forms",
    "check_nodes",
    "doubts",
    "make_plan",
]
