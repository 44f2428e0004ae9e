"""Prompts with examples: of running text, of chat messages, and of prompts that are too long."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.fits.test_chat import TEMPLATE
from tests.support import make_model
from w2s_ray.config import parse_sweep
from w2s_ray.fits.in_context import Examples, prompts_with_examples
from w2s_ray.fits.labels import SplitRows
from w2s_ray.learn.tokens import tokenizer_of
from w2s_ray.plan import PlannedFit
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

SWEEP = """
name: shown
task: {{name: mine, path: {folder}/d.jsonl, columns: {{text: prompt, answer: right}},
        train: 40, validation: 10, test: 10}}
models: [{folder}/plain, {folder}/chat]
training: {{batch_size: 8, epochs: 1, max_tokens: {most}, answer_tokens: 4, lr: 1.0e-3}}
methods: {{naive: {{}}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    for name in ("plain", "chat"):
        make_model(tmp_path / name, eos=True)
    words = "{% if m.role == 'system' and not loop.first %}{{ raise_exception('late') }}{% endif %}"
    shown = TEMPLATE[: TEMPLATE.index("{% if m.role")] + words
    shown += TEMPLATE[TEMPLATE.index("[{{ m.role }}]") :]
    (tmp_path / "chat" / "chat_template.jinja").write_text(shown)
    return tmp_path


def read(folder: Path, model: str, *, chat: bool, most: int = 60) -> tuple[PlannedFit, SplitRows]:
    """The supervisor of a model, and its rows: prompts `w1 w5` with answers `w5`."""
    rows = []
    for i in range(60):
        text = f"w{i % 8} w{i}"
        messages = [{"role": "system", "content": "w50"}, {"role": "user", "content": text}]
        rows.append({"prompt": messages if chat else text, "right": f"w{i}"})
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = Store.open(folder / "results")
    plan = plan_sweep(parse_sweep(SWEEP.format(folder=folder, most=most)), store=store)
    materialize(plan, store)
    (fit,) = (f for f in plan.fits.values() if f.source.name == model and "student" not in f.roles)
    return fit, SplitRows.of(store.splits.rows(fit.recipe.split))


def shown(fit: PlannedFit, rows: SplitRows, shots: int, part: str) -> tuple[list[str], np.ndarray]:
    """The prompts of a part as text, and the numbers of their examples."""
    answers = [f"w{40 + i}" for i in range(20)]
    places_N = np.arange(20)
    examples = Examples.drawn("student_half", places_N, answers, shots=shots, seed=3)
    prompts, shots_M = prompts_with_examples(fit, rows, part, examples, less=4)
    tokenizer = tokenizer_of(fit.source)
    return [tokenizer.decode(prompts.row(i)) for i in range(len(prompts))], shots_M


def chosen(shots: int) -> list[int]:
    return np.random.default_rng([3, shots]).permutation(20)[: shots + 1].tolist()


def test_examples_are_other_rows_with_their_weak_answers(folder: Path) -> None:
    fit, rows = read(folder, "plain", chat=False)
    for part in ("student_half", "test"):
        texts, shots_M = shown(fit, rows, 3, part)
        assert set(shots_M) == {3}
        for i, text in enumerate(texts):
            places = [p for p in chosen(3) if part == "test" or p != i][:3]
            pairs = [f"{rows.texts['student_half'][p]} w{40 + p}" for p in places]
            assert text == " ".join([*pairs, rows.texts[part][i]])


def test_a_chat_model_reads_examples_as_turns_and_one_system_message(folder: Path) -> None:
    fit, rows = read(folder, "chat", chat=True)
    texts, shots_M = shown(fit, rows, 2, "test")
    assert set(shots_M) == {2}
    unknown = "[UNK]"  # the marks of the roles are no words of the model
    for i, text in enumerate(texts):
        pairs = [
            f"{unknown} {rows.chats['student_half'][p]['text'][-1]['content']} {unknown} w{40 + p}"
            for p in chosen(2)[:2]
        ]
        own = rows.chats["test"][i]["text"][-1]["content"]
        assert text == " ".join([unknown, "w50", *pairs, unknown, own, unknown])


def test_messages_are_plain_for_a_model_without_a_template(folder: Path) -> None:
    fit, rows = read(folder, "plain", chat=True, most=64)
    texts, _ = shown(fit, rows, 1, "test")
    (place, _) = chosen(1)
    assert f"w{40 + place}" in texts[0].split()
    assert rows.texts["test"][0].startswith("System: w50\n\nHuman: w")


def test_the_first_examples_are_omitted_from_a_prompt_that_is_too_long(folder: Path) -> None:
    fit, rows = read(folder, "plain", chat=False, most=13)
    texts, shots_M = shown(fit, rows, 4, "test")
    assert set(shots_M) == {2}  # 2 examples of 3 words, the prompt of 2, and 4 for the answer
    last = [f"{rows.texts['student_half'][p]} w{40 + p}" for p in chosen(4)[2:4]]
    assert texts[0] == " ".join([*last, rows.texts["test"][0]])


def test_as_many_examples_as_there_are_rows() -> None:
    few = Examples.drawn("student_half", np.array([7, 9]), ["a", "b"], shots=5, seed=0)
    assert sorted(few.places) == [7, 9]
    assert [few.places[i] for i in few.before("student_half", 7)] == [9]
    assert len(few.before("test", 7)) == 1
    one = Examples.drawn("student_half", np.array([7]), ["a"], shots=5, seed=0)
    assert one.before("student_half", 7) == []
    assert one.before("test", 7) == [0]
