"""The commands that one needs after `w2s run`, with the arguments of this call.

Owns which they are. They are quoted for a POSIX shell.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from w2s_ray.execute.driver import Outcome


WIDEST = 70
"""Characters of a command up to which the comments are aligned."""


@dataclass(frozen=True)
class RunArguments:
    """The arguments of a call of `w2s run`."""

    sweep_file: Path
    overrides: Sequence[str]
    store: str | None
    options: Sequence[str] = ()
    """Options of `run` alone: the cluster and the budget."""

    def command(self, name: str, *more: str) -> str:
        """Another command for the same sweep."""
        store = ("--store", self.store) if self.store is not None else ()
        return shlex.join([*_program(), name, str(self.sweep_file), *self.overrides, *store, *more])

    def again(self) -> str:
        """The same call."""
        return self.command("run", *self.options)


def next_steps(call: RunArguments, outcome: Outcome, *, name: str, store: str) -> list[str]:
    """Three commands, each with a comment; `name` and `store` are the sweep's name and its store's
    URI.
    """
    status = call.command("status"), "every run that is not done, with the reason"
    if outcome.stopped is not None:
        steps = [(call.again(), "resumes"), status, (call.command("table"), "the results so far")]
    elif outcome.failed:
        explain = shlex.join([*_program(), "explain", next(iter(outcome.failed)), "--store", store])
        steps = [
            (explain, "the recipe and traceback of a failed run"),
            status,
            (call.again(), "trains again what failed"),
        ]
    else:
        steps = [
            (call.command("table"), "the table again; --format csv for a file"),
            (call.command("report", "--out", f"{name}.html"), "everything on one page"),
            status,
        ]
    width = min(max(len(command) for command, _ in steps), WIDEST)
    return [f"  {command:<{width}}  # {comment}" for command, comment in steps]


def _program() -> list[str]:
    """How this program is called."""
    called = sys.argv[0]
    if os.path.basename(called) == "__main__.py":
        return ["python", "-m", "w2s_ray"]
    if os.path.basename(called) == "w2s" and shutil.which("w2s") is None:
        return [called]
    return ["w2s"]
