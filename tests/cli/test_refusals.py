"""Only what was said for the user becomes one line: bugs keep their traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import w2s
from w2s_ray.cli.refusals import refused
from w2s_ray.identity import canonical_json
from w2s_ray.spec import Sweep, load_sweep
from w2s_ray.store import Store


def of_the_store():
    Store.open("/nowhere/at/all").check_readable()


def of_a_sweep_file(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("name: x\nbach: 1\n")
    load_sweep(path)


def of_a_library():
    Sweep.model_validate({"name": 3})


def of_an_expression():
    int("three")


@pytest.mark.parametrize(
    ("act", "meant"),
    [
        (of_the_store, True),
        (of_a_sweep_file, True),
        (lambda: canonical_json(float("nan")), True),
        (of_a_library, False),
        (of_an_expression, False),
    ],
)
def test_what_our_own_code_raises_is_meant_for_the_user(act, meant, tmp_path):
    arguments = (tmp_path,) if act is of_a_sweep_file else ()
    with pytest.raises(ValueError, match=r"\w") as raised:
        act(*arguments)
    assert refused(raised.value) == meant


BUG = """
import sys
from w2s_ray import cli, spec
def broken(path):
    return int("three")
spec.load_sweep = broken
sys.argv = ["w2s", "plan", "sweep.yaml"]
cli.app()
"""


def test_a_bug_keeps_its_traceback_whatever_its_type():
    run = subprocess.run([sys.executable, "-c", BUG], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "Traceback" in run.stderr
    assert "invalid literal" in run.stderr


def test_what_was_refused_shows_its_traceback_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_DEBUG", "1")
    shown = w2s("table", "--store", tmp_path / "none")
    assert "Traceback" in shown.stderr
    assert "there are no results at" in shown.stderr
