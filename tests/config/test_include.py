"""`include`: which values hold, where an error is, and the text that a store and a job get."""

from __future__ import annotations

from pathlib import Path

import pytest

from w2s_ray.config import SweepError, load_sweep, parse_sweep, read_sweep
from w2s_ray.config.yaml_files import load_yaml
from w2s_ray.execute.job_package import pack
from w2s_ray.execute.job_submission import submission

BASE = """\
# shared
models: ["embedded:xs", "embedded:s"]
training: &training {lr: 1.0e-3, epochs: 3}
methods:
  naive: {}
  confidence:
    loss: {kind: confidence, alpha: 0.25}
    search: {loss.alpha: {uniform: [0.0, 0.5]}}
search: {trials: 4, seed: 9}
"""
OWN = """\
name: s
include: shared/base.yaml
task: {name: embedded, train: 80, validation: 20, test: 40}
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shared").mkdir()
    Path("shared/base.yaml").write_text(BASE)


def loaded(text: str):
    Path("s.yaml").write_text(text)
    return load_sweep("s.yaml")


def test_values_of_the_file_precede_included_ones_key_by_key():
    sweep = loaded(OWN + "training: {lr: 2.0e-3}\nmethods: {confidence: {loss: {alpha: 0.5}}}\n")
    assert (sweep.training.lr, sweep.training.epochs) == (2e-3, 3)
    assert list(sweep.methods) == ["naive", "confidence"]
    assert sweep.methods["confidence"].loss.alpha == 0.5
    assert sweep.methods["confidence"].search["loss.alpha"].uniform == (0.0, 0.5)


@pytest.mark.parametrize(
    ("own", "value"),
    [
        ("models: [a, b]", lambda sweep: [model.name for model in sweep.models] == ["a", "b"]),
        (
            "methods: {confidence: {loss: {kind: confidence_reference}}}",
            lambda sweep: sweep.methods["confidence"].loss.alpha != 0.25,
        ),
        (
            "methods: {confidence: {search: {loss.alpha: {choice: [0.5]}}}}",
            lambda sweep: sweep.methods["confidence"].search["loss.alpha"].choice == (0.5,),
        ),
        ("methods: {confidence: {search: {}}}", lambda sweep: sweep.spaces),
        ("search: {trials: 7}", lambda sweep: (sweep.search.trials, sweep.search.seed) == (7, 9)),
    ],
)
def test_lists_and_other_kinds_are_replaced_whole(own, value):
    assert value(loaded(f"{OWN}{own}\n"))


def test_a_ladder_replaces_another_and_a_task_replaces_tasks():
    Path("shared/base.yaml").write_text(
        BASE.replace('["embedded:xs", "embedded:s"]', "{ladder: pythia, from: 70m, to: 1b}")
        + "tasks: [{name: a, train: 80, validation: 20, test: 40}]\n"
    )
    sweep = loaded(OWN + "models: {ladder: gpt2, to: 355m}\n")
    assert [model.label for model in sweep.models] == ["gpt2", "gpt2-medium"]
    assert [task.name for task in sweep.tasks] == ["embedded"]


def test_included_files_include_others_and_later_ones_precede():
    Path("shared/base.yaml").write_text(f"include: deeper/more.yaml\n{BASE}")
    Path("shared/deeper").mkdir()
    Path("shared/deeper/more.yaml").write_text("seeds: [5]\ntraining: {batch_size: 7, lr: 1}\n")
    Path("last.yaml").write_text("training: {epochs: 9}\n")
    sweep = loaded(OWN.replace("shared/base.yaml", "[shared/base.yaml, last.yaml]"))
    training = sweep.training
    assert (training.lr, training.epochs, training.batch_size) == (1e-3, 9, 7)
    assert sweep.seeds == (5,)


def test_one_file_may_be_included_twice():
    Path("a.yaml").write_text("include: shared/base.yaml\n")
    sweep = loaded(OWN.replace("shared/base.yaml", "[a.yaml, shared/base.yaml]"))
    assert list(sweep.methods) == ["naive", "confidence"]


def test_the_stored_text_is_whole_and_overrides_come_last():
    Path("s.yaml").write_text(OWN)
    source = read_sweep("s.yaml")
    assert source.text.startswith("# s.yaml with what it includes:\n#   shared/base.yaml\n")
    assert parse_sweep(source.text) == source.sweep == load_sweep("s.yaml")
    changed = read_sweep("s.yaml", overrides=["training.lr=5e-3"])
    assert changed.text.startswith("# s.yaml with these overrides:\n#   training.lr=5e-3\n")
    assert parse_sweep(changed.text) == changed.sweep
    assert (changed.sweep.training.lr, changed.sweep.training.epochs) == (5e-3, 3)


def test_a_file_without_includes_keeps_its_text():
    text = "name: s\ntask: {name: embedded, train: 80, validation: 20, test: 40}\n" + BASE
    Path("s.yaml").write_text(text)
    assert read_sweep("s.yaml").text == text


def test_a_job_gets_the_included_values(tmp_path):
    Path("s.yaml").write_text(f"{OWN}store: s3://bucket/results\n")
    jobs = []
    for lr in ("1.0e-3", "2.0e-3"):
        Path("shared/base.yaml").write_text(BASE.replace("1.0e-3", lr))
        jobs.append(submission(load_sweep("s.yaml"), sweep_file=Path("s.yaml")))
        (tmp_path / lr).mkdir()
        pack(jobs[-1].files, into=tmp_path / lr, package=False)
        assert load_sweep(tmp_path / lr / "s.yaml") == load_sweep("s.yaml")
    assert jobs[0].metadata["w2s_text"] != jobs[1].metadata["w2s_text"]


def test_an_error_of_a_merge_key_is_at_the_value_that_holds():
    text = OWN.replace("include: shared/base.yaml\n", BASE.replace("# shared\n", ""))
    text += "execution: {cpus_per_worker: 1}\nearly_stopping: {<<: {patience: 1},\n patience: x}\n"
    Path("s.yaml").write_text(text)
    line = next(i for i, each in enumerate(text.splitlines(), start=1) if "patience: x" in each)
    with pytest.raises(SweepError, match=f"^s.yaml:{line}: early_stopping.patience: write a whole"):
        load_sweep("s.yaml")


def test_marks_have_the_files_name():
    root, _ = load_yaml("a: 1", name="x.yaml")
    assert root is not None
    assert root.start_mark.name == "x.yaml"
