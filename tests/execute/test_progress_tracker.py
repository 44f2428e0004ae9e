"""The progress tracker: the nodes of a fit, its commands, and the states of its requests."""

from __future__ import annotations

import asyncio
import io

import pytest

from w2s_ray.execute import progress_tracker as module
from w2s_ray.execute.progress_display import ProgressCounts, ProgressDisplay
from w2s_ray.execute.progress_tracker import ProgressTracker
from w2s_ray.plain_console import PlainConsole
from w2s_ray.status.run_state import ProgressSnapshot, RunState


@pytest.mark.parametrize("draining", ["first", "second"])
def test_a_fit_leaves_when_the_machine_of_any_of_its_workers_goes(monkeypatch, draining):
    monkeypatch.setattr(module, "draining_nodes", lambda: {draining})

    async def commands() -> list[str]:
        progress_tracker = ProgressTracker()
        await progress_tracker.attempt_starting("fit")
        await progress_tracker.fit_started("fit", "first", "there")
        await progress_tracker.add_node("fit", "second")
        await progress_tracker.fit_started("other", "third", "elsewhere")
        assert await progress_tracker.nodes_of("fit") == {"first", "second"}
        return [
            await progress_tracker.step("fit", 1, 2, "first"),
            await progress_tracker.step("other", 1, 2, "third"),
        ]

    assert asyncio.run(commands()) == ["leave", "go"]


def test_a_new_attempt_has_no_machines_of_the_last_one():
    async def nodes() -> set[str]:
        progress_tracker = ProgressTracker()
        await progress_tracker.fit_started("fit", "first", "there")
        await progress_tracker.attempt_starting("fit")
        await progress_tracker.fit_started("fit", "second", "there")
        return await progress_tracker.nodes_of("fit")

    assert asyncio.run(nodes()) == {"second"}


def test_a_requester_that_ends_does_not_hide_anothers_running_fit():
    async def seen() -> list[dict[str, tuple[str, str, int]]]:
        progress_tracker, looks = ProgressTracker(), []

        async def look() -> None:
            standing = (await progress_tracker.snapshot()).run_states
            looks.append({run: (s.state, s.place, s.about["rank"]) for run, s in standing.items()})

        await progress_tracker.set_state("fit", "starting", {"rank": 0}, "study#0")
        await progress_tracker.set_state("fit", "waiting", {"rank": 1}, "study#1")
        await look()
        await progress_tracker.fit_started("fit", "node", "here")
        await look()
        await progress_tracker.clear_state("fit", "study#0")
        await look()
        await progress_tracker.attempt_ended("fit")
        await look()
        await progress_tracker.clear_state("fit", "study#1")
        await look()
        return looks

    assert asyncio.run(seen()) == [
        {"fit": ("starting", "", 0)},
        {"fit": ("running", "here", 0)},
        {"fit": ("running", "here", 1)},
        {"fit": ("waiting", "", 1)},
        {},
    ]


def test_a_download_is_progress_and_is_shown():
    async def seen() -> list[object]:
        progress_tracker, found = ProgressTracker(), []
        await progress_tracker.fit_started("fit", "node", "here")
        progress_tracker._last_report["fit"] -= 1000
        found.append((await progress_tracker.idle_s("fit") or 0) > 900)
        await progress_tracker.fetching("fit", 3_100_000_000, 13_200_000_000)
        found.append((await progress_tracker.idle_s("fit") or 0) > 900)
        found.append((await progress_tracker.snapshot()).fetched_text("fit"))
        await progress_tracker.fetching("fit", 13_200_000_000, 13_200_000_000)
        found.append((await progress_tracker.snapshot()).fetched_text("fit"))
        await progress_tracker.fetching("fit", 1, 2)
        await progress_tracker.attempt_ended("fit")
        found.append((await progress_tracker.snapshot()).fetched_text("fit"))
        return found

    text = "downloading its model, 3.1 of 13.2 GB"
    assert asyncio.run(seen()) == [True, False, text, None, None]


def test_downloads_are_lines_where_the_output_is_no_terminal():
    console = PlainConsole(file=io.StringIO(), width=200)
    display = ProgressDisplay(console, progress_tracker=None)
    display.snapshot = ProgressSnapshot(fetched={"run": (3_100_000_000, 13_200_000_000)})
    counts = ProgressCounts(names={"run": "ceiling big"}, total=2)
    display._print_downloads(counts)
    display._print_downloads(counts)
    lines = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    assert len(lines) == 1
    assert lines[0].startswith("ceiling big: downloading its model, 3.1 of 13.2 GB")
    console.print(display._picture(counts))
    picture = console.file.getvalue().splitlines()[-1]  # pyright: ignore[reportAttributeAccessIssue]
    assert picture.startswith("ceiling big")
    assert picture.endswith("3.1 of 13.2 GB")


def test_fits_that_start_and_the_time_left_are_shown():
    console = PlainConsole(file=io.StringIO(), width=200)
    display = ProgressDisplay(console, progress_tracker=None)
    states = {
        "waits": RunState({"devices": 1}, "waiting", 0.0),
        "starts": RunState({"devices": 1}, "starting", 0.0),
        "reads": RunState({"devices": 1}, "running", 0.0),
        "trains": RunState({"devices": 1}, "running", 0.0),
        "study": RunState({}, "running", 0.0),
    }
    display.snapshot = ProgressSnapshot(run_states=states, steps={"trains": (1, 2)})
    console.print(display._picture(ProgressCounts(names={}, total=9, left_s=90.0)))
    head = console.file.getvalue().splitlines()[0]  # pyright: ignore[reportAttributeAccessIssue]
    assert "1 running  2 starting" in head
    assert head.rstrip().endswith("about 1 min 30 s left")
