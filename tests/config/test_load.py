"""A sweep file that can't be used gets one line with the place, the key and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from w2s_ray.config import SweepError, load_sweep, parse_sweep

GRID = """\
name: ethics-grid
task: {name: ethics_justice, train: 10000, validation: 1000, test: 2000}
models: [gpt2, gpt2-medium, {name: gpt2-large, training: {lr: 5e-6}}]
pairs: weaker_to_stronger
ceiling_on: student_half
seeds: [0, 1, 2]
training: {batch_size: 32, epochs: 2, lr: 1.0e-5, max_tokens: 512, precision: bf16}
methods:
  naive: {loss: {kind: xent}}
  confidence:
    loss: {kind: confidence, alpha: 0.5, warmup_fraction: 0.2}
    search:
      loss.alpha: {uniform: [0.0, 0.9]}
      loss.warmup_fraction: {uniform: [0.0, 0.5]}
      early_stopping.patience: {choice: [1, 2, 4]}
search: {trials: 16, objective: transfer, on: [[gpt2, gpt2-medium]], sampler: tpe, scheduler: asha}
execution: {engine: deepspeed, workers: 2, zero_stage: 3, gpus_per_worker: 1}
"""


def test_a_whole_file_is_read():
    sweep = parse_sweep(GRID)
    assert sweep.cells() == (
        ("gpt2", "gpt2-medium"),
        ("gpt2", "gpt2-large"),
        ("gpt2-medium", "gpt2-large"),
    )
    assert sweep.ground_truth_settings(sweep.model("gpt2-large")).training.lr == 5e-6
    chosen = {"loss.alpha": 0.3, "early_stopping.patience": 4}
    settings = sweep.student_settings("confidence", sweep.model("gpt2"), chosen)
    assert settings.loss.alpha == 0.3
    assert settings.loss.warmup_fraction == 0.2
    assert settings.early_stopping.patience == 4


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "alpha: 0.5",
            "alfa: 0.5",
            "s:11: methods.confidence.loss.alfa: unknown key 'alfa'; did you mean 'alpha'?",
        ),
        ("seeds:", "seed:", "s:6: seed: unknown key 'seed'; did you mean 'seeds'?"),
        (
            "trials: 16",
            "trails: 16",
            "s:16: search.trails: unknown key 'trails'; did you mean 'trials'?",
        ),
        (
            "zero_stage: 3",
            "zero_stge: 3",
            "s:17: execution.zero_stge: unknown key 'zero_stge'; did you mean 'zero_stage'?",
        ),
        (
            "lr: 5e-6",
            "lrr: 5e-6",
            "s:3: models.gpt2-large.training: unknown key 'lrr'; did you mean 'lr'?",
        ),
        (
            "loss.alpha:",
            "loss.alhpa:",
            "s:12: methods.confidence.search: loss.alhpa is not a setting: "
            "unknown key 'alhpa'; did you mean 'alpha'?",
        ),
        (
            "uniform: [0.0, 0.9]",
            "uniform: [0.0, 1.9]",
            "s:12: methods.confidence.search: loss.alpha = 1.9: loss.alpha: "
            "Input should be less than or equal to 1 (got 1.9)",
        ),
        (
            "uniform: [0.0, 0.9]",
            "uniform: [0.9, 0.0]",
            "s:13: methods.confidence.search.loss.alpha: uniform: [0.9, 0.0] is not a range; "
            "write [low, high]",
        ),
        (
            "on: [[gpt2, ",
            "on: [[gpt3, ",
            "s:16: search.on: unknown model 'gpt3'; the sweep's models are: "
            "gpt2, gpt2-medium, gpt2-large",
        ),
        (
            "pairs: weaker_to_stronger",
            "pairs: [[gpt2, gpt5]]",
            "s:4: pairs: unknown model 'gpt5'; the sweep's models are: "
            "gpt2, gpt2-medium, gpt2-large",
        ),
        (
            "[0, 1, 2]",
            "[0, 0]",
            "s:6: seeds: seeds [0, 0] repeat a seed; list each seed once",
        ),
        (
            "engine: deepspeed",
            "engine: torch",
            "s:17: execution: workers is 2, but the torch engine runs on one device; "
            "set engine: deepspeed, or workers: 1",
        ),
        (
            "training: {lr: 5e-6}",
            "training: {precision: tf32}, execution: {attention: flash_attention_2}",
            "s:3: models.gpt2-large: training.precision is tf32 for gpt2-large, and "
            "execution.attention: flash_attention_2 computes in half precision only; set "
            "precision: bf16, or attention: sdpa",
        ),
        (
            "trials: 16",
            "trials: 16, seed: 1",
            "s:16: search.seed 1 is also in seeds; choose another, because the best settings must "
            "be refitted on seeds that the search didn't use",
        ),
        (
            "name: ethics-grid",
            "name: a\nname: b",
            "s:2: not valid YAML: the key 'name' occurs twice; keep one",
        ),
        (
            "sampler: tpe",
            "sampler: grid",
            "s:13: methods.confidence.search.loss.alpha: sampler grid needs choices; "
            "use {choice: [...]} or sampler: tpe",
        ),
        (
            "early_stopping.patience: {choice: [1, 2, 4]}",
            "early_stopping.oracle: {choice: [true, false]}",
            "s:15: methods.confidence.search.early_stopping.oracle: a search may not choose "
            "between ground truth and weak labels; set oracle in a method of its own",
        ),
        (
            "[1, 2, 4]",
            "[1, 2, 400]",
            "s:12: methods.confidence.search: early_stopping.patience = 400: "
            "early_stopping.patience is 400, but training evaluates only 8 times; "
            "lower the patience or raise evaluations_per_epoch",
        ),
    ],
)
def test_an_error_has_its_line_key_and_remedy(old, new, error):
    assert old in GRID
    with pytest.raises(SweepError) as raised:
        parse_sweep(GRID.replace(old, new, 1), name="s")
    assert str(raised.value) == error


def test_every_problem_is_reported_at_once():
    text = GRID.replace("seeds:", "seed:").replace("alpha: 0.5", "alfa: 0.5")
    with pytest.raises(SweepError) as raised:
        parse_sweep(text, name="s")
    assert len(str(raised.value).splitlines()) == 2


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(SweepError, match=r"no sweep file at .*nowhere\.yaml"):
        load_sweep(tmp_path / "nowhere.yaml")


def test_yaml_words_are_text_and_tags_create_no_objects():
    assert parse_sweep(GRID).search.on == (("gpt2", "gpt2-medium"),)
    with pytest.raises(SweepError, match="not valid YAML"):
        parse_sweep(GRID + "store: !!python/object/apply:os.system ['true']\n")


def test_one_task_or_several_but_not_both():
    both = GRID + "tasks: [{name: creak, train: 10, validation: 2, test: 2}]\n"
    with pytest.raises(SweepError, match="give `task` \\(one\\) or `tasks` \\(a list\\), not both"):
        parse_sweep(both)


def test_ground_truth_fits_ignore_a_students_oracle():
    text = GRID + "early_stopping: {patience: 2, oracle: true}\n"
    sweep = parse_sweep(text)
    model = sweep.model("gpt2")
    assert sweep.ground_truth_settings(model).early_stopping.oracle is False
    assert sweep.student_settings("naive", model).early_stopping.oracle is True


@pytest.mark.parametrize("path", sorted(Path("sweeps").rglob("*.yaml")), ids=str)
def test_every_sweep_file_of_the_project_is_valid(path: Path):
    assert load_sweep(path).cells()
