"""`w2s data` shows the tokens and the rendered messages that training reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, PreTrainedTokenizerFast

from tests.learn.tiny import source_of
from w2s_ray.config import ModelSource
from w2s_ray.data.example import Example
from w2s_ray.data.overview.reader import Reader, Readers, Text
from w2s_ray.learn.chat import rendered
from w2s_ray.learn.tokens import detokenize, tokenize, tokenize_answers, tokenizer_of

TEXTS = ["The naïve bird  flew.", "a", "", "x y z " * 20, "<s> literal </s>", "Ünï\ncode 鳥 🐦"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


def byte_level(folder: Path, **special: str) -> Path:
    """A byte-level BPE tokenizer, as of GPT-2 and Llama 3, with a configuration beside it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return saved(folder, tokenizer, bos_token="<s>", eos_token="</s>")


def word_pieces(folder: Path) -> Path:
    """A tokenizer with [CLS] and [SEP] around a text, as of BERT."""
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz."]
    known = {word: i for i, word in enumerate([*words, *(f"##{c}" for c in words[4:])])}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    named = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "CLS", "SEP", "UNK")}
    return saved(folder, tokenizer, **named)


def saved(folder: Path, tokenizer: Tokenizer, **special: str) -> Path:
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    GPT2Config(vocab_size=400, n_positions=40, n_embd=8, n_layer=1, n_head=1).save_pretrained(
        folder
    )
    return folder


def configured(folder: Path, **changes: object) -> Path:
    """The folder, with other settings in tokenizer_config.json."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


MAKERS = {
    "byte level": byte_level,
    "word pieces": word_pieces,
    "a first token": lambda folder: configured(byte_level(folder), add_bos_token=True),
    "both ends": lambda folder: configured(
        byte_level(folder), add_bos_token=True, add_eos_token=True
    ),
    "no ends": lambda folder: configured(
        word_pieces(folder), add_bos_token=False, add_eos_token=False
    ),
    "GPT2Tokenizer": lambda folder: configured(
        byte_level(folder), tokenizer_class="GPT2Tokenizer", unk_token="</s>"
    ),
    "embedded": lambda _: Path("w2s_ray/ladder/models/xs"),
}


def reader_of(source: ModelSource) -> Reader:
    reader = Readers().of(source)
    assert reader is not None
    return reader


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("limit", [2, 5, 30])
def test_tokens_are_those_of_training(tmp_path, name, limit):
    source = source_of(MAKERS[name](tmp_path / "model"), name)
    reader, tokenizer = reader_of(source), tokenizer_of(source)
    wanted = tokenize(TEXTS, source=source, max_tokens=limit)
    whole = tokenize(TEXTS, source=source, max_tokens=10_000)
    unknown = tokenizer.unk_token_id if name in ("embedded", "word pieces", "no ends") else None
    for i, text in enumerate(TEXTS):
        tokens, length = reader.tokens(Text("text", text), limit=limit)
        if tokens:  # of a text without tokens, training reads one that stands for it
            assert list(tokens) == tokenizer.convert_ids_to_tokens(wanted.row(i).tolist())
        assert len(tokens or "1") == len(wanted.row(i))
        counts = reader.counts([Text("text", text)])
        assert dict(counts.lengths) == {length: 1}
        if length <= len(wanted.row(i)) and tokens:
            assert counts.unknown == wanted.row(i).tolist().count(unknown)
        assert max(1, min(length, 32)) == min(len(whole.row(i)), 32), "of 32 or 40 positions"


def test_answers_follow_a_space_and_have_the_end_that_training_adds(tmp_path):
    source = source_of(byte_level(tmp_path / "model"), "model")
    reader = reader_of(source)
    (ids,) = tokenize_answers(["bird flew"], source=source, most=100)
    tokens, length = reader.tokens(Text("answer", " bird flew "), limit=100)
    assert list(tokens) == tokenizer_of(source).convert_ids_to_tokens(ids)
    assert length == len(ids)
    assert tokens[-1] == "</s>"
    assert detokenize([tokenize(["bird flew"], source=source, max_tokens=9).row(0)], source=source)


@pytest.mark.parametrize("form", ["answers", "pairs"])
def test_messages_are_rendered_as_for_training(tmp_path, form):
    folder = byte_level(tmp_path / "model")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    source = source_of(folder, "model")
    messages = [{"role": "user", "content": "Which bird?"}]
    other = [{"role": "user", "content": "Which tree?"}]
    chat = {"text": messages, **({"second": other} if form == "pairs" else {})}
    second, answer = ("x", None) if form == "pairs" else (None, "yes")
    row = Example("a", "plain", 0, "g", second, answer, chat=json.dumps(chat))
    wanted = rendered(list(chat.values()), source=source, to_answer=form == "answers")
    reader = reader_of(source)
    found = [text for text in reader.texts(row, form) if text.name != "answer"]
    assert [text.text for text in found] == wanted
    ids = tokenize(wanted, source=source, max_tokens=40, special=False)
    tokens, _ = reader.tokens(found[0], limit=40)
    assert list(tokens) == tokenizer_of(source).convert_ids_to_tokens(ids.row(0).tolist())


def test_models_that_read_alike_share_a_reader_and_a_model_without_files_has_none(tmp_path):
    readers = Readers()
    paths = (byte_level(tmp_path / "a"), byte_level(tmp_path / "b"), word_pieces(tmp_path / "c"))
    one, same, other = (readers.of(source_of(path, path.name)) for path in paths)
    assert one is same
    assert one is not other
    (paths[0] / "tokenizer.json").unlink()
    assert Readers().of(source_of(paths[0], "a")) is None
