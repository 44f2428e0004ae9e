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
