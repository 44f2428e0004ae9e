"""The board: what a fit is told of the machines that it is on."""

from __future__ import annotations

import asyncio

import pytest

from w2s_ray.execute.fits import board as module
from w2s_ray.execute.fits.board import Board


@pytest.mark.parametrize("draining", ["first", "second"])
def test_a_fit_leaves_when_the_machine_of_any_of_its_workers_goes(monkeypatch, draining):
    monkeypatch.setattr(module, "draining_nodes", lambda: {draining})

    async def asked() -> list[str]:
        board = Board()
        await board.begun("fit")
        await board.started("fit", "first", "there")
        await board.uses("fit", "second")
        await board.started("other", "third", "elsewhere")
        assert await board.where("fit") == {"first", "second"}
        return [await board.step("fit", 1, 2, "first"), await board.step("other", 1, 2, "third")]

    assert asyncio.run(asked()) == ["leave", "go"]


def test_a_new_attempt_forgets_the_machines_of_the_last():
    async def nodes() -> set[str]:
        board = Board()
        await board.started("fit", "first", "there")
        await board.begun("fit")
        await board.started("fit", "second", "there")
        return await board.where("fit")

    assert asyncio.run(nodes()) == {"second"}


def test_a_requester_that_goes_hides_no_fit_that_another_has_running():
    async def seen() -> list[dict[str, tuple[str, str, int]]]:
        board, looks = Board(), []

        async def look() -> None:
            standing = (await board.look()).standing
            looks.append({run: (s.state, s.place, s.about["rank"]) for run, s in standing.items()})

        await board.stands("fit", "starting", {"rank": 0}, "study#0")
        await board.stands("fit", "waiting", {"rank": 1}, "study#1")
        await look()
        await board.started("fit", "node", "here")
        await look()
        await board.gone("fit", "study#0")
        await look()
        await board.fit_ended("fit")
        await look()
        await board.gone("fit", "study#1")
        await look()
        return looks

    assert asyncio.run(seen()) == [
        {"fit": ("starting", "", 0)},
        {"fit": ("running", "here", 0)},
        {"fit": ("running", "here", 1)},
        {"fit": ("waiting", "", 1)},
        {},
    ]


def test_a_fit_that_several_wanted_took_its_time_once():
    async def seconds() -> dict[str, list[float]]:
        board = Board()
        for _ in range(3):
            await board.fit_done("fit", "gpt2", 4.0)
        await board.fit_done("other", "gpt2", 6.0)
        return (await board.look()).seconds

    assert asyncio.run(seconds()) == {"gpt2": [4.0, 6.0]}
