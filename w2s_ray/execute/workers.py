"""Hosts: the warm processes that fits run on, one fit after the other.

Owns the two kinds: a seat, one process with one device; and a worker group, Ray Train workers that
share a model through DeepSpeed. Starting either takes seconds of imports (a group's process group
and DeepSpeed besides), a fit of a search often less, so both outlive their fits. Nothing heavy is
imported before a fit is there. They know nothing of the order of fits and of retries.
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
from w2s_ray.execute.cluster import here
from w2s_ray.execute.run_context import RunContext
from w2s_ray.fits.failures import HostLost
from w2s_ray.fits.retry import RunningElsewhere
from w2s_ray.plan import PlannedFit
from w2s_ray.scheduling.requests import WorkerSpec
from w2s_ray.store import Record


def start_worker(spec: WorkerSpec) -> Any:
    """A new host; its method `run` takes (fit, carrier) and gives what `attempt` gives."""
    if spec.engine == "deepspeed":
        return WorkerGroup.options(runtime_env=_this_cluster(), **here()).remote(spec)
    asked: dict[str, Any] = {"num_cpus": spec.cpus, "num_gpus": spec.gpus}
    if spec.accelerator is not None:
        asked["accelerator_type"] = spec.accelerator
    return SingleDeviceWorker.options(**asked).remote()


def _this_cluster() -> dict[str, Any]:
    """Environment that tells a process, and all that it starts, which Ray it is part of.

    What frees a lost group's room (Ray Train's PlacementGroupCleaner) asks Ray's state API, which
    looks for a Ray on this machine by itself and gives up where there are several.
    """
    return {"env_vars": {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}}


def is_up(worker: Any) -> bool:
    """Whether a host's process has begun; until then it may wait for its machine.

    By Ray's table of actors: a process that hangs can't be asked.
    """
    from ray._private.state import actors

    return actors(worker._actor_id.hex()).get("State") == "ALIVE"


@ray.remote
class SingleDeviceWorker:
    """One process on one device."""

    def wait_until_idle(self) -> None:
        """Answers once the fit under way, if there is one, has ended."""

    def run(self, fit: PlannedFit, context: RunContext) -> Record | RunningElsewhere:
        """Carry out one attempt at a fit in this process."""
        with context.claimed(fit.id) as claimed:
            if not claimed:
                return RunningElsewhere()
            return context.open_store().find(fit.id) or attempt(fit, context)


@ray.remote(num_cpus=0)
class WorkerGroup:
    """A Ray Train worker group that takes fits from a queue until it is killed or a worker dies.

    Its workers are placed together or not at all; this actor itself is on the driver's node, so it
    neither keeps a machine from leaving nor is lost with one.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self._layout = spec
        self._taken = 0
        self._orders: dict[int, tuple[PlannedFit, RunContext]] = {}
        """Of fits that some worker has yet to begin, or that have not ended."""
        self._begun: Counter[int] = Counter()
        """Fit's number -> workers that have begun it."""
        self._results: dict[int, asyncio.Future[Any]] = {}
        self._lost: BaseException | None = None
        self._ordered = asyncio.Condition()

    async def wait_until_idle(self) -> None:
        """Answers once the fit under way, if there is one, has ended."""
        results = [asyncio.shield(result) for result in self._results.values()]
        await asyncio.gather(*results, return_exceptions=True)

    async def serve(self) -> None:
        """Keep the group running; ends when one of its workers has."""
        this = ray.get_runtime_context().current_actor
        try:
            await asyncio.to_thread(_train, self._layout, this)
            self._lost = HostLost("the worker group has ended")
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for a result
            self._lost = error
        for result in self._results.values():
            if not result.done():
                result.set_exception(self._lost)

    async def run(self, fit: PlannedFit, context: RunContext) -> Record | RunningElsewhere:
        """Carry out one attempt at a fit; one that is under way here already is joined."""
        for number, result in self._results.items():
            if self._orders[number][0].id == fit.id:
                return await asyncio.shield(result)
        if self._lost is not None:
            raise self._lost
        claim = context.claimed(fit.id)
        try:
            if not await asyncio.to_thread(claim.__enter__):
                return RunningElsewhere()
            known = await asyncio.to_thread(context.open_store().find, fit.id)
            return known or await self._ordered_run(fit, context)
        finally:
            await asyncio.to_thread(claim.__exit__, None, None, None)

    async def _ordered_run(self, fit: PlannedFit, context: RunContext) -> Record:
        if self._lost is not None:  # while the claim was taken: nobody would answer any more
            raise self._lost
        number, self._taken = self._taken, self._taken + 1
        self._results[number] = asyncio.get_running_loop().create_future()
        self._orders[number] = (fit, context)
        async with self._ordered:
            self._ordered.notify_all()
        try:
            return await asyncio.shield(self._results[number])
        finally:
            del self._results[number]
            self._drop_order(number)

    async def order(self, number: int) -> tuple[PlannedFit, RunContext]:
        """The group's fit number `number`, once there is one; each worker takes it once."""
        async with self._ordered:
            await self._ordered.wait_for(lambda: number in self._orders)
        order = self._orders[number]
        self._begun[number] += 1
        self._drop_order(number)
        return order

    def _drop_order(self, number: int) -> None:
        """Forget a fit that has ended, once every worker has taken it: worker 0 may be ahead."""
        if self._begun[number] == self._layout.workers and number not in self._results:
            del self._orders[number], self._begun[number]

    async def ended(self, number: int, result: Any) -> None:
        """Worker 0 says how a fit ended."""
        waiting = self._results.get(number)
        if waiting is None or waiting.done():  # the group is lost, and they have that error
            return
        if isinstance(result, BaseException):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)


def _train(spec: WorkerSpec, group: Any) -> None:
    """Run a Ray Train worker group until it ends."""
    from ray import train
    from ray.train.torch import TorchTrainer

    scratch = tempfile.mkdtemp(prefix="w2s-group-")
    try:
        TorchTrainer(
            _worker,
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


def _worker(config: Mapping[str, Any]) -> None:
    """One worker of a group: the same fits on every rank, in the same order."""
    from ray import train

    from w2s_ray.learn.contract import LeaveRequested, StopRequested

    group, rank, number = config["group"], train.get_context().get_world_rank(), 0
    while True:
        fit, context = ray.get(group.order.remote(number))
        result: Any
        try:
            result = attempt(fit, context, rank=rank)
        except (
            StopRequested,
            LeaveRequested,
        ) as asked:  # on every worker alike: the group lives on
            result = asked
        if rank == 0:
            ray.get(group.ended.remote(number, result))
        number += 1
