"""A worker group answers every requester and gives every worker each of its fits."""

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
    """A carrier whose store has nothing; `on_claim` is called when a fit is claimed."""

    def __init__(self, on_claim: Any = lambda: None) -> None:
        self._on_claim = on_claim

    @contextlib.contextmanager
    def claimed(self, run_id: str) -> Any:
        self._on_claim()
        yield True

    def open_store(self) -> Any:
        return SimpleNamespace(find=lambda run_id: None)


def a_group() -> Any:
    return WorkerGroup.__ray_metadata__.modified_class(PAIR)


def test_two_that_want_one_fit_get_the_same_result():
    async def scene() -> None:
        group = a_group()
        first = asyncio.ensure_future(group.run(FIT, RunContext()))
        assert (await group.order(0))[0] is FIT
        second = asyncio.ensure_future(group.run(FIT, RunContext()))
        await asyncio.sleep(0)
        await group.ended(0, "record")
        assert [await first, await second] == ["record", "record"]

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_a_worker_that_is_behind_still_gets_a_fit_that_worker_0_has_ended():
    async def scene() -> None:
        group = a_group()
        for number, fit in enumerate((FIT, OTHER)):
            running = asyncio.ensure_future(group.run(fit, RunContext()))
            assert (await group.order(number))[0] is fit
            await group.ended(number, "record")
            assert await running == "record"
        assert [(await group.order(n))[0] for n in range(2)] == [FIT, OTHER]
        assert group._orders == {}

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_a_group_that_is_lost_while_a_fit_is_claimed_answers_that_it_is_lost():
    async def scene() -> None:
        group = a_group()

        def lose() -> None:
            group._lost = HostLost("the worker group has ended")

        with pytest.raises(HostLost):
            await group.run(FIT, RunContext(lose))

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_what_worker_0_says_after_the_group_is_lost_disturbs_nothing():
    async def scene() -> None:
        await a_group().ended(7, "record")

    asyncio.run(asyncio.wait_for(scene(), 20))
