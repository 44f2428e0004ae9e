"""A fit as a Ray task: in the task's own process, or watching over a worker group.

Owns the choice between the two and what Ray holds for each. It knows nothing of the graph.
"""

from __future__ import annotations

from typing import Any

import ray

from w2s_ray.execute.carrier import Carrier
from w2s_ray.execute.carry import carry
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Record


def start_fit(fit: PlannedFit, carrier: Carrier) -> Any:
    """Hand `fit` to Ray; the reference's value is its record.

    A one-device fit holds its CPUs and GPUs itself, on CPUs in a warm process; a sharded one holds
    nothing, since its worker group does. A process that dies is replaced `execution.retries` times.
    """
    execution = fit.execution
    if execution.engine == "deepspeed":
        options: dict[str, Any] = {"num_cpus": 0}
    else:
        asked = carrier.resources(execution)
        options = {"num_cpus": asked["CPU"], "num_gpus": asked.get("GPU", 0)}
    task = _gpu_fit_task if options.get("num_gpus") else _fit_task
    return task.options(max_retries=execution.retries, **options).remote(fit, carrier)


@ray.remote
def _fit_task(fit: PlannedFit, carrier: Carrier) -> Record:
    return carry(carrier, fit)


@ray.remote(max_calls=1)  # a warm process would keep GPU memory that Ray thinks is free
def _gpu_fit_task(fit: PlannedFit, carrier: Carrier) -> Record:
    return carry(carrier, fit)
