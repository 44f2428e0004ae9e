"""A sweep of two studies whose trials are equal to each other or share fits, with early stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import sweep_text, w2s
from w2s_ray.store import Store

pytestmark = pytest.mark.ray

METHODS = """one:
    stages: [{kind: generative, epochs: 1}]
    search: {training.lr: {choice: [3.0e-3, 1.0e-3]}}
  other:
    stages: [{kind: generative, epochs: 1}]
    search: {training.lr: {choice: [3.0e-3, 1.0e-5]}}"""
"""All trials share the generative step, and trials of both studies a student."""
SEARCH = """search:
  {trials: 6, on: [[a, b]], sampler: random, scheduler: asha, grace_evaluations: 1,
   reduction_factor: 2, concurrent_trials: 6}"""


def test_equal_trials_and_trials_that_share_fits_all_end(tmp_path: Path):
    sweep = tmp_path / "sweep.yaml"
    text = sweep_text(tmp_path, methods=METHODS, extra=SEARCH).replace(
        "seeds: [0, 1]", "seeds: [0]"
    )
    sweep.write_text(text)
    run = w2s("run", sweep)
    assert run.returncode == 0, run.stdout + run.stderr
    store = Store.open(tmp_path / "results")
    studies = [record for record in store.records() if record.kind == "study"]
    assert len(studies) == 2
    for study in studies:
        trials = store.trials(study.id)
        distinct = {tuple(trial["fits"]) for trial in trials}
        assert len(trials) == 6
        assert len(distinct) == 2, "the seeds of both studies draw both choices"
        assert study.summary["repeats"] == 4
        for trial in trials:
            done = [store.find(fit) is not None for fit in trial["fits"]]
            assert all(done) or trial["state"] == "pruned"
        repeats = f"{study.summary['repeats']} of 6 trials repeated"
        assert repeats in run.stderr
        shown = w2s("explain", study.id, "--store", tmp_path / "results")
        assert f"{repeats} an earlier trial of this study" in shown.stdout
    ended = [a for run in store.run_files() for a in store.attempts(run)]
    assert {attempt.status for attempt in ended} <= {"pruned"}
    assert not any(record.retries for record in store.records())
