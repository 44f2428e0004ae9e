"""The steps before training: lines without control codes, or a bar on a terminal."""

from __future__ import annotations

import io

import pytest

from w2s_ray.execute import steps
from w2s_ray.plain_console import PlainConsole


def test_without_a_terminal_a_step_is_a_plain_line(monkeypatch):
    output = io.StringIO()
    with steps.step(PlainConsole(file=output, width=60), "planning", parts=2) as advance:
        assert output.getvalue() == "planning\n"
        advance("model a")
        monkeypatch.setattr(steps, "REPEAT_S", 0.0)
        advance("task \x1b[31m[/b]")
    assert output.getvalue() == "planning\nplanning: task \\x1b[31m[/b] (2 of 2)\n"


@pytest.mark.parametrize("parts", [0, 2])
def test_on_a_terminal_it_leaves_a_line_only_if_it_lasted(monkeypatch, parts):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")

    def shown() -> str:
        output = io.StringIO()
        console = PlainConsole(file=output, width=80)
        with steps.step(console, "planning [/b]", parts=parts) as advance:
            advance("model a")
        return output.getvalue()

    assert "planning [/b]: model a" in shown()
    assert "planning [/b]: 0 s" not in shown()
    monkeypatch.setattr(steps, "LONG_S", 0.0)
    assert "planning [/b]: 0 s" in shown().splitlines()[-1]
