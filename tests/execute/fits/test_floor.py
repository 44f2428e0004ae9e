"""Who may start: within the cluster's room, parties by turns, warm hosts before new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from w2s_ray.execute.admission import Ask, Layout, Request
from w2s_ray.execute.cluster import Cluster
from w2s_ray.execute.fits import floor as floor_module
from w2s_ray.execute.fits import pool as pool_module
from w2s_ray.execute.fits.floor import Floor, TurnedAway, Withdrawn
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


class Board:
    """Stands for the board's actor handle: keeps what it is told of each fit."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda run_id: self.told.append((name, run_id)))


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
    monkeypatch.setattr(pool_module, "open_host", made.open)
    monkeypatch.setattr(pool_module.ray, "kill", made.killed.append)
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
    board = floor._board or Board()
    return asyncio.ensure_future(floor.admit(Ask(run_id, party, layout, rank), board))


def told(floor: Floor) -> list[tuple[str, str]]:
    """What the board was told, in order."""
    return floor._board.told


def request(run_id: str, party: str = "sweep", rank: int = 0) -> Request:
    return Request(run_id, party, rank)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_start_than_there_is_room_for_and_hosts_are_used_again(world):
    async def scene(floor: Floor) -> None:
        asked = [ask(floor, f"f{i}") for i in range(5)]
        await settle()
        assert [a.done() for a in asked] == [True, True, False, False, False]
        first = asked[0].result()
        await floor.leave(request("f0"))
        await settle()
        assert asked[2].result() is first
        assert len(world.opened) == 2

    run(scene)


def test_a_fit_that_asks_again_keeps_its_host(world):
    async def scene(floor: Floor) -> None:
        assert await ask(floor, "f0") is await ask(floor, "f0")
        assert len(world.opened) == 1

    run(scene)


def test_each_of_several_that_want_one_fit_gets_its_host_one_after_the_other(world):
    async def scene(floor: Floor) -> None:
        await ask(floor, "other")
        trials = [ask(floor, "same", "study", rank=n) for n in range(3)]
        elsewhere = ask(floor, "same", "second-study")
        await settle()
        await floor.leave(request("other"))
        for rank, trial in enumerate(trials):
            await settle()
            assert [t.done() for t in trials] == [n <= rank for n in range(3)]
            host = trial.result()
            await floor.leave(request("same", "study", rank))
        await settle()
        assert elsewhere.result() is host
        await floor.leave(request("same", "second-study"))
        assert len(world.opened) == 1
        assert await ask(floor, "next") is host

    run(scene, cpus=1)


def test_two_calls_of_one_requester_get_the_same_answer(world):
    async def scene(floor: Floor) -> None:
        await ask(floor, "other")
        calls = [ask(floor, "same", "study") for _ in range(2)]
        await settle()
        await floor.leave(request("other"))
        await settle()
        assert len({id(call.result()) for call in calls}) == 1
        assert await floor.has(request("same", "study"))
        await floor.leave(request("same", "study"))
        assert not await floor.has(request("same", "study"))

    run(scene, cpus=1)


def test_a_fit_that_waits_for_its_equal_takes_no_turn_and_no_room(world):
    async def scene(floor: Floor) -> None:
        await ask(floor, "same", "a")
        equal, next_in_line = ask(floor, "same", "b"), ask(floor, "next", "c", rank=9)
        await settle()
        assert (equal.done(), next_in_line.done()) == (False, True)

    run(scene)


def test_who_gives_a_fit_up_stops_it_for_nobody_else(world):
    async def scene(floor: Floor) -> None:
        first = await ask(floor, "same", "a")
        second, third = ask(floor, "same", "b"), ask(floor, "same", "c")
        await settle()
        assert await floor.give_up(request("same", "c")), "it waited, and the fit goes on"
        await settle()
        assert isinstance(third.exception(), Withdrawn)
        assert await floor.give_up(request("same", "a")), "it watched, and the fit goes on"
        assert await second is first
        assert await floor.give_up(request("same", "a")), "said again, it changes nothing"
        await floor.leave(request("same", "a"))
        assert await floor.has(request("same", "b"))
        assert told(floor) == [("begun", "same")]
        assert not await floor.give_up(request("same", "b")), "the last: nobody wants it any more"
        assert told(floor) == [("begun", "same"), ("stop", "same")]
        assert world.killed == []

    run(scene)


def test_a_fit_that_stops_keeps_its_host_until_it_has_ended_and_then_may_begin_anew(world):
    async def scene(floor: Floor) -> None:
        host = await ask(floor, "same", "a")
        assert not await floor.give_up(request("same", "a"))
        anew, other = ask(floor, "same", "b"), ask(floor, "other")
        await settle()
        assert not anew.done()
        assert not other.done()
        host.ended.set_result(None)
        await settle()
        assert anew.result() is host
        assert told(floor)[-2:] == [("fit_ended", "same"), ("begun", "same")]
        assert not other.done()

    run(scene, cpus=1)


def test_a_fit_that_does_not_stop_in_time_is_ended_with_its_host(world, monkeypatch):
    monkeypatch.setattr(floor_module, "STOP_S", 0.01)

    async def scene(floor: Floor) -> None:
        host = await ask(floor, "same", "a")
        await floor.give_up(request("same", "a"))
        assert await asyncio.wait_for(ask(floor, "next"), 10) is not host
        assert world.killed == [host]

    run(scene, cpus=1)


def test_a_lost_host_is_replaced_for_all_that_want_its_fit(world):
    async def scene(floor: Floor) -> None:
        first = await ask(floor, "same", "a")
        second = ask(floor, "same", "b")
        await settle()
        await floor.leave(request("same", "a"), host_lives=False)
        assert world.killed == [first]
        assert await second is not first
        again = ask(floor, "same", "a")
        await settle()
        assert not again.done()
        await floor.leave(request("same", "b"))
        assert await again is second.result()

    run(scene)


def test_trials_that_share_a_step_of_a_chain_leave_it_to_each_other(world):
    """A trial that ends withdraws all its fits: the step that another trains, and its student."""

    async def scene(floor: Floor) -> None:
        step = await ask(floor, "step", "study", rank=0)
        waits = [ask(floor, "step", "study", rank=n) for n in (1, 2)]
        student = ask(floor, "student-1", "study", rank=1)
        await settle()
        for fit in ("step", "student-1"):
            await floor.give_up(request(fit, "study", 1))
        await settle()
        assert isinstance(waits[0].exception(), Withdrawn)
        assert student.done()
        assert not waits[1].done()
        assert ("stop", "step") not in told(floor)
        await floor.leave(request("step", "study", 0))
        assert await waits[1] is step

    run(scene)


def test_the_end_of_a_study_ends_no_fit_that_others_want(world):
    async def scene(floor: Floor) -> None:
        shared = await ask(floor, "shared", "study", rank=3)
        own = await ask(floor, "own", "study", rank=4)
        other = ask(floor, "shared", "sweep")
        await settle()
        await floor.leave_party("study")
        assert world.killed == [own]
        assert await other is shared

    run(scene)


def test_a_budget_that_is_spent_lets_a_fit_under_way_go_on_for_others_but_none_begin(world):
    async def scene(floor: Floor) -> None:
        pruned, ended = await ask(floor, "pruned", "a"), await ask(floor, "ended", "a")
        goes_on, waits = ask(floor, "pruned", "b"), ask(floor, "ended", "b")
        await settle()
        await floor.halt()
        await floor.give_up(request("pruned", "a"))
        await floor.leave(request("ended", "a"))
        await settle()
        assert goes_on.result() is pruned
        assert not waits.done()
        await floor.close()
        await settle()
        assert isinstance(waits.exception(), TurnedAway)
        assert sorted(map(id, world.killed)) == sorted(map(id, [pruned, ended]))

    run(scene)


def test_a_host_that_cannot_be_opened_is_the_failure_of_the_fit_that_needs_it(world, monkeypatch):
    def refuse(layout: Layout) -> Host:
        if layout == PAIR:
            raise ValueError("no such resource")
        return world.open(layout)

    monkeypatch.setattr(pool_module, "open_host", refuse)

    async def scene(floor: Floor) -> None:
        await ask(floor, "now")
        broken, fine = ask(floor, "broken", layout=PAIR), ask(floor, "fine", rank=1)
        await settle()
        await floor.leave(request("now"))
        await settle()
        assert isinstance(broken.exception(), ValueError)
        assert fine.done()

    run(scene)


def test_a_cluster_that_does_not_answer_for_a_moment_is_asked_again(world, monkeypatch):
    monkeypatch.setattr(pool_module, "LOOK_S", 0.001)
    answers = iter([ConnectionError("try again"), {"CPU": 2.0}])

    def room(cluster: Cluster) -> dict[str, float]:
        answer = next(answers, {"CPU": 2.0})
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Cluster, "room", room)

    async def scene(floor: Floor) -> None:
        await ask(floor, "first")
        await asyncio.wait_for(ask(floor, "second"), 10)

    run(scene, cpus=1)


def test_parties_take_turns_however_many_fits_one_of_them_has(world):
    async def scene(floor: Floor) -> None:
        many = [ask(floor, f"a{i}", "study-a") for i in range(20)]
        await settle()
        few = [ask(floor, f"b{i}", "study-b") for i in range(2)]
        await settle()
        await floor.leave(request("a0", "study-a"))
        await settle()
        assert few[0].done()
        await floor.leave(request("b0", "study-b"))
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
        await floor.leave(request("now"))
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
        await floor.leave(request("s0"))
        await settle()
        assert not large.done()
        await floor.leave(request("s1"))
        await settle()
        assert large.done()

    run(scene)


def test_an_idle_host_of_another_layout_makes_room(world):
    async def scene(floor: Floor) -> None:
        group = await ask(floor, "sharded", layout=PAIR)
        await floor.leave(request("sharded"))
        seat = await ask(floor, "single")
        assert world.killed == [group]
        assert seat.layout == SEAT

    run(scene)


def test_a_group_that_has_ended_is_handed_to_nobody(world):
    async def scene(floor: Floor) -> None:
        group = await ask(floor, "one", layout=PAIR)
        await settle()
        await floor.leave(request("one"))
        group.ended.set_result(None)
        await settle()
        assert await ask(floor, "two", layout=PAIR) is not group

    run(scene)


def test_a_host_that_did_not_live_is_replaced_and_its_room_is_free(world):
    async def scene(floor: Floor) -> None:
        first = await ask(floor, "one", layout=PAIR)
        await floor.leave(request("one"), host_lives=False)
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
        assert isinstance(gone[2].exception(), Withdrawn)

    run(scene)


def test_hosts_close_after_a_while_without_a_fit(world, monkeypatch):
    monkeypatch.setattr(pool_module, "IDLE_S", 0.01)

    async def scene(floor: Floor) -> None:
        host = await ask(floor, "f0")
        await floor.leave(request("f0"))
        await asyncio.sleep(0.05)
        assert world.killed == [host]

    run(scene)


def test_room_follows_the_cluster_and_idle_hosts_go_where_it_shrinks(world):
    async def scene(floor: Floor) -> None:
        asked = [ask(floor, f"f{i}") for i in range(4)]
        await settle()
        floor._pool.resize({"CPU": 3.0})
        await settle()
        assert [a.done() for a in asked] == [True, True, True, False]
        floor._pool.resize({"CPU": 1.0})
        await floor.leave(request("f0"))
        await settle()
        assert len(world.killed) == 1
        assert not asked[3].done()
        await floor.leave(request("f1"), host_lives=False)
        await floor.leave(request("f2"), host_lives=False)
        await settle()
        assert asked[3].done()

    run(scene)


def test_a_cluster_without_room_for_a_fit_still_lets_in_one(world):
    async def scene(floor: Floor) -> None:
        floor._pool.resize({})
        assert (await ask(floor, "f0")).layout == SEAT

    run(scene)


def test_at_the_end_of_a_sweep_every_host_is_closed(world):
    async def scene(floor: Floor) -> None:
        hosts = [await ask(floor, "idle"), await ask(floor, "busy")]
        await floor.leave(request("idle"))
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
        floor._pool.resize(
            {"CPU": 8, "GPU": 4, "accelerator_type:L4": 1, "accelerator_type:A100": 3}
        )
        asked = [ask(floor, f"f{i}", layout=l4) for i in range(2)]
        await settle()
        assert [a.done() for a in asked] == [True, False]

    run(scene)


def test_where_nodes_come_and_go_hosts_are_opened_before_fits_ask(world, monkeypatch):
    monkeypatch.setattr(pool_module, "SPARE_S", 0.01)

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
        await floor.leave(request("f1"))
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
        await floor.leave(request("f0"))
        assert len(world.opened) == 1

    run(scene, cpus=1)
