"""The repeated display of a status: until its driver ends, or until it is interrupted."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

import pytest

from w2s_ray.config import parse_sweep
from w2s_ray.errors import InputError
from w2s_ray.notebook import NotebookConsole
from w2s_ray.plain_console import PlainConsole
from w2s_ray.status import watch as module
from w2s_ray.status.values import Driver, Status
from w2s_ray.status.watch import show, statuses, watch

DRIVER = Driver("host", 1, alive=True, said_s=0, running_s=1, phase="running")
ENDED = Status(
    sweep="grid",
    store="/store",
    state="complete",
    total=3,
    done=3,
    drivers=(),
    running=(),
    waiting=(),
    blocked=(),
    failed=(),
    studies=(),
    retried={},
    left=None,
)


def running(done: int) -> Status:
    return dataclasses.replace(ENDED, state="running", done=done, drivers=(DRIVER,))


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The pauses between two looks, which take no time."""
    found: list[float] = []
    monkeypatch.setattr(module.time, "sleep", found.append)
    return found


@pytest.fixture
def outputs(monkeypatch) -> list[tuple[str, str]]:
    """The id of an output and its text, for each update."""
    import IPython.display

    found: list[tuple[str, str]] = []

    def display(content, *, raw, display_id, update):
        assert update == bool(found)
        found.append((display_id, content["text/plain"]))

    monkeypatch.setattr(IPython.display, "display", display)
    return found


def interrupted() -> Iterator[Status]:
    yield running(1)
    raise KeyboardInterrupt


def test_it_looks_until_no_driver_is_running(pauses):
    looks = iter([running(1), running(2), ENDED])
    assert [status.done for status in statuses(lambda: next(looks), every_s=3)] == [1, 2, 3]
    assert pauses == [3, 3]


def test_in_a_notebook_one_output_is_replaced(outputs):
    show([running(1), running(2), ENDED], console=NotebookConsole())
    assert len({place for place, _ in outputs}) == 1
    assert [text.splitlines()[0] for _, text in outputs] == [
        f"grid in /store: {done} done of 3 runs" for done in (1, 2, 3)
    ]


def test_an_interrupt_ends_the_display_alone(outputs):
    show(interrupted(), console=NotebookConsole())
    assert len(outputs) == 1
    file = io.StringIO()
    show(interrupted(), console=PlainConsole(file=file, width=100))
    assert file.getvalue().startswith("grid in /store: 1 done of 3 runs")


@pytest.mark.parametrize("every_s", [0, -1.0, float("nan"), float("inf")])
def test_a_wrong_pause_is_refused(every_s):
    sweep = parse_sweep(
        "name: grid\ntask: {name: embedded, train: 20, validation: 2, test: 2}\n"
        "models: ['embedded:xs', 'embedded:s']\nmethods: {naive: {}}"
    )
    with pytest.raises(InputError, match=r"every_s is .*; give a number of seconds above 0"):
        watch(sweep, every_s=every_s)
