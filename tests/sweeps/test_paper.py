"""The files of sweeps/paper: each plans without a hub, and a small copy runs to its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweeps.small_copies import run_whole, small_copy_of
from w2s_ray.config import load_sweep
from w2s_ray.data import TASKS
from w2s_ray.data.inputs import resolve
from w2s_ray.plan import make_plan
from w2s_ray.report import open_results

PAPER = sorted((Path(__file__).parents[2] / "sweeps" / "paper").glob("*.yaml"))
NLP = {
    *("boolq", "cosmos_qa", "dream", "ethics_justice", "ethics_deontology", "ethics_virtue"),
    *("ethics_utilitarianism", "anli_r2", "cola", "sst2", "hellaswag", "mc_taco", "openbookqa"),
    *("paws", "quail", "piqa", "quartz", "sciq", "social_i_qa", "multirc", "wic"),
    "twitter_sentiment",
}
"""The paper's 22 sets."""
named = pytest.mark.parametrize("file", PAPER, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _no_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


@named
def test_it_plans_without_a_hub_and_without_its_files(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep(file)
    found = resolve(sweep, online=False)
    plan = make_plan(sweep, found)
    cells = len(sweep.tasks) * len(sweep.cells()) * len(sweep.methods) * len(sweep.seeds)
    assert len(plan.cells) == cells
    inputs = [*(f"task {t.name}" for t in sweep.tasks), *(f"model {m.label}" for m in sweep.models)]
    assert sorted(name for names in found.unresolved.values() for name in names) == sorted(inputs)


@named
def test_a_small_copy_of_it_runs_to_its_table(file, tmp_path):
    sweep = small_copy_of(file, tmp_path)
    assert set(sweep.methods) == set(load_sweep(file).methods)
    plan, store = run_whole(sweep)
    assert len(plan.cells) == len(sweep.tasks) * len(sweep.methods)
    rows = open_results(store.uri).pgr()
    assert len(rows) == len(plan.cells)
    assert rows[["weak_accuracy", "student_accuracy", "ceiling_accuracy"]].notna().all(axis=None)
    oracles = {row.method for row in rows.itertuples() if row.objective == "oracle"}
    assert oracles == {n for n in sweep.methods if "oracle" in n or "ground truth" in n}


def test_the_files_have_the_papers_known_settings():
    sweeps = {file.stem: load_sweep(file) for file in PAPER}
    assert set(TASKS) > NLP
    assert len(NLP) == 22
    for name in ("nlp_scaling", "confidence_loss"):
        sweep = sweeps[name]
        assert {task.name for task in sweep.tasks} == NLP
        assert (sweep.training.epochs, sweep.training.batch_size) == (2, 32)
        assert not sweep.early_stopping.oracle
    losses = [m.loss for m in sweeps["confidence_loss"].methods.values()][1:3]
    assert [(loss.alpha, loss.warmup_fraction) for loss in losses] == [(0.5, 0.2), (0.75, 0.2)]
    chess = sweeps["bootstrapping_chess"]
    assert chess.methods["bootstrapped"].stages[0].between == 2
    assert (chess.tasks[0].train, chess.tasks[0].test) == (100_000, 5000)
    assert (chess.training.epochs, chess.early_stopping) == (5, None)
    assert len(sweeps["prompting"].tasks) == 7
    shots = {m.stages[0].shots for m in sweeps["prompting"].methods.values() if m.stages}
    assert shots == {0, 5}
