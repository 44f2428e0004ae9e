"""A worker group returns a result for every call and gives each of its workers every fit."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from w2s_ray.execute.workers import WorkerGroup
from w2s_ray.fits.failures import HostLost
from w2s_ray.scheduling.requests import WorkerSpec

PAIR = WorkerSpec(engine="deepspeed", workers=2, cpus=1.0, gpus=0.0)
FIT, OTHER = SimpleNamespace(id="fit"), SimpleNamespace(id="other")


class RunContext:
    """A run context with an empty store; `on_lease` is called when a lease is taken."""

    def __init__(self, on_lease: Any = lambda: None) -> None:
        self._on_lease = on_lease

    @contextlib.contextmanager
    def lease(self, run_id: str) -> Any:
        self._on_lease()
        yield True

    def open_store(self) -> Any:
        return SimpleNamespace(find=lambda run_id: None)


def a_group() -> Any:
    return WorkerGroup.__ray_metadata__.modified_class(PAIR)


def test_two_calls_for_one_fit_get_the_same_result():
    async def scenario() -> None:
        group = a_group()
        first = asyncio.ensure_future(group.run(FIT, RunContext()))
        assert (await group.next_fit(0))[0] is FIT
        second = asyncio.ensure_future(group.run(FIT, RunContext()))
        await asyncio.sleep(0)
        await group.set_result(0, "record")
        assert [await first, await second] == ["record", "record"]

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_worker_that_is_behind_still_gets_a_fit_that_worker_0_has_ended():
    async def scenario() -> None:
        group = a_group()
        for number, fit in enumerate((FIT, OTHER)):
            running = asyncio.ensure_future(group.run(fit, RunContext()))
            assert (await group.next_fit(number))[0] is fit
            await group.set_result(number, "record")
            assert await running == "record"
        assert [(await group.next_fit(n))[0] for n in range(2)] == [FIT, OTHER]
        assert group._fits == {}

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_group_that_is_lost_while_a_lease_is_taken_raises_its_loss():
    async def scenario() -> None:
        group = a_group()

        def lose() -> None:
            group._lost = HostLost("the worker group has set_result")

        with pytest.raises(HostLost):
            await group.run(FIT, RunContext(lose))

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_result_after_the_loss_of_the_group_is_ignored():
    async def scenario() -> None:
        await a_group().set_result(7, "record")

    asyncio.run(asyncio.wait_for(scenario(), 20))
