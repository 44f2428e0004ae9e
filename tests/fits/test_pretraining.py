"""Models that a sweep pretrains itself: made once for all that begin with them, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support import NoCheckpoints, make_task
from w2s_ray.config import SweepError, parse_sweep
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.data.inputs import resolve
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plan import Plan, make_plan
from w2s_ray.prepare import materialize
from w2s_ray.store import Store

SWEEP = """
name: ladder
task: {{name: words, path: {task}, columns: {{text: text, label: label}}, train: 96, validation: 32,
  test: 32}}
models:
  - name: s
    pretrain: &pretrain
      architecture: {{width: 8, layers: 1, heads: 2, context: 32, tokenizer: words,
        vocabulary: 300}}
      corpus: {{name: lines, path: {corpus}, columns: {{text: text}}, train: 128, validation: 16,
        test: 16}}
      training: {{epochs: 2, batch_size: 16, lr: 1.0e-2, max_tokens: 32, evaluations_per_epoch: 1}}
      checkpoints: [3]
  - {{name: young, checkpoint: {checkpoint}}}
  - name: m
    pretrain: {{<<: *pretrain, architecture: {{width: 16, layers: 1, heads: 2, context: 32,
      tokenizer: words, vocabulary: 300}}}}
pairs: [[young, m], [s, m]]
training: {{batch_size: 16, epochs: 1, lr: 3.0e-3, evaluations_per_epoch: 1, max_tokens: 32}}
execution: {{gpus_per_worker: 0}}
methods: {{naive: {{}}}}
seeds: [0, 1]
"""


def planned(folder: Path, checkpoint: str = "s@3") -> Plan:
    task = make_task(folder / "task.csv")
    corpus = folder / "corpus.jsonl"
    texts = [f'{{"text": "the {n % 7} and the {n % 11} of line {n}"}}' for n in range(300)]
    corpus.write_text("\n".join(texts))
    sweep = parse_sweep(SWEEP.format(task=task, corpus=corpus, checkpoint=checkpoint))
    return make_plan(sweep, resolve(sweep, online=False))


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    return planned(tmp_path_factory.mktemp("sweep"))


def pretrainings(plan: Plan) -> list[str]:
    return [id_ for id_, fit in plan.fits.items() if fit.recipe.form == "text"]


@pytest.fixture(scope="module")
def store(plan, tmp_path_factory) -> Store:
    """With every run of the plan."""
    store = Store.open(tmp_path_factory.mktemp("store"))
    materialize(plan, store)
    for fit in plan.fits.values():
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", f"{fit.description}: {record.traceback}"
    return store


def test_a_model_is_pretrained_once_for_all_seeds_roles_and_its_checkpoints(plan) -> None:
    small, large = pretrainings(plan)
    begins = {(f.source.name, f.recipe.model) for f in plan.fits.values()}
    assert begins >= {("s", f"run:{small}"), ("young", f"run:{small}@3"), ("m", f"run:{large}")}
    by_place = list(plan.fits)
    for id_, fit in plan.fits.items():
        assert all(by_place.index(parent) < by_place.index(id_) for parent in fit.parents)


def test_it_goes_through_to_the_end_and_a_checkpoint_is_another_model(plan, store) -> None:
    small, _ = pretrainings(plan)
    folder = store.fetch_weights(small, Path(store.uri) / "fetched")
    assert folder is not None
    whole, young = (load_file(f / "model.safetensors") for f in (folder, folder / "step-3"))
    assert whole.keys() == young.keys()
    assert any(not np.array_equal(whole[name], young[name]) for name in whole)
    summary = store.find(small).summary  # type: ignore[union-attr]
    assert summary["steps"] == 2 * 128 // 16
    assert summary["trained_parameters"] == summary["parameters"]
    estimated = InputSizes(plan.inputs).architecture(plan.fits[small].source)
    assert not isinstance(estimated, str)
    tokens = len(load_file(folder / "model.safetensors")["transformer.wte.weight"])
    assert summary["parameters"] == estimated.parameters - (300 - tokens) * 8


def test_the_same_corpus_architecture_and_seed_give_the_same_weights(
    plan, store, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    small, _ = pretrainings(plan)
    again = Store.open(tmp_path / "again")
    materialize(plan, again)
    FitTraining(plan.fits[small]).run(again, checkpoints=NoCheckpoints())
    first, second = (
        s.fetch_weights(small, tmp_path / name) for s, name in ((store, "a"), (again, "b"))
    )
    assert first is not None
    assert second is not None
    for name in ("model.safetensors", "tokenizer.json", "step-3/model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize("checkpoint", ["s@4", "s", "young@3", "nobody@3"])
def test_a_checkpoint_that_no_pretraining_leaves_is_refused(tmp_path, checkpoint) -> None:
    with pytest.raises((SweepError, ValueError), match=r"s@3|none|unknown model"):
        planned(tmp_path, checkpoint)
