"""`w2s figures`: files in folders, and helpful errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.report.figures.stores import Sweep, make_store
from w2s_ray.cli import app


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("figures") / "results"
    for name in ("one", "two"):
        make_store(folder, Sweep(name=name, methods=("naive",), seeds=(0,), examples=100))
    return folder


def figures(store: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["figures", "--store", str(store), "--out", str(out), *options])


def test_every_sweep_has_a_folder_and_every_figure_a_file(store, tmp_path):
    ran = figures(store, tmp_path)
    assert ran.exit_code == 0, ran.output
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert {"one/accuracy.svg", "two/pgr-grid.svg", "two/training.svg"} <= written
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".svg"}
    assert f"{tmp_path}/one/accuracy: Test accuracy by student size" in ran.output


def test_formats_and_names_are_chosen(store, tmp_path):
    options = ("--format", "png,json,html", "--only", "accuracy", "--theme", "dark", "--x", "flops")
    ran = figures(store, tmp_path, *options)
    assert ran.exit_code == 0, ran.output
    written = {path.name for path in (tmp_path / "one").iterdir()}
    assert written == {"accuracy.png", "accuracy.json", "accuracy.html"}
    spec = json.loads((tmp_path / "one" / "accuracy.json").read_text())
    assert spec["config"]["background"] == "#16181d"
    assert "FLOPs" in json.dumps(spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "acuracy"), "error: --only is 'acuracy'; one, two has the figures accuracy, "),
        (
            ("--format", "svg,pdf"),
            "error: --format is 'svg,pdf'; choose among svg, png, html, json",
        ),
        (("--x", "size"), "error: --x is 'size'; choose one of parameters, flops"),
        (("--theme", "blue"), "error: --theme is 'blue'; choose one of light, dark"),
    ],
)
def test_an_unknown_name_gives_one_line_with_the_known_ones(store, tmp_path, options, message):
    ran = figures(store, tmp_path / "out", *options)
    assert ran.exit_code == 2
    assert ran.stderr.startswith(message)
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_other_commands_load_no_plotting_library(store):
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from w2s_ray.cli import app\n"
        "for arguments in (['--help'], ['figures', '--help'], ['query', 'select 1', '--store', "
        f"{str(store)!r}]):\n"
        "    assert CliRunner().invoke(app, arguments).exit_code == 0\n"
        "print([m for m in ('altair', 'vl_convert') if m in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "[]\n", ran.stderr
