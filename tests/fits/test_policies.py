"""A sweep over pairs whose students are policies, from a file to its scores, in this process."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fits.test_choices import run_all
from tests.support import WORDS, make_model
from w2s_ray.config import Policy, RewardModel, parse_sweep
from w2s_ray.fits.forms import form_of
from w2s_ray.fits.labels import SplitRows
from w2s_ray.learn.rows import PolicyRows
from w2s_ray.prepare import materialize, plan_sweep, write_manifest
from w2s_ray.report import open_results
from w2s_ray.store import Store

SWEEP = """
name: own
task: {{name: t, path: {folder}/rows.jsonl, train: 120, validation: 20, test: 50,
        columns: {{text: prompt, chosen: chosen, rejected: rejected}}}}
models: [{folder}/a, {folder}/b]
pairs: [[a, b]]
training: {{batch_size: 16, epochs: 3, lr: 3.0e-2, max_tokens: 24, evaluations_per_epoch: 1}}
methods:
  reward: {{}}
  dpo: {{training: &policy {{pair_model: {{kind: policy, beta: 0.5}}}}, stages: [{{kind: hard}}]}}
  cw-po: {{training: *policy, stages: [{{kind: weights}}, {{kind: hard}}]}}
  confidence: {{training: *policy, loss: {{kind: confidence}}}}
  filtered: {{training: *policy, stages: [{{kind: filter, by: {{kind: knn, k: 5}}}}]}}
  generative: {{training: *policy, stages: [{{kind: generative}}]}}
  probed: {{training: *policy, stages: [{{kind: linear_probe, of: student}}]}}
  untrained: {{training: *policy, stages: [{{kind: untrained}}]}}
execution: {{gpus_per_worker: 0}}
"""
POLICIES = ("dpo", "cw-po", "confidence", "filtered", "generative")


def write_rows(path: Path) -> None:
    """After a prompt, the answer with words below 20 is better than that with words from 20 on."""
    rng = random.Random(0)

    def words(low: int, size: int) -> str:
        return " ".join(WORDS[rng.randrange(low, low + 20)] for _ in range(size))

    given = [
        {
            "prompt": words(40, rng.randrange(2, 6)),
            "chosen": words(0, rng.randrange(2, 8)),
            "rejected": words(20, rng.randrange(2, 8)),
        }
        for _ in range(300)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in given))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("policies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(folder / "cache"))
        for seed, name in enumerate("ab"):
            make_model(folder / name, width=24, seed=seed, eos=True)
        write_rows(folder / "rows.jsonl")
        store, text = Store.open(folder / "results"), SWEEP.format(folder=folder)
        plan = plan_sweep(parse_sweep(text), store=store)
        materialize(plan, store)
        fits = run_all(plan, store)
        write_manifest(plan, store, text)
        yield store, fits, plan


def test_a_reward_models_labels_train_policies_that_prefer_the_better_answer(done) -> None:
    store, fits, _ = done
    assert isinstance(fits["supervisor"].recipe.training.pair_model, RewardModel)
    assert isinstance(fits["ceiling"].recipe.training.pair_model, RewardModel)
    for name in POLICIES:
        recipe, summary = fits[name].recipe, store.record(fits[name].id).summary
        assert recipe.form == "pairs"
        assert recipe.trained_form == "policies"
        assert recipe.training.pair_model == Policy(beta=0.5)
        assert fits["supervisor"].id in recipe.labels.runs
        assert summary["test_accuracy"] > 0.8, name
        assert summary["trained_parameters"] == summary["parameters"]
    assert store.record(fits["cw-po"].id).summary != store.record(fits["dpo"].id).summary
    assert store.record(fits["filtered"].id).summary["dropped_rows"] > 0
    (row,) = open_results(store.uri).pgr("own").query("method == 'dpo'").to_dict("records")
    assert row["student_accuracy"] == store.record(fits["dpo"].id).summary["test_accuracy"]
    assert row["differs_from_ceiling"] == "training.pair_model policy (ceiling reward)"


def test_only_a_policy_is_part_of_an_id(done) -> None:
    _, fits, plan = done
    assert "pair_model" not in fits["reward"].recipe.model_dump(mode="json")["training"]
    dpo = fits["dpo"].recipe
    other = dpo.training.model_copy(update={"pair_model": Policy(beta=0.4)})
    assert dpo.model_copy(update={"training": other}).run_id != dpo.run_id
    steps = [fit.recipe for fit in plan.fits.values() if not fit.recipe.has_labels]
    assert [step.trained_form for step in steps] == ["text"]
    assert isinstance(steps[0].training.pair_model, RewardModel)


def test_an_untrained_policy_and_a_probed_one_are_those_of_a_head(done) -> None:
    store, fits, _ = done
    assert isinstance(fits["untrained"].recipe.training.pair_model, RewardModel)
    p = {row["probability"] for row in store.predictions(fits["untrained"].id, "test").to_pylist()}
    assert p == {0.5}
    probe = fits["probed"].recipe
    assert probe.training.tuning.kind == "probe"
    assert store.record(fits["probed"].id).summary["test_accuracy"] > 0.8


def test_the_reference_is_the_model_that_a_fit_starts_from_read_once(done) -> None:
    store, fits, _ = done
    rows = SplitRows.of(store.splits.rows(fits["dpo"].recipe.split))
    found = {}
    for name in ("dpo", "confidence", "generative"):
        data = form_of(fits[name].recipe).training_data(fits[name], rows, store).data
        assert data.beta == 0.5
        assert isinstance(data.train, PolicyRows)
        found[name] = data.train.reference_N
    assert np.array_equal(found["dpo"], found["confidence"])
    assert np.abs(found["dpo"] - found["generative"]).max() > 0.1
    kept = [path for path in Path(store.uri).rglob("*.safetensors") if "activations" in str(path)]
    assert len(kept) == len({path.read_bytes() for path in kept})


def test_a_weak_policy_labels_for_a_strong_one(done) -> None:
    """WDPO: every role is a policy, and the student's labels are the weak policy's preferences."""
    store, others, plan = done
    text = SWEEP.format(folder=Path(plan.inputs.models["a"].location).parent)
    start, _, end = text.partition("methods:\n")
    wdpo = f"{start}methods:\n  wdpo: {{stages: [{{kind: hard}}]}}\n{end[end.index('execution') :]}"
    wdpo = wdpo.replace("training: {", "training: {pair_model: {kind: policy, beta: 0.5}, ", 1)
    fits = run_all(plan_sweep(parse_sweep(wdpo), store=store), store)
    for role in ("supervisor", "student", "ceiling"):
        assert fits[role].recipe.trained_form == "policies"
        assert store.record(fits[role].id).summary["test_accuracy"] > 0.8, role
    assert fits["student"].recipe.parents == (fits["supervisor"].id,) != (others["supervisor"].id,)


def test_an_encoder_is_refused_as_a_policy_when_the_sweep_is_planned(done, tmp_path) -> None:
    from transformers import BertConfig, BertModel

    store, _, plan = done
    folder = Path(plan.inputs.models["a"].location).parent
    shutil.copytree(folder / "b", tmp_path / "b")
    shape = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=64, hidden_size=16, **shape)).save_pretrained(tmp_path / "b")
    text = SWEEP.format(folder=folder).replace(f"{folder}/b", str(tmp_path / "b"))
    with pytest.raises(ValueError, match=r"b is an encoder \(bert\), and its policy"):
        plan_sweep(parse_sweep(text), store=store)
