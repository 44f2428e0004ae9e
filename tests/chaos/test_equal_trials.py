"""Whole sweeps of studies whose trials are equal or share fits, with no free slot as they begin."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support import w2s
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos]

EQUAL = """
name: equal
task: {name: embedded, train: 1000, validation: 200, test: 300}
models:
  - {name: "embedded:xs", label: xs}
  - {name: "embedded:s", label: s}
  - {name: "embedded:m", label: m}
  - {name: "embedded:l", label: l}
pairs: [[s, m], [s, l]]
seeds: [0, 1, 2]
training: {batch_size: 8, epochs: 6, lr: 1.0e-3, max_tokens: 32, evaluations_per_epoch: 2}
methods:
  a: {search: {training.lr: {choice: [1.0e-3, 1.0e-4]}}}
search: {trials: 8, on: [[xs, s]]}
execution: {cpus_per_worker: 1}
"""
"""Eight trials of two settings, beside ceilings that hold every slot."""
SHARED = """
name: shared
task:
  {name: noises, path: noises.csv, columns: {text: text, label: label},
   train: 200, validation: 100, test: 100}
models:
  - {name: "embedded:xs", label: xs}
  - {name: "embedded:s", label: s}
  - {name: "embedded:m", label: m}
seeds: [0]
training: {batch_size: 16, epochs: 3, lr: 1.0e-3, max_tokens: 48, evaluations_per_epoch: 2}
methods:
  a:
    loss: {kind: confidence}
    stages: [{kind: generative, epochs: 1}]
    search: {loss.alpha: {uniform: [0.1, 0.9]}}
  b:
    loss: {kind: entropy}
    stages: [{kind: generative, epochs: 1}]
    search: {training.lr: {loguniform: [1.0e-4, 1.0e-3]}}
search:
  {trials: 8, on: [[xs, s]], sampler: random, scheduler: asha, grace_evaluations: 1,
   reduction_factor: 2}
execution: {cpus_per_worker: 1}
"""
"""All trials of both studies share a generative step, and half of them are pruned."""


def make_noises(path: Path) -> None:
    """A CSV (text, label): whether something was quiet or loud."""
    chance = random.Random(0)
    words = (("loud", "noisy", "harsh", "shrill"), ("quiet", "still", "mild", "gentle"))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(500):
            label, day = i % 2, chance.randrange(100_000)
            writer.writerow([f"The mill was {chance.choice(words[label])} on day {day}", label])


def next_request(trial: dict[str, Any]) -> int:
    """The number of the trial whose result it has."""
    return trial["number"] if trial["repeat_of"] is None else trial["repeat_of"]


@pytest.mark.parametrize("text", [EQUAL, SHARED], ids=["equal", "shared"])
def test_a_sweep_ends_with_fits_that_several_studies_request(
    tmp_path: Path, monkeypatch, text: str
):
    monkeypatch.chdir(tmp_path)
    make_noises(tmp_path / "noises.csv")
    (tmp_path / "sweep.yaml").write_text(f"{text}store: results\n")
    run = w2s("run", "sweep.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    store = Store.open(tmp_path / "results")
    for study in (record for record in store.records() if record.kind == "study"):
        trials = store.trials(study.id)
        assert len(trials) == 8
        own = {tuple(t["fits"]): t["number"] for t in trials if t["repeat_of"] is None}
        assert all(own[tuple(t["fits"])] == next_request(t) for t in trials)
        assert study.summary["repeats"] == 8 - len(own)
    ended = {attempt.status for run in store.run_files() for attempt in store.attempts(run)}
    assert ended <= {"pruned"}, "nothing failed or was stopped"
