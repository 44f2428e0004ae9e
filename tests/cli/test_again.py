"""A command whose Ray has died becomes itself once more, a bounded number of times."""

from __future__ import annotations

import subprocess
import sys

from w2s_ray.cli.again import COUNT, MOST

SCRIPT = f"""
import os, sys
from w2s_ray.cli.again import begin_again
print(os.getpid(), os.environ.get({COUNT!r}, "0"), *sys.argv[1:])
begin_again("raylet")
"""


def test_it_begins_again_as_the_same_process_and_not_for_ever():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, "run", "sweep.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split() for line in run.stdout.splitlines()]
    assert [count for _, count, *_ in lines] == [str(n) for n in range(MOST + 1)]
    assert len({pid for pid, *_ in lines}) == 1
    assert all(arguments == ["run", "sweep.yaml"] for _, _, *arguments in lines)
    assert run.returncode == 2, "no run has failed"
    assert "the same command goes on from here" in run.stderr.splitlines()[-1]
