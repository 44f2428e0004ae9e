"""The version of the package: the same in Python, on the command line and in its metadata."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import w2s_ray
from w2s_ray.cli import app

DECLARED = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "plan"]])
def test_the_command_prints_the_version_and_does_nothing_else(arguments):
    run = CliRunner().invoke(app, arguments)
    assert (run.exit_code, run.stdout) == (0, f"w2s_ray {DECLARED['project']['version']}\n")


def test_the_package_has_the_version():
    assert w2s_ray.__version__ == DECLARED["project"]["version"]
