"""An `InputError` is one line and exit code 2; any other exception is a bug with its traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import w2s

BROKEN = """
import sys
from w2s_ray import cli, config, errors
def broken(path, overrides):
    {body}
config.load_sweep = broken
sys.argv = ["w2s", "plan", "sweep.yaml"]
cli.app()
"""


def plan_that_raises(body: str) -> subprocess.CompletedProcess[str]:
    code = BROKEN.format(body=body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("body", ["int('three')", "raise ValueError('x')", "raise OSError('x')"])
def test_any_other_exception_prints_its_traceback(body):
    run = plan_that_raises(body)
    assert run.returncode == 70
    assert "Traceback" in run.stderr
    assert "This is a bug in w2s_ray" in run.stderr


def test_an_input_error_is_one_line_wherever_it_was_raised():
    run = plan_that_raises("exec('raise errors.InputError(\"no such key\")')")
    assert (run.returncode, run.stderr) == (2, "error: no such key\n")


def test_an_input_error_shows_its_traceback_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_DEBUG", "1")
    shown = w2s("table", "--store", tmp_path / "none")
    assert "Traceback" in shown.stderr
    assert "there are no results at" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--version"], 0), (["table", "nowhere.yaml"], 2)]
)
def test_no_destructor_of_a_library_runs_at_the_end_of_a_command(arguments, code):
    """That of Arrow's threads now and then aborted a process whose output was complete."""
    program = (
        "import ctypes, sys; library = ctypes.CDLL(None); library.on_exit(library.abort, None); "
        "from w2s_ray.cli import main; sys.argv = ['w2s', *sys.argv[1:]]; main()"
    )
    command = [sys.executable, "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout or ended.stderr
