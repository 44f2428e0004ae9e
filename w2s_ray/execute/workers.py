"""Workers: the processes that run fits, one fit after the other.

Owns the two kinds: a single-device worker, one process; and a worker group, Ray Train workers that
share a model through DeepSpeed. Starting either takes seconds of imports (for a group, its process
group and DeepSpeed as well), a fit of a search often less, so both are reused. Torch is imported
with the first fit. Scheduling and retries are elsewhere.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from typing import Any

import ray

from w2s_ray.execute.attempt import attempt
from w2s_ray.execute.cluster import on_this_node
from w2s_ray.execute.run_context import RunContext
from w2s_ray.fits.failures import HostLost
from w2s_ray.fits.retry import RunningElsewhere
from w2s_ray.plan import PlannedFit
from w2s_ray.scheduling.requests import WorkerSpec
from w2s_ray.store import Record


def start_worker(spec: WorkerSpec) -> Any:
    """A new worker; its method `run` takes (fit, context) and returns the result of `attempt`."""
    if spec.engine == "deepspeed":
        return WorkerGroup.options(runtime_env=_own_address(), **on_this_node()).remote(spec)
    options: dict[str, Any] = {"num_cpus": spec.cpus, "num_gpus": spec.gpus}
    if spec.accelerator is not None:
        options["accelerator_type"] = spec.accelerator
    return SingleDeviceWorker.options(**options).remote()


def _own_address() -> dict[str, Any]:
    """A runtime environment with this Ray's address, for a process and all its children.

    Ray Train's PlacementGroupCleaner, which frees the resources of a lost group, uses Ray's state
    API. Without an address that API searches for a Ray on this machine, and fails if it finds
    several.
    """
    return {"env_vars": {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}}


@ray.remote
class SingleDeviceWorker:
    """One process on one device."""

    def wait_until_idle(self) -> None:
        """Return once the running fit, if there is one, has ended."""

    def run(self, fit: PlannedFit, context: RunContext) -> Record | RunningElsewhere:
        """Run one attempt at a fit in this process."""
        with context.lease(fit.id) as leased:
            if not leased:
                return RunningElsewhere()
            return context.open_store().find(fit.id) or attempt(fit, context)


@ray.remote(num_cpus=0)
class WorkerGroup:
    """A Ray Train worker group that runs fits from a queue until it is killed or a worker dies.

    Its workers are placed together or not at all. This actor itself is on the driver's node, so it
    neither keeps an idle node alive nor is lost with one.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._queued = 0
        self._fits: dict[int, tuple[PlannedFit, RunContext]] = {}
        """The fits that some worker has not started, or that have not ended, by number."""
        self._starts: Counter[int] = Counter()
        """Number of a fit -> workers that have started it."""
        self._results: dict[int, asyncio.Future[Any]] = {}
        self._lost: BaseException | None = None
        self._fit_queued = asyncio.Condition()

    async def wait_until_idle(self) -> None:
        """Return once the running fit, if there is one, has ended."""
        results = [asyncio.shield(result) for result in self._results.values()]
        await asyncio.gather(*results, return_exceptions=True)

    async def serve(self) -> None:
        """Run the group; returns when one of its workers has ended."""
        this = ray.get_runtime_context().current_actor
        try:
            await asyncio.to_thread(_run_group, self._spec, this)
            self._lost = HostLost("the worker group has ended")
        except Exception as error:  # noqa: BLE001 - the result of every fit that waits for one
            self._lost = error
        for result in self._results.values():
            if not result.done():
                result.set_exception(self._lost)

    async def run(self, fit: PlannedFit, context: RunContext) -> Record | RunningElsewhere:
        """Run one attempt at a fit; a second call for a running fit returns the same result."""
        for number, result in self._results.items():
            if self._fits[number][0].id == fit.id:
                return await asyncio.shield(result)
        if self._lost is not None:
            raise self._lost
        lease = context.lease(fit.id)
        try:
            if not await asyncio.to_thread(lease.__enter__):
                return RunningElsewhere()
            done = await asyncio.to_thread(context.open_store().find, fit.id)
            return done or await self._run_queued(fit, context)
        finally:
            await asyncio.to_thread(lease.__exit__, None, None, None)

    async def _run_queued(self, fit: PlannedFit, context: RunContext) -> Record:
        if self._lost is not None:  # the group was lost while the lease was taken
            raise self._lost
        number, self._queued = self._queued, self._queued + 1
        self._results[number] = asyncio.get_running_loop().create_future()
        self._fits[number] = (fit, context)
        async with self._fit_queued:
            self._fit_queued.notify_all()
        try:
            return await asyncio.shield(self._results[number])
        finally:
            del self._results[number]
            self._drop_fit(number)

    async def next_fit(self, number: int) -> tuple[PlannedFit, RunContext]:
        """The group's fit number `number`, once it is queued; each worker takes it once."""
        async with self._fit_queued:
            await self._fit_queued.wait_for(lambda: number in self._fits)
        fit = self._fits[number]
        self._starts[number] += 1
        self._drop_fit(number)
        return fit

    def _drop_fit(self, number: int) -> None:
        """Remove a fit that has ended and that every worker has started: worker 0 may be ahead."""
        if self._starts[number] == self._spec.workers and number not in self._results:
            del self._fits[number], self._starts[number]

    async def set_result(self, number: int, result: Any) -> None:
        """Worker 0 reports how a fit ended."""
        future = self._results.get(number)
        if future is None or future.done():  # the group is lost: that error is the result
            return
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def _run_group(spec: WorkerSpec, group: Any) -> None:
    """Run a Ray Train worker group until it ends."""
    from ray import train
    from ray.train.torch import TorchTrainer

    scratch = tempfile.mkdtemp(prefix="w2s-group-")
    try:
        TorchTrainer(
            _run_fits,
            train_loop_config={"group": group},
            scaling_config=train.ScalingConfig(
                num_workers=spec.workers,
                use_gpu=spec.gpus > 0,
                accelerator_type=spec.accelerator,
                resources_per_worker={
                    "CPU": spec.cpus,
                    **({"GPU": spec.gpus} if spec.gpus else {}),
                },
            ),
            run_config=train.RunConfig(
                storage_path=scratch, failure_config=train.FailureConfig(max_failures=0)
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_fits(config: Mapping[str, Any]) -> None:
    """The loop of one worker of a group: the same fits on every rank, in the same order."""
    from ray import train

    from w2s_ray.learn.contract import LeaveRequested, StopRequested

    group, rank, number = config["group"], train.get_context().get_world_rank(), 0
    while True:
        fit, context = ray.get(group.next_fit.remote(number))
        result: Any
        try:
            result = attempt(fit, context, rank=rank)
        except (StopRequested, LeaveRequested) as request:  # on all workers: the group continues
            result = request
        if rank == 0:
            ray.get(group.set_result.remote(number, result))
        del result  # a request's traceback has the model
        number += 1
