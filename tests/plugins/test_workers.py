"""Plugins on Ray: workers and studies execute the planned source, and refuse another one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.plugins.written import LOSS, write_plugin
from tests.support import sweep_text, w2s
from w2s_ray.plugins import find_source
from w2s_ray.store import Store

LOG = """
import os
from pathlib import Path
with Path("FOLDER/processes").open("a") as log:
    log.write(f"{os.getpid()}\\n")
"""
CHANGES_ITSELF = """
from pathlib import Path
helper = Path(__file__).with_name("helper.py")
helper.write_text(helper.read_text() + "# changed since it was planned\\n")
"""
PLUGINS = "plugins: [mine.py, pack_ray.losses]"
METHODS = """own: {loss: {kind: mine, q: 0.5}}
  tried: {search: {loss: {one_of: [{kind: mine, q: {choice: [0.25, 1]}}]}}}
  changed: {loss: {kind: other}}"""


@pytest.mark.ray
@pytest.mark.slow
def test_workers_execute_the_planned_source_and_refuse_another(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    write_plugin(tmp_path / "mine.py", LOSS, LOG.replace("FOLDER", str(tmp_path)))
    package = tmp_path / "pack_ray"
    write_plugin(package / "losses.py", LOSS.replace("mine", "other"), CHANGES_ITSELF)
    for name in ("__init__.py", "helper.py"):
        (package / name).write_text("")
    sweep = tmp_path / "sweep.yaml"
    search = "search: {trials: 2, on: [[a, b]], sampler: grid, concurrent_trials: 2}"
    text = sweep_text(tmp_path, methods=METHODS, extra=f"{PLUGINS}\n{search}")
    text = text.replace("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]")
    sweep.write_text(text.replace("seeds: [0, 1]", "seeds: [0]"))
    run = w2s("run", sweep)
    assert run.returncode == 1, run.stdout + run.stderr
    assert re.search(
        r"^failed [0-9a-f]{20}: InputError: other: the plugin pack_ray\.losses can't be loaded on "
        r"\S+: pack_ray\.losses has the source [0-9a-f]{8}, and the plan has [0-9a-f]{8}; ",
        run.stderr,
        re.MULTILINE,
    ), run.stderr
    assert len(re.findall(r"^failed [0-9a-f]{20}", run.stderr, re.MULTILINE)) == 1
    store = Store.open(tmp_path / "results")
    digest = find_source(str(tmp_path / "mine.py")).digest
    done = [record for record in store.records() if record.kind == "fit"]
    own = [record.recipe["loss"] for record in done if record.recipe["loss"]["kind"] == "mine"]
    assert len(own) == 4, "a student, two trials, and the best of them on the sweep's seed"
    assert {loss["q"] for loss in own} == {0.25, 0.5, 1.0}
    assert {loss["source"] for loss in own} == {digest}
    (study,) = (record for record in store.records() if record.kind == "study")
    assert study.about["settings"]["loss.source"] == digest
    processes = (tmp_path / "processes").read_text().split()
    assert len(set(processes)) == len(processes) > 2, "each process executes it once"
