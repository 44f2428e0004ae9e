"""Prompts without examples are read once: by all seeds, pairs, methods and trials."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.fits.test_stored_activations import HALF, TEST, VALIDATION, planned_in, run
from w2s_ray.fits.forms import prompts
from w2s_ray.learn.inference import Inference
from w2s_ray.learn.prompting import CONTENT_FREE
from w2s_ray.plan import Plan, PlannedFit
from w2s_ray.prepare import materialize
from w2s_ray.store import Store

SWEEP = """
name: prompted
task: {{name: words, path: {folder}/task.csv, columns: {{text: text, label: label}}, train: 96,
  validation: 32, test: 40}}
models: [{folder}/a, {folder}/b, {folder}/c]
pairs: [[{folder}/a, {folder}/c], [{folder}/b, {folder}/c]]
seeds: [0, 1]
training: {{batch_size: 16, epochs: 1, lr: 5.0e-2, max_tokens: 32, tuning: {{kind: probe}}}}
execution: {{gpus_per_worker: 0, evaluation_batch: 16}}
methods:
  zero-shot: {{stages: [{{kind: prompt, words: [w50, w51]}}]}}
  elicited: {{stages: [{{kind: elicit, words: [w50, w51]}}]}}
  calibrated: {{stages: [{{kind: elicit, words: [w50, w51], calibration: rows}}]}}
  content free: {{stages: [{{kind: prompt, words: [w50, w51], calibration: content_free}}]}}
  other words: {{stages: [{{kind: prompt, words: [w50, w52]}}]}}
  few-shot: {{stages: [{{kind: prompt, words: [w50, w51], shots: 1}}]}}
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def planned(tmp_path: Path) -> tuple[Plan, Store]:
    return planned_in(tmp_path, SWEEP, models="abc")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each pass of a prompted model."""
    seen: list[int] = []
    forward = Inference.forward

    def counted(engine: Inference, *inputs: Any) -> Any:
        seen.append(len(inputs[0]))
        return forward(engine, *inputs)

    monkeypatch.setattr(Inference, "forward", counted)
    return seen


def by_method(plan: Plan) -> dict[str, list[PlannedFit]]:
    found: dict[str, list[PlannedFit]] = {}
    for fit in plan.fits.values():
        if fit.recipe.prompt is not None:
            found.setdefault(fit.methods[0], []).append(fit)
    return found


def test_each_prompt_without_examples_is_read_once_for_all_fits(
    planned: tuple[Plan, Store], read: list[int]
) -> None:
    plan, store = planned
    for fit in plan.fits.values():
        if fit.recipe.prompt is None and "supervisor" in fit.roles:
            run(fit, store)
    rows: Counter[str] = Counter()
    prompted = by_method(plan)
    assert {name: len(fits) for name, fits in prompted.items()} == dict.fromkeys(prompted, 4)
    for name in ("zero-shot", "elicited", "calibrated", "content free", "other words", "few-shot"):
        before = sum(read)
        for fit in prompted[name]:
            run(fit, store)
        rows[name] = sum(read) - before
    words, pairs, seeds = 2, 2, 2
    assert rows == {
        "zero-shot": words * (VALIDATION + TEST),
        "elicited": words * HALF,
        "calibrated": 0,  # by rows of the student's half, which `elicited` has read
        "content free": words * len(CONTENT_FREE),
        "other words": words * (VALIDATION + TEST),
        "few-shot": words * (VALIDATION + TEST) * seeds * pairs,
    }


def test_predictions_are_those_of_prompts_that_are_read(
    planned: tuple[Plan, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = planned
    supervisor = next(f for f in plan.fits.values() if "supervisor" in f.roles)
    (fit, *_) = (
        f for f in by_method(plan)["calibrated"] if f.recipe.labels.runs == (supervisor.id,)
    )
    other = Store.open(tmp_path / "others")
    materialize(plan, other)
    for each in (store, other):
        run(supervisor, each)
    run(fit, store)
    monkeypatch.setattr(prompts, "known_word_logits", lambda *_, **__: {})
    run(fit, other)
    found, expected = (each.predictions(fit.id).column("probability") for each in (store, other))
    assert found.to_pylist() == expected.to_pylist()
    assert (
        store.record(fit.id).summary["parameters"] == (other.record(fit.id).summary["parameters"])
    )
