"""A sweep file with other overrides than those it ran with: one line says with which it ran."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.test_diff import SWEEP
from tests.store.builders import a_record
from w2s_ray.cli import app
from w2s_ray.config import overrides_in, read_sweep
from w2s_ray.prepare import plan_sweep, write_manifest
from w2s_ray.store import Store

RAN = ("name=long", "training.epochs=4", "seeds=[0, 1]")
COMMANDS = ("table", "compare", "rank", "cost", "status")


@pytest.fixture(scope="module", autouse=True)
def _ran(tmp_path_factory):
    """A store in which the file's supervisors are done with the overrides `RAN`, under its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("ran"))
        patch.setenv("W2S_CACHE", "cache")
        Path("a.yaml").write_text(SWEEP)
        ran(*RAN)
        yield


def ran(*overrides: str) -> None:
    source, store = read_sweep("a.yaml", overrides=overrides), Store.open("results")
    plan = plan_sweep(source.sweep, store=store)
    write_manifest(plan, store, source.text)
    for fit in plan.fits.values():
        if "supervisor" in fit.roles and not store.find(fit.id):
            store.write_run(a_record(id=fit.id, recipe=fit.recipe.model_dump(mode="json")))


def w2s(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments).stderr


def test_the_stored_text_names_the_file_and_its_overrides():
    text = read_sweep("a.yaml", overrides=RAN).text
    assert overrides_in(text) == ("a.yaml", RAN)
    assert overrides_in(SWEEP) == overrides_in("") == ("", ())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_the_overrides_says_with_which_it_ran(command):
    offer = "a.yaml as it ran with other overrides: "
    line = next(line for line in w2s(command, "a.yaml").splitlines() if offer in line)
    assert line.startswith("0 of 17 runs of this sweep are in ")
    assert line.endswith(f"{command} a.yaml name=long training.epochs=4 'seeds=[0, 1]'")
    assert offer not in w2s(command, "a.yaml", *RAN)


@pytest.mark.parametrize("command", ["report", "figures"])
def test_a_sweep_that_is_not_there_is_named_with_its_overrides(command):
    error = w2s(command, "a.yaml")
    assert error.startswith("error: no sweep 's' in ")
    assert f"{command} a.yaml name=long training.epochs=4 'seeds=[0, 1]'" in error


def test_a_sweep_that_ran_without_overrides_is_offered_to_one_with():
    ran()
    line = w2s("table", "a.yaml", "training.lr=1e-3").splitlines()[-1]
    assert "a.yaml as it ran without overrides: " in line
    assert line.endswith(" table a.yaml")
