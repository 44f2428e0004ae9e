"""What a task's form rules out is refused when the sweep is planned, by key and with the remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.plan.test_plan import inputs
from w2s_ray.config import FormName, parse_sweep
from w2s_ray.plan import Plan, check_forms, make_plan

SWEEP = """
name: forms
task: {{name: creak, train: 100, validation: 20, test: 20}}
models: [s, {{name: m, {model}}}]
training: {{max_tokens: 64, answer_tokens: 8}}
methods:
  naive: {{}}
  other: {{{method}}}
search: {{trials: 3, {search}}}
execution: {execution}
"""


def planned(
    form: FormName,
    method: str = "",
    *,
    model: str = "label: m",
    search: str = "seed: 9",
    execution: str = "{}",
) -> Plan:
    text = SWEEP.format(method=method, model=model, search=search, execution=execution)
    given = inputs("s", "m")
    splits = {name: replace(split, form=form) for name, split in given.splits.items()}
    sweep = parse_sweep(text)
    check_forms(sweep, dict.fromkeys(splits, form))
    return make_plan(sweep, replace(given, splits=splits))


ENSEMBLE = "stages: [{kind: ensemble, seeds: [7]}]"
PROMPT = "stages: [{kind: prompt}]"
GENERATIVE = "stages: [{kind: generative}]"
PROBE = "training: {tuning: {kind: probe}}"
TRANSFORMS = [
    *("{kind: hard}", "{kind: temperature, by: 2}", "{kind: confident}"),
    *("{kind: filter, by: {kind: knn}}", "{kind: relabel, by: {kind: logistic}}"),
]


@pytest.mark.parametrize("stage", TRANSFORMS)
def test_changes_of_weak_labels_are_refused_for_answers(stage):
    message = r"methods\.other\.stages has \w+, which changes labels of classes, .*remove it"
    with pytest.raises(ValueError, match=message):
        planned("answers", f"stages: [{stage}]")
    for form in ("classes", "pairs", "features"):
        assert planned(form, f"stages: [{stage}]").cells


@pytest.mark.parametrize(
    ("form", "method", "message"),
    [
        ("answers", ENSEMBLE, r"methods\.other\.stages has ensemble, .*many tokens; remove it"),
        ("answers", PROMPT, r"methods\.other\.stages has prompt, .*has answers; remove it"),
        ("pairs", PROMPT, r"methods\.other\.stages has prompt, .*has pairs; remove it"),
        (
            "choices",
            PROMPT,
            r"methods\.other\.stages has prompt, .*untrained scores them zero-shot",
        ),
        ("choices", PROBE, r"methods\.other\.training\.tuning is probe, .*choose full, lora"),
        ("choices", "loss: {kind: kl}", r"methods\.other: loss kl .*has choices; use xent"),
        ("features", GENERATIVE, r"methods\.other\.stages has generative, .*none; remove it"),
        ("answers", PROBE, r"methods\.other\.training\.tuning is probe, .*choose full, lora"),
        ("answers", "loss: {kind: product}", r"methods\.other: loss product .*use xent"),
        (
            "features",
            "loss: {kind: window}",
            r"methods\.other: loss window .*several classes; it has a threshold between two",
        ),
        (
            "features",
            "loss: {kind: confidence, prior: 0.3}",
            r"methods\.other: loss confidence .*; prior and window set a threshold .*; remove them",
        ),
        (
            "classes",
            "stages: [{kind: self_consistency}]",
            r"stages has self_consistency, which compares completions of prompts, .*has classes; ",
        ),
        (
            "choices",
            "stages: [{kind: agreed_answers}]",
            r"stages has agreed_answers, which compares completions of prompts, .*has choices; rem",
        ),
        (
            "answers",
            "training: {answer_tokens: 64}",
            r"methods\.other\.training: max_tokens is 64, .*need 64 of them; .*lower answer_tokens",
        ),
        (
            "answers",
            "search: {training.tuning: {one_of: [{kind: full}, {kind: lp_ft}]}}",
            r"methods\.other\.search\.training\.tuning is lp_ft, .*choose full",
        ),
        (
            "pairs",
            "training: {pair_model: {kind: policy}, tuning: {kind: lp_ft}}",
            r"training\.tuning is lp_ft for m, but a policy has no head .*or pair_model: reward",
        ),
        (
            "pairs",
            "training: {tuning: {kind: probe}}, "
            "search: {training.pair_model: {one_of: [{kind: reward}, {kind: policy}]}}",
            r"training\.tuning is probe for m, but a policy has no head .*or pair_model: reward",
        ),
        (
            "answers",
            "search: {loss: {one_of: [{kind: xent}, {kind: product}]}}",
            r"methods\.other: loss product needs two classes",
        ),
    ],
)
def test_impossible_settings_of_a_form_are_refused(form, method, message):
    with pytest.raises(ValueError, match=message):
        planned(form, method)
    other: FormName = "answers" if "completions of prompts" in message else "classes"
    assert "pair_model" in method or planned(other, method).cells


def test_impossible_settings_of_a_model_are_refused():
    with pytest.raises(ValueError, match=r"models\.m\.training\.tuning is probe, .*lora"):
        planned("answers", model=PROBE)
    with pytest.raises(ValueError, match=r"models\.s\.execution\.workers is 2, .*engine: torch"):
        planned("features", execution="{engine: deepspeed, workers: 2}")
    assert planned("pairs", execution="{engine: deepspeed, workers: 2}").cells


def test_a_search_by_log_loss_is_refused_for_answers():
    searched = "search: {training.lr: {choice: [1.0e-4, 1.0e-3]}}"
    with pytest.raises(ValueError, match=r"search\.metric is log_loss, .*set metric: accuracy"):
        planned("answers", searched, search="metric: log_loss")
    assert planned("answers", searched).studies
    assert planned("pairs", searched, search="metric: log_loss").studies


def test_a_corpus_is_refused_as_a_task_and_with_a_probe():
    with pytest.raises(ValueError, match=r"creak is running text, .*`corpus`"):
        planned("text")
    corpus = "{name: texts, path: x, train: 8, validation: 2, test: 2}"
    shape = "{width: 8, layers: 1, heads: 2}"
    made = f"pretrain: {{architecture: {shape}, corpus: {corpus}, {PROBE}}}"
    with pytest.raises(ValueError, match=r"models\.m\.pretrain\.training\.tuning is probe, "):
        planned("classes", model=made)
