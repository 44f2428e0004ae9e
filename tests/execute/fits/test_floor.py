"""Who may start: within the cluster's room, parties by turns, warm hosts before new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from w2s_ray.execute.admission import Ask, Layout
from w2s_ray.execute.cluster import Cluster
from w2s_ray.execute.fits import floor as floor_module
from w2s_ray.execute.fits.floor import Floor, TurnedAway
from w2s_ray.plan import Nodes

SEAT = Layout(engine="torch", workers=1, cpus=1.0, gpus=0.0)
PAIR = Layout(engine="deepspeed", workers=2, cpus=1.0, gpus=0.0)
THIRD = Layout(engine="torch", workers=1, cpus=1.0, gpus=1 / 3)


class Host:
    """Stands for a host's actor handle."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.ended = asyncio.get_running_loop().create_future()
        self.serve = self.rest = self

    def remote(self) -> asyncio.Future[None]:
        """A worker group's `serve`."""
        return self.ended


class World:
    """The hosts that a floor has opened and killed."""

    def __init__(self) -> None:
        self.opened: list[Host] = []
        self.killed: list[Host] = []

    def open(self, layout: Layout) -> Host:
        self.opened.append(Host(layout))
        return self.opened[-1]


@pytest.fixture
def world(monkeypatch) -> World:
    made = World()
    monkeypatch.setattr(floor_module, "open_host", made.open)
    monkeypatch.setattr(floor_module.ray, "kill", made.killed.append)
    return made


HERE = Cluster(Nodes(()))
ELASTIC = Cluster(Nodes((), autoscaled=True))


def run(
    scene: Callable[[Floor], Any], *, cpus: float = 2, gpus: float = 0, cluster: Cluster = HERE
) -> None:
    async def play() -> None:
        await scene(Floor({"CPU": cpus, "GPU": gpus}, cluster))

    asyncio.run(play())


def ask(floor: Floor, run_id: str, party: str = "sweep", *, layout: Layout = SEAT, rank: int = 0):
    return asyncio.ensure_future(floor.admit(Ask(run_id, party, layout, rank)))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_start_than_there_is_room_for_and_hosts_are_used_again(world):
    async def scene(floor: Floor) -> None:
        asked = [ask(floor, f"f{i}") for i in range(5)]
        await settle()
        assert [a.done() for a in asked] == [True, True, False, False, False]
        first = asked[0].result()
        await floor.leave("f0")
        await settle()
        assert asked[2].result() is first
        assert len(world.opened) == 2

    run(scene)


def test_a_fit_that_asks_again_keeps_its_host(world):
    async def scene(floor: Floor) -> None:
        assert await ask(floor, "f0") is await ask(floor, "f0")
        assert len(world.opened) == 1

    run(scene)


def test_parties_take_turns_however_many_fits_one_of_them_has(world):
    async def scene(floor: Floor) -> None:
        many = [ask(floor, f"a{i}", "study-a") for i in range(20)]
        await settle()
        few = [ask(floor, f"b{i}", "study-b") for i in range(2)]
        await settle()
        await floor.leave("a0")
        await settle()
        assert few[0].done()
        await floor.leave("b0")
        await settle()
        assert few[1].done()
        assert sum(a.done() for a in many) == 2

    run(scene)


def test_rank_decides_within_a_party(world):
    async def scene(floor: Floor) -> None:
        ask(floor, "now", layout=PAIR)
        late = ask(floor, "late", rank=5)
        early = ask(floor, "early", rank=1)
        last = ask(floor, "last", rank=9)
        await settle()
        await floor.leave("now")
        await settle()
        assert (early.done(), late.done(), last.done()) == (True, True, False)

    run(scene)


def test_a_large_fit_is_not_starved_by_small_ones(world):
    async def scene(floor: Floor) -> None:
        ask(floor, "s0")
        ask(floor, "s1")
        large = ask(floor, "large", "study", layout=PAIR)
        ask(floor, "s2")
        await settle()
        await floor.leave("s0")
        await settle()
        assert not large.done()
        await floor.leave("s1")
        await settle()
        assert large.done()

    run(scene)


def test_an_idle_host_of_another_layout_makes_room(world):
    async def scene(floor: Floor) -> None:
        group = await ask(floor, "sharded", layout=PAIR)
        await floor.leave("sharded")
        seat = await ask(floor, "single")
        assert world.killed == [group]
        assert seat.layout == SEAT

    run(scene)


def test_a_group_that_has_ended_is_handed_to_nobody(world):
    async def scene(floor: Floor) -> None:
        group = await ask(floor, "one", layout=PAIR)
        await settle()
        await floor.leave("one")
        group.ended.set_result(None)
        await settle()
        assert await ask(floor, "two", layout=PAIR) is not group

    run(scene)


def test_a_host_that_did_not_live_is_replaced_and_its_room_is_free(world):
    async def scene(floor: Floor) -> None:
        first = await ask(floor, "one", layout=PAIR)
        await floor.leave("one", host_lives=False)
        assert world.killed == [first]
        assert await ask(floor, "two", layout=PAIR) is not first

    run(scene)


def test_fractions_of_a_gpu_hold_several_fits(world):
    async def scene(floor: Floor) -> None:
        asked = [ask(floor, f"f{i}", layout=THIRD) for i in range(4)]
        await settle()
        assert sum(a.done() for a in asked) == 3

    run(scene, cpus=8, gpus=1)


def test_a_party_that_nobody_watches_leaves_whole(world):
    async def scene(floor: Floor) -> None:
        gone = [ask(floor, f"a{i}", "study-a") for i in range(3)]
        stays = ask(floor, "b", "study-b", rank=9)
        await settle()
        await floor.leave_party("study-a")
        await settle()
        assert stays.done()
        assert not gone[2].done()

    run(scene)


def test_hosts_close_after_a_while_without_a_fit(world, monkeypatch):
    monkeypatch.setattr(floor_module, "IDLE_S", 0.01)

    async def scene(floor: Floor) -> None:
        host = await ask(floor, "f0")
        await floor.leave("f0")
        await asyncio.sleep(0.05)
        assert world.killed == [host]

    run(scene)


def test_room_follows_the_cluster_and_idle_hosts_go_where_it_shrinks(world):
    async def scene(floor: Floor) -> None:
        asked = [ask(floor, f"f{i}") for i in range(4)]
        await settle()
        floor.resize({"CPU": 3.0})
        await settle()
        assert [a.done() for a in asked] == [True, True, True, False]
        floor.resize({"CPU": 1.0})
        await floor.leave("f0")
        await settle()
        assert len(world.killed) == 1
        assert not asked[3].done()
        await floor.leave("f1", host_lives=False)
        await floor.leave("f2", host_lives=False)
        await settle()
        assert asked[3].done()

    run(scene)


def test_a_cluster_without_room_for_a_fit_still_lets_in_one(world):
    async def scene(floor: Floor) -> None:
        floor.resize({})
        assert (await ask(floor, "f0")).layout == SEAT

    run(scene)


def test_at_the_end_of_a_sweep_every_host_is_closed(world):
    async def scene(floor: Floor) -> None:
        hosts = [await ask(floor, "idle"), await ask(floor, "busy")]
        await floor.leave("idle")
        await floor.close()
        assert sorted(map(id, world.killed)) == sorted(map(id, hosts))

    run(scene)


def test_shares_of_gpus_are_packed_into_whole_ones(world):
    large = Layout(engine="torch", workers=1, cpus=1.0, gpus=0.6)

    async def scene(floor: Floor) -> None:
        asked = [ask(floor, f"f{i}", layout=large) for i in range(3)]
        await settle()
        assert sum(a.done() for a in asked) == 2, "1.8 GPUs in all, but no two on one of them"
        small = ask(floor, "small", layout=THIRD, rank=-1)
        await settle()
        assert small.done()

    run(scene, cpus=8, gpus=2)


def test_one_accelerator_type_may_be_full_while_another_is_not(world):
    l4 = Layout(engine="torch", workers=1, cpus=1.0, gpus=1.0, accelerator="L4")

    async def scene(floor: Floor) -> None:
        floor.resize({"CPU": 8, "GPU": 4, "accelerator_type:L4": 1, "accelerator_type:A100": 3})
        asked = [ask(floor, f"f{i}", layout=l4) for i in range(2)]
        await settle()
        assert [a.done() for a in asked] == [True, False]

    run(scene)


def test_where_nodes_come_and_go_hosts_are_opened_before_fits_ask(world, monkeypatch):
    monkeypatch.setattr(floor_module, "SPARE_S", 0.01)

    async def scene(floor: Floor) -> None:
        await floor.expect({SEAT: 5})
        assert len(world.opened) == 2, "as many as there will be room for"
        first = await ask(floor, "f0")
        assert len(world.opened) == 2
        await asyncio.sleep(0.05)
        assert world.killed == [], "fits are still to come"
        await floor.expect({SEAT: 1})
        await asyncio.sleep(0.05)
        assert len(world.killed) == 1
        assert first not in world.killed

    run(scene, cluster=ELASTIC)


def test_on_a_cluster_of_fixed_size_nothing_is_opened_ahead(world):
    async def scene(floor: Floor) -> None:
        await floor.expect({SEAT: 5})
        assert world.opened == []

    run(scene)


def test_when_a_sweep_is_stopped_nobody_is_let_in_and_the_rest_is_waited_for(world):
    async def scene(floor: Floor) -> None:
        busy = await ask(floor, "f0")
        idle = await ask(floor, "f1")
        await floor.leave("f1")
        await floor.halt()
        assert world.killed == [idle]
        late = ask(floor, "f2")
        await settle()
        assert not late.done()
        assert not await floor.at_rest(0.01)
        busy.ended.set_result(None)
        assert await floor.at_rest(1.0)

    run(scene)


def test_whoever_waits_at_the_end_is_turned_away_and_so_is_who_comes_later(world):
    async def scene(floor: Floor) -> None:
        running, waiting = ask(floor, "f0"), ask(floor, "f1")
        await settle()
        await floor.turn_away()
        late = ask(floor, "f2")
        await settle()
        assert running.done()
        assert isinstance(waiting.exception(), TurnedAway)
        assert isinstance(late.exception(), TurnedAway)
        await floor.leave("f0")
        assert len(world.opened) == 1

    run(scene, cpus=1)
