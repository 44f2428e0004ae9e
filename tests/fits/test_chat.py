"""Chat messages reach a model in its own template, or in the plain form where it has none."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from tests.support import NoCheckpoints, make_model
from w2s_ray.config import parse_sweep
from w2s_ray.fits.forms import form_of
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.learn.tokens import tokenizer_of
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}] {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
SWEEP = """
name: chat
task: {{name: mine, path: {folder}/d.jsonl, columns: {columns},
        train: 40, validation: 10, test: 10}}
models: [{folder}/plain, {folder}/chat]
training: {{batch_size: 8, epochs: 1, max_tokens: 40, answer_tokens: 4, lr: 1.0e-3}}
methods: {{naive: {{}}}}
"""
COLUMNS = {
    "pairs": "{text: prompt, chosen: chosen, rejected: rejected}",
    "answers": "{text: prompt, answer: chosen}",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    for name in ("plain", "chat"):
        make_model(tmp_path / name, eos=True)
    (tmp_path / "chat" / "chat_template.jinja").write_text(TEMPLATE)
    write(tmp_path, role="user")
    return tmp_path


def write(folder, *, role: str) -> None:
    rows = [
        {
            "prompt": [{"role": role, "content": f"a{i}"}],
            "chosen": [{"role": "assistant", "content": f"b{i}"}],
            "rejected": [{"role": "assistant", "content": f"c{i}"}],
        }
        for i in range(80)
    ]
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def planned(folder, form: str):
    columns = COLUMNS["pairs" if form == "policies" else form]
    text = SWEEP.format(folder=folder, columns=columns)
    if form == "policies":
        text = text.replace("training: {", "training: {pair_model: {kind: policy}, ")
    sweep = parse_sweep(text)
    store = Store.open(folder / "results")
    plan = plan_sweep(sweep, store=store)
    materialize(plan, store)
    fits = {fit.source.name: fit for fit in plan.fits.values() if "student" not in fit.roles}
    return fits, store


def tokenizer_calls(fit, store, monkeypatch) -> list[tuple[list[str], bool]]:
    """What the fit's tokenizer is given: texts, and whether it adds special tokens."""
    from w2s_ray.fits import training_data as module

    given, tokenize = [], module.tokenize

    def watched(texts, **how):
        given.append((list(texts), how["special"]))
        return tokenize(texts, **how)

    monkeypatch.setattr(module, "tokenize", watched)
    form_of(fit.recipe).training_data(fit, SplitRows.of(store.splits.rows(fit.recipe.split)), store)
    return given


@pytest.mark.parametrize(
    ("form", "name", "text", "special"),
    [
        ("pairs", "plain", "Human: a{0}\n\nAssistant: ", True),
        ("pairs", "chat", "[user] a{0} [assistant] ", False),
        ("answers", "plain", "Human: a{0}", True),
        ("answers", "chat", "[user] a{0} [assistant]", False),
    ],
)
def test_a_model_reads_messages_in_its_own_form(folder, monkeypatch, form, name, text, special):
    fits, store = planned(folder, form)
    given = tokenizer_calls(fits[name], store, monkeypatch)
    texts = [one for texts, _ in given for one in texts]
    assert {added for _, added in given} == {special}
    number = texts[0].split()[1].removeprefix("a")
    assert texts[0].startswith(text.format(number))
    assert ("Assistant" in texts[0] or "assistant" in texts[0]) is (
        form == "pairs" or name == "chat"
    )


@pytest.mark.parametrize("name", ["plain", "chat"])
def test_a_policy_reads_both_texts_of_a_pair_in_the_models_own_form(folder, monkeypatch, name):
    """The prompt is what both texts begin with, and no token of an answer is in it."""
    from w2s_ray.fits.forms import policies as module

    fits, store = planned(folder, "policies")
    tokens_of, given = module.tokenize_pairs, []

    def watched(first, second, **how):
        given.append((first[0], second[0], how["special"]))
        return tokens_of(first, second, **how)

    monkeypatch.setattr(module, "tokenize_pairs", watched)
    fit = fits[name]
    rows = SplitRows.of(store.splits.rows(fit.recipe.split))
    data = form_of(fit.recipe).training_data(fit, rows, store).data
    before = {"plain": "Human: a{0}\n\nAssistant: ", "chat": "[user] a{0} [assistant] "}[name]
    for first, second, special in given:
        number = re.findall(r"a(\d+)", first)[0]
        texts = {before.format(number) + f"{side}{number}" for side in "bc"}
        assert {first.strip(), second.strip()} == texts
        assert special is (name == "plain")
    assert given
    prompt, end = (len(each.split()) for each in (before.format(1), "b1 [EOS]"))
    assert set(data.train.spans.lengths.tolist()) == {prompt + end}


@pytest.mark.parametrize("form", ["pairs", "policies", "answers"])
def test_both_models_train_and_predict(folder, form):
    fits, store = planned(folder, form)
    for fit in fits.values():
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback


def test_the_template_is_part_of_a_fits_identity_where_rows_are_messages(folder):
    before, _ = planned(folder, "pairs")
    (folder / "chat" / "chat_template.jinja").write_text(TEMPLATE + " ")
    after, _ = planned(folder, "pairs")
    assert before["plain"].id == after["plain"].id
    assert before["chat"].id != after["chat"].id
    text = "".join(f'{{"text": "text {i}", "label": {i % 2}}}\n' for i in range(80))
    (folder / "d.jsonl").write_text(text)
    columns = "{text: text, label: label}"
    ids = []
    for template in (TEMPLATE, TEMPLATE + " "):
        (folder / "chat" / "chat_template.jinja").write_text(template)
        plan = plan_sweep(parse_sweep(SWEEP.format(folder=folder, columns=columns)))
        ids.append(sorted(plan.fits))
    assert ids[0] == ids[1], "of other rows the template changes nothing"


def test_a_model_that_changed_since_it_was_planned_is_refused(folder):
    fits, store = planned(folder, "pairs")
    make_model(folder / "plain", seed=1, eos=True)
    record = FitTraining(fits["plain"]).run(store, checkpoints=NoCheckpoints())
    assert record.status == "failed"
    assert f"{folder}/plain changed since the sweep was planned; run the sweep" in record.reason


def test_messages_that_a_template_refuses_are_named(folder, monkeypatch):
    from w2s_ray.data import inputs

    monkeypatch.setattr(inputs, "check_template", lambda *_, **__: None)  # as of a hub model
    write(folder, role="system")
    fits, store = planned(folder, "pairs")
    record = FitTraining(fits["chat"]).run(store, checkpoints=NoCheckpoints())
    assert record.status == "failed"
    assert "the chat template of chat refuses messages of the roles system, assis" in record.reason
    assert "no system" in record.reason


def test_tokens_of_another_template_are_not_taken_from_the_cache(folder, monkeypatch):
    fits, store = planned(folder, "pairs")
    fit = fits["chat"]
    assert tokenizer_calls(fit, store, monkeypatch)
    assert not tokenizer_calls(fit, store, monkeypatch), "the cache has them"
    tokenizer_of(fit.source).chat_template = TEMPLATE.replace("[user]", "[human]") + "!"
    try:
        assert tokenizer_calls(replace(fit), store, monkeypatch)
    finally:
        tokenizer_of(fit.source).chat_template = TEMPLATE
