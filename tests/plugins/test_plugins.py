"""Losses, transforms and tasks of plugins: settings, ids, searches, workers, stored results."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.learn.tiny import Recorder, data_of, make_gpt2, recipe_of, source_of
from tests.plugins.written import (
    CLASS,
    LOSS,
    TASK,
    TRANSFORM,
    loaded_sweep,
    plugin_of,
    sweep_with,
    write_plugin,
)
from tests.support import NoCheckpoints
from w2s_ray.cli import app
from w2s_ray.config import (
    Execution,
    FitRecipe,
    FitSettings,
    Labels,
    StudyRecipe,
    load_sweep,
)
from w2s_ray.config.merge import with_settings
from w2s_ray.config.space import branches
from w2s_ray.data.inputs import load_split, resolve
from w2s_ray.errors import InputError
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.learn.loop import fit
from w2s_ray.learn.losses import loss_sum
from w2s_ray.methods.losses import AbsentLoss
from w2s_ray.plan import Plan, make_plan
from w2s_ray.plugins import find_source, loaded, source
from w2s_ray.prepare import materialize, plan_sweep, write_manifest
from w2s_ray.store import Store

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "own-method.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.split("\n## Check a plugin")[0], re.DOTALL)
SEARCH = "search: {trials: 2, on: [['embedded:xs', 'embedded:s']]}"
ONE_OF = "a: {search: {loss: {one_of: [{kind: xent}, {kind: mine, q: {uniform: [0.1, 0.9]}}]}}}"


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def plan_of(folder: Path, methods: str, **given: str) -> Plan:
    sweep = loaded_sweep(folder, methods=methods, **given)
    return make_plan(sweep, resolve(sweep, online=False))


def ids(plan: Plan, method: str) -> set[str]:
    """Ids of a method's students and studies."""
    fits = {id_ for id_, each in plan.fits.items() if method in each.methods}
    return fits | {id_ for id_, each in plan.studies.items() if each.method == method}


# -- the document --


def test_the_documents_loss_is_the_shipped_file_and_computes_its_formula():
    assert EXAMPLES[0] == (ROOT / "sweeps" / "plugins" / "generalized.py").read_text()
    sweep = load_sweep(ROOT / "sweeps" / "own_loss.yaml")
    own = sweep.methods["generalized"].loss
    assert (own.model_dump()["kind"], own.model_dump()["q"]) == ("generalized", 0.5)
    logits = torch.tensor([[0.3, -0.2], [1.5, 0.1]])
    labels = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=1, keepdims=True)
    expected = (labels.numpy() * (1 - np.sqrt(p)) / 0.5).sum()
    found = loss_sum(own, logits, labels, statistic=None, progress=0.0)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_every_example_of_the_document_passes_w2s_check(tmp_path, text):
    file = tmp_path / "example.py"
    file.write_text(text)
    run = CliRunner().invoke(app, ["check", str(file)])
    assert run.exit_code == 0, run.output
    assert run.stdout.count("ok  ") == len(run.stdout.splitlines()) > 1


def test_the_number_of_examples():
    assert len(EXAMPLES) == 5


# -- settings, as of the package's kinds --


def test_a_plugins_kinds_are_validated_and_trained(tmp_path):
    write_plugin(tmp_path / "mine.py", LOSS, TRANSFORM)
    methods = "a: {loss: {kind: mine, q: 0.5}, stages: [{kind: sharper, by: 3}]}"
    method = loaded_sweep(tmp_path, methods=methods).methods["a"]
    assert method.loss.model_dump()["q"] == 0.5
    recipe = recipe_of(
        loss=method.loss, labels=Labels(source=("0" * 20,), transforms=method.stages)
    )
    seen = Recorder()
    fit(
        recipe,
        source=source_of(make_gpt2(tmp_path / "model"), "m"),
        data=data_of(),
        execution=Execution(gpus_per_worker=0),
        observer=seen,
    )
    assert seen.losses[-1] < seen.losses[0]
    stored = json.loads(json.dumps(recipe.model_dump(mode="json")))
    read = FitRecipe.model_validate(stored)
    assert (read.loss, read.labels, read.run_id) == (recipe.loss, recipe.labels, recipe.run_id)


def test_a_class_and_a_function_with_progress(tmp_path):
    text = """
@w2s.loss
def warm(logits_BC, labels_BC, *, progress, most: float = 2.0):
    return -(labels_BC * logits_BC.float().log_softmax(dim=1)).sum(dim=1) * progress * most
"""
    kinds = {k.__name__: k() for k in plugin_of(tmp_path / "p.py", CLASS, text).kinds}
    logits, labels = torch.zeros(3, 2), torch.full((3, 2), 0.5)
    each = {
        name: kind.each(logits, labels, statistic=None, progress=0.25)  # type: ignore[attr-defined]
        for name, kind in kinds.items()
    }
    assert torch.allclose(each["Mine"], torch.full((3,), 0.5 * np.log(2)))
    assert torch.allclose(each["warm"], torch.full((3,), 0.25 * 2.0 * np.log(2)))


def test_a_module_can_be_imported_without_a_sweep(tmp_path, monkeypatch):
    write_plugin(tmp_path / "plain_module.py", LOSS, CLASS.replace('"mine"', '"other"'))
    monkeypatch.syspath_prepend(tmp_path)
    import plain_module  # type: ignore[import-not-found]

    assert plain_module.mine(torch.zeros(1, 2), torch.full((1, 2), 0.5), q=1.0).shape == (1,)
    assert "source" not in plain_module.Mine.model_fields


# -- identity --


def test_ids_depend_on_settings_and_source_of_the_runs_that_use_it(tmp_path):
    methods = "a: {loss: {kind: mine}}\n  naive: {}"
    plans = []
    for text, of_a in ((LOSS, "{kind: mine}"), (LOSS + "#", "{kind: mine}"), (LOSS, "{kind: kl}")):
        write_plugin(tmp_path / "mine.py", text)
        plans.append(plan_of(tmp_path, methods.replace("{kind: mine}", of_a)))
    first, edited, other = plans
    assert ids(first, "naive") == ids(edited, "naive") == ids(other, "naive") != set()
    assert not ids(first, "a") & ids(edited, "a")
    write_plugin(tmp_path / "mine.py", LOSS)
    assert set(plan_of(tmp_path, methods).fits) == set(first.fits)
    assert not ids(first, "a") & ids(plan_of(tmp_path, "a: {loss: {kind: mine, q: 0.1}}"), "a")
    without = plan_of(tmp_path, "naive: {}", plugins="")
    assert ids(without, "naive") == ids(first, "naive")


def test_line_breaks_of_another_system_are_the_same_source(tmp_path):
    unix, other = tmp_path / "unix.py", tmp_path / "other.py"
    write_plugin(unix, LOSS)
    other.write_bytes(unix.read_bytes().replace(b"\n", b"\r\n"))
    assert find_source(str(unix)).digest == find_source(str(other)).digest


def test_a_study_depends_on_the_source_of_a_kind_that_it_tries(tmp_path):
    studies, trials = [], []
    for text in (LOSS, LOSS + "#"):
        write_plugin(tmp_path / "mine.py", text)
        plan = plan_of(tmp_path, ONE_OF, more=SEARCH)
        ((id_, study),) = plan.studies.items()
        own = find_source(str(tmp_path / "mine.py")).digest
        branch = next(b for b in branches(study.recipe.space) if b.kinds["loss"] == "mine")
        settings = {**branch.fixed, "loss.q": 0.25}
        (trial,) = (fits[-1].recipe for fits in study.trial_chains(settings))
        assert trial.loss.model_dump() == {"kind": "mine", "q": 0.25, "source": own}
        stored = StudyRecipe.model_validate(study.recipe.model_dump(mode="json"))
        assert stored.run_id == id_
        studies.append(id_)
        trials.append(trial.run_id)
    assert len(set(studies)) == len(set(trials)) == 2


def test_an_older_sweep_keeps_its_source_after_an_edit_in_the_same_process(tmp_path):
    write_plugin(tmp_path / "mine.py", LOSS)
    before = loaded_sweep(tmp_path, methods=ONE_OF, more=SEARCH)
    planned = set(make_plan(before, resolve(before, online=False)).studies)
    write_plugin(tmp_path / "mine.py", LOSS + "#")
    loaded_sweep(tmp_path, methods=ONE_OF, more=SEARCH)
    assert set(make_plan(before, resolve(before, online=False)).studies) == planned


def test_a_sweep_without_plugins_has_no_kinds_of_an_earlier_one(tmp_path):
    write_plugin(tmp_path / "mine.py", LOSS)
    loaded_sweep(tmp_path, methods="a: {loss: {kind: mine}}")
    with pytest.raises(InputError, match="unknown kind 'mine'"):
        loaded_sweep(tmp_path, methods="a: {loss: {kind: mine}}", plugins="")


# -- packages and entry points --


def package(folder: Path, name: str, *, helper: str = "FACTOR = 1.0\n") -> Path:
    write_plugin(folder / name / "losses.py", f"from {name}.helper import FACTOR\n", LOSS)
    (folder / name / "__init__.py").write_text("")
    (folder / name / "helper.py").write_text(helper)
    return folder / name


def test_the_source_of_a_module_is_every_python_file_of_its_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    made = package(tmp_path, "pack_a")
    first = find_source("pack_a.losses").digest
    assert find_source("pack_a").digest == first
    (made / "helper.py").write_text("FACTOR = 2.0\n")
    second = find_source("pack_a.losses").digest
    (made / "sub").mkdir()
    (made / "sub" / "more.py").write_text("")
    assert len({first, second, find_source("pack_a.losses").digest}) == 3
    (made / "data.txt").write_text("x")
    third = find_source("pack_a.losses").digest
    (made / "data.txt").write_text("y")
    assert find_source("pack_a.losses").digest == third


def test_a_module_gives_its_kinds_and_an_entry_point_names_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package(tmp_path, "pack_b")
    sweep = loaded_sweep(
        tmp_path, methods="a: {loss: {kind: mine}}", plugins="plugins: [pack_b.losses]"
    )
    assert sweep.methods["a"].loss.model_dump()["source"] == sweep.plugins[0].source.digest
    entry = EntryPoint("my-lab", "pack_b.losses", source.GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: EntryPoints([entry]))
    assert find_source("my-lab").digest == sweep.plugins[0].source.digest
    with pytest.raises(InputError, match="packages here have the plugins my-lab"):
        find_source("no-lab")


def test_a_package_that_changed_after_its_import_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    made = package(tmp_path, "pack_c")
    loaded(find_source("pack_c.losses"))
    (made / "helper.py").write_text("FACTOR = 3.0\n")
    with pytest.raises(InputError, match="has changed since this process imported pack_c"):
        loaded(find_source("pack_c.losses"))


# -- workers --

UNPICKLE = """
import pickle, sys
from pathlib import Path
found = pickle.loads(Path(sys.argv[1]).read_bytes())
try:
    print(found.prepared(None))
except Exception as error:
    print(type(error).__name__, error)
print(sorted(found.model_dump().items()))
assert "torch" not in sys.modules
"""
PLANNED = """
    def prepared(self, labels_NC):
        return "as planned"
"""


def in_another_process(value: object, folder: Path) -> list[str]:
    """What another process prints that gets a pickled loss."""
    file = folder / "value.pickle"
    file.write_bytes(pickle.dumps(value))
    run = subprocess.run(
        [sys.executable, "-c", UNPICKLE, str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": "", "HOME": str(folder)},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_a_file_travels_with_its_losses_and_the_digest_is_the_plans(tmp_path):
    plugin = plugin_of(tmp_path / "mine.py", CLASS, PLANNED)
    loss = plugin.kinds[0](q=0.25)  # type: ignore[call-arg]
    (tmp_path / "mine.py").write_text("raise RuntimeError('another source')")
    value, dump = in_another_process(loss, tmp_path)
    assert value == "as planned"
    assert dump == str(sorted(loss.model_dump().items()))
    assert plugin.source.digest in dump


def test_a_worker_with_another_source_of_a_package_fails_in_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    made = package(tmp_path, "pack_d")
    write_plugin(made / "losses.py", CLASS, PLANNED)
    loss = loaded(find_source("pack_d.losses")).kinds[0]()
    assert in_another_process(loss, tmp_path)[0] == "as planned"
    (made / "helper.py").write_text("FACTOR = 2.0\n")
    line, dump = in_another_process(loss, tmp_path)
    assert re.fullmatch(
        r"InputError mine: the plugin pack_d\.losses can't be loaded on \S+: pack_d\.losses has "
        r"the source [0-9a-f]{8}, and the plan has [0-9a-f]{8}; install the planned version on "
        r"every machine",
        line,
    )
    assert dump == str(sorted(loss.model_dump().items()))


# -- tasks --


def test_a_plugins_task_is_split_by_content(tmp_path):
    numbers = "{name: numbers, train: 200, validation: 50, test: 100}"
    write_plugin(tmp_path / "mine.py", TASK)
    sweep = loaded_sweep(tmp_path, methods="naive: {}", task=numbers)
    split = load_split(sweep.tasks[0])
    assert split.counts["student_half"] == 100
    write_plugin(tmp_path / "mine.py", "# another source, equal rows\n", TASK)
    same = loaded_sweep(tmp_path, methods="naive: {}", task=numbers)
    assert load_split(same.tasks[0]).fingerprint == split.fingerprint
    write_plugin(tmp_path / "mine.py", TASK.replace("w{40", "w{41"))
    other = loaded_sweep(tmp_path, methods="naive: {}", task=numbers)
    assert load_split(other.tasks[0]).fingerprint != split.fingerprint
    assert resolve(other, online=False).splits["numbers"].fingerprint != split.fingerprint
    for _ in range(2):  # the second time from the cache, if there were one
        known = resolve(same, online=False).splits["numbers"]
        assert (known.fingerprint, known.provisional) == (split.fingerprint, False)


PAIRS = """
@w2s.task(form="pairs")
def better():
    import pandas as pd
    rows = [{"text": f"q{i}", "chosen": f"a{i} b", "rejected": f"c{i}"} for i in range(50)]
    return pd.DataFrame(rows)
"""
DATASET = """
@w2s.task(form="answers")
def answers():
    import datasets
    return datasets.Dataset.from_list([{"text": f"q{i}", "answer": f"a{i}"} for i in range(50)])
"""


@pytest.mark.parametrize(("text", "name"), [(PAIRS, "better"), (DATASET, "answers")])
def test_frames_datasets_and_other_forms(tmp_path, text, name):
    write_plugin(tmp_path / "mine.py", text)
    task = f"{{name: {name}, train: 20, validation: 5, test: 5}}"
    sweep = loaded_sweep(tmp_path, methods="naive: {}", task=task)
    split = load_split(sweep.tasks[0])
    assert sum(split.counts.values()) == 30
    assert split.form == ("pairs" if name == "better" else "answers")


# -- finished results are read without the plugin --


def test_results_are_read_without_the_plugin(tmp_path):
    write_plugin(tmp_path / "mine.py", LOSS, TRANSFORM, TASK)
    numbers = "{name: numbers, train: 64, validation: 16, test: 32}"
    methods = "a: {loss: {kind: mine}, stages: [{kind: sharper}]}\n  naive: {training: {epochs: 1}}"
    file = sweep_with(tmp_path, methods=methods, task=numbers, more="training: {epochs: 1}")
    sweep = load_sweep(file)
    store = Store.open(sweep.store)
    plan = plan_sweep(sweep, store=store, inputs=resolve(sweep, online=False))
    materialize(plan, store)
    write_manifest(plan, store, file.read_text())
    for each in plan.fits.values():
        record = FitTraining(each).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback
    (student,) = (each for each in plan.fits.values() if "a" in each.methods)
    assert student.recipe.loss.model_dump()["source"] == sweep.plugins[0].source.digest
    (tmp_path / "mine.py").write_text("raise RuntimeError('executed')")
    code = (
        "import sys\nfrom w2s_ray.cli import app\nfrom typer.testing import CliRunner\n"
        "for arguments in ARGUMENTS:\n"
        "    run = CliRunner().invoke(app, arguments)\n"
        "    print(run.exit_code, repr(run.output))\n"
    )
    store_of = ["--store", sweep.store]
    arguments = [
        ["table", *store_of],
        ["compare", *store_of],
        ["explain", student.id, *store_of],
        ["query", "select id, loss from runs", *store_of],
        ["status", *store_of],
        ["report", *store_of, "--out", str(tmp_path / "r.html")],
        ["table", str(file)],
    ]
    run = subprocess.run(
        [sys.executable, "-c", code.replace("ARGUMENTS", repr(arguments))],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [line[0] for line in lines] == ["0", "0", "0", "0", "0", "0", "2"], run.stdout
    assert "mine" in lines[2]
    assert f"plugins: {tmp_path}/mine.py:1: RuntimeError: executed" in lines[-1]


def test_a_stored_recipe_of_an_unknown_source_has_its_id_and_computes_nothing(tmp_path):
    plugin = plugin_of(tmp_path / "mine.py", LOSS)
    recipe = recipe_of(loss=plugin.kinds[0]())
    stored = recipe.model_dump(mode="json")
    stored["loss"]["source"] = "f" * 20
    read = FitRecipe.model_validate(stored)
    assert isinstance(read.loss, AbsentLoss)
    assert read.model_dump(mode="json") == stored
    with pytest.raises(InputError, match=r"mine: the plugin with source f+ isn't loaded"):
        read.loss.prepared(np.zeros((1, 2)))
    settings = FitSettings.model_validate({"loss": stored["loss"]})
    changed = with_settings(settings, {"loss.q": 0.25}, where="search")
    assert changed.loss.model_dump() == {**stored["loss"], "q": 0.25}
