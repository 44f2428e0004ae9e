"""The plan: a sweep as a graph of runs. A run that several cells use is planned once.

Owns the function from (sweep, resolved inputs, settings that finished studies chose) to fits,
studies and cells, with ids, dependencies and totals. After a study is done, the sweep is planned
again, and the plan then has the runs that waited for its choice. It reads no data and no store, and
imports neither Ray nor torch.
"""

from w2s_ray.plan.builder import Outcomes
from w2s_ray.plan.forms import check_forms
from w2s_ray.plan.graph import Later, Plan, PlannedCell, PlannedFit, PlannedStudy, Role
from w2s_ray.plan.make import make_plan
from w2s_ray.plan.model_order import model_order_warnings
from w2s_ray.plan.nodes import NodeKind, Nodes, ResourceError, check_nodes, worker_resources

__all__ = [
    "Later",
    "NodeKind",
    "Nodes",
    "Outcomes",
    "Plan",
    "PlannedCell",
    "PlannedFit",
    "PlannedStudy",
    "ResourceError",
    "Role",
    "check_forms",
    "check_nodes",
    "make_plan",
    "model_order_warnings",
    "worker_resources",
]
