"""A command whose Ray has died is restarted, a limited number of times."""

from __future__ import annotations

import subprocess
import sys

from w2s_ray.cli.restart import COUNT, MAX_RESTARTS

SCRIPT = f"""
import os, sys
from w2s_ray.cli.restart import restart
print(os.getpid(), os.environ.get({COUNT!r}, "0"), *sys.argv[1:])
restart("raylet")
"""


def test_the_process_is_replaced_and_restarts_are_limited():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, "run", "sweep.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split() for line in run.stdout.splitlines()]
    assert [count for _, count, *_ in lines] == [str(n) for n in range(MAX_RESTARTS + 1)]
    assert len({pid for pid, *_ in lines}) == 1
    assert all(arguments == ["run", "sweep.yaml"] for _, _, *arguments in lines)
    assert run.returncode == 2, "no run has failed"
    assert "run the same command again to resume" in run.stderr.splitlines()[-1]
