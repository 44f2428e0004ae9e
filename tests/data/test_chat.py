"""Chat messages as texts: in generic tasks of every form, and in the named sets of dialogs."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from w2s_ray.config import Columns
from w2s_ray.data import load_split, split_ref
from w2s_ray.data.chat import plain_text
from w2s_ray.data.sources import read_rows


def turn(role, content):
    return {"role": role, "content": content}


PROMPT = [turn("system", "Be brief."), turn("user", "How was the bird?")]
PLAIN = "System: Be brief.\n\nHuman: How was the bird?"


def written(folder, rows, *, parquet=False):
    path = folder / f"d.{'parquet' if parquet else 'jsonl'}"
    if parquet:
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def declared(task, folder, rows, columns, **how):
    path = written(folder, rows, **how)
    return task(name="mine", path=path, columns=Columns(**columns))


def one(task, folder, row, columns):
    return read_rows(declared(task, folder, [row], columns)).pool[0]


def preference(i, *, repeated=False):
    sides = [[turn("assistant", f"{word} {i}")] for word in ("Loud", "Calm")]
    prompt = [turn("user", f"How was bird {i}?")]
    chosen, rejected = ([*prompt, *side] if repeated else side for side in sides)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


CHOSEN = {"text": "prompt", "chosen": "chosen", "rejected": "rejected"}


@pytest.mark.parametrize("parquet", [False, True])
def test_preferences_are_pairs_of_conversations(tmp_path, task, parquet):
    rows = [preference(i) for i in range(60)]
    chat_task = declared(task, tmp_path, rows, CHOSEN, parquet=parquet)
    read = read_rows(chat_task)
    assert read.form == "pairs"
    better = []
    for i, row in enumerate(read.pool):
        texts = {f"Human: How was bird {i}?\n\nAssistant: {word} {i}" for word in ("Loud", "Calm")}
        assert {row.text, row.second} == texts
        assert "Loud" in (row.text if row.label else row.second)
        chat = json.loads(row.chat)
        assert [plain_text(chat[side]) for side in ("text", "second")] == [row.text, row.second]
        better.append(row.label)
    assert 15 < sum(better) < 45, "the better text is often first and often second"
    planned = split_ref(chat_task)
    assert planned.chat
    assert planned == split_ref(chat_task), "the note says that it is chat"
    assert "chat messages" in planned.note


def test_a_completion_that_repeats_its_prompt_is_the_same_conversation(tmp_path, task):
    short, whole = (
        one(task, tmp_path, preference(1, repeated=repeated), CHOSEN) for repeated in (False, True)
    )
    assert short == whole
    text = {**preference(1, repeated=True), "prompt": "How was bird 1?"}
    assert one(task, tmp_path, text, CHOSEN) == whole
    bare = {"chosen": "chosen", "rejected": "rejected"}
    assert one(task, tmp_path, preference(1, repeated=True), bare).chat == whole.chat


def test_pairs_of_one_prompt_share_a_group(tmp_path, task):
    rows = [{**preference(i), "prompt": [turn("user", f"Bird {i // 2}?")]} for i in range(4)]
    pool = read_rows(declared(task, tmp_path, rows, CHOSEN)).pool
    groups = [row.group for row in pool]
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_messages_and_labels_are_pairs_or_classes(tmp_path, task):
    row = {"a": [turn("user", "x")], "b": [turn("user", "y")], "label": 1}
    other = {**row, "a": [turn("user", "z")], "label": 0}
    pairs = declared(task, tmp_path, [row, other], {"first": "a", "second": "b", "label": "label"})
    assert [(r.text, r.second, r.label) for r in read_rows(pairs).pool] == [
        ("Human: x", "Human: y", 1),
        ("Human: z", "Human: y", 0),
    ]
    classes = declared(task, tmp_path, [row, other], {"text": "a", "label": "label"})
    assert [(r.text, r.label) for r in read_rows(classes).pool] == [
        ("Human: x", 1),
        ("Human: z", 0),
    ]


@pytest.mark.parametrize("answer", ["Loud.", [turn("assistant", "Loud.")]])
@pytest.mark.parametrize("prompt", [PROMPT, "How was the bird?"])
def test_prompts_and_answers(tmp_path, task, prompt, answer):
    if isinstance(prompt, str) and isinstance(answer, str):
        return
    row = one(task, tmp_path, {"q": prompt, "a": answer}, {"text": "q", "answer": "a"})
    assert row.text == (PLAIN if prompt is PROMPT else "Human: How was the bird?")
    assert row.answer == "Loud."
    assert json.loads(row.chat)["text"][-1] == turn("user", "How was the bird?")


def test_a_text_prompt_precedes_both_texts(tmp_path, task):
    row = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    made = one(task, tmp_path, row, CHOSEN)
    assert {made.text, made.second} == {"Why?\n\nBecause.", "Why?\n\nNo."}
    assert made.chat is None


def test_parts_of_text_are_one_content_and_an_empty_system_message_is_none(tmp_path, task):
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "was it?"}]
    row = {"q": [turn("system", ""), turn("user", parts)], "a": "Fine."}
    made = one(task, tmp_path, row, {"text": "q", "answer": "a"})
    assert made.text == "Human: How was it?"


def test_messages_are_part_of_a_splits_identity(tmp_path, task):
    chat_task = declared(task, tmp_path, [preference(i) for i in range(60)], CHOSEN)
    first = load_split(chat_task).fingerprint
    texts = [
        {k: plain_text(v) for k, v in preference(i).items()}
        | {"prompt": f"Human: How was bird {i}?"}
        for i in range(60)
    ]
    plain = load_split(declared(task, tmp_path, texts, CHOSEN))
    assert plain.fingerprint != first


OLD = "\n\nHuman: How was the bird?\n\nAssistant: {}"


def dialogs(layout):
    words = {"chosen": "Loud.", "rejected": "Calm."}
    prompt = [turn("user", "How was the bird?")]
    if layout == "text":
        return {side: OLD.format(word) for side, word in words.items()}
    sides = {side: [turn("assistant", word)] for side, word in words.items()}
    if layout == "with prompt":
        return {"prompt": prompt, **sides}
    return {side: [*prompt, *messages] for side, messages in sides.items()}


@pytest.mark.parametrize("layout", ["messages", "with prompt"])
@pytest.mark.parametrize("name", ["anthropic_hh", "anthropic_hh_pairs"])
def test_both_layouts_of_dialogs_have_the_same_texts(tmp_path, task, name, layout):
    read = []
    for kind in ("text", layout):
        folder = tmp_path / kind.replace(" ", "")
        folder.mkdir()
        (folder / "train.jsonl").write_text(json.dumps(dialogs(kind)) + "\n")
        read.append(read_rows(task(name=name, path=str(folder / "train.jsonl"))).pool)
    old, new = read
    assert all(row.chat is None for row in old)
    assert [row._replace(chat=None) for row in new] == list(old)
    assert all(plain_text(json.loads(row.chat)["text"]) == row.text for row in new)
