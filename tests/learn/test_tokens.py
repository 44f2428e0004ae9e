"""Token rows, truncation at the beginning, and the cache."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, RobertaConfig

from tests.learn.tiny import make_bert, make_gpt2, source_of
from w2s_ray.learn import tokens
from w2s_ray.learn.tokens import TokenRows, cached_tokens, position_limit, tokenize, tokens_key

WORDS = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3} | {f"w{i}": 4 + i for i in range(36)}


def add_tokenizer(folder: Path, *, special: bool) -> None:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        model_max_length=4,
    ).save_pretrained(folder)


def test_long_texts_are_truncated_from_the_left(tmp_path: Path) -> None:
    add_tokenizer(make_gpt2(tmp_path), special=False)
    rows = tokenize(["w0 w1 w2 w3 w4", "w7", ""], source=source_of(tmp_path, "g"), max_tokens=3)
    assert rows.row(0).tolist() == [6, 7, 8]
    assert rows.row(1).tolist() == [11]
    assert rows.row(2).tolist() == [0]


def test_special_tokens_survive_truncation(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add_tokenizer(make_bert(tmp_path), special=True)
    source = source_of(tmp_path, "b")
    rows = tokenize(["w0 w1 w2 w3 w4", "", "w0 " * 50], source=source, max_tokens=512)
    assert rows.row(0).tolist() == [1, 4, 5, 6, 7, 8, 2]
    assert rows.row(1).tolist() == [1, 2]
    assert len(rows.row(2)) == 32, "the model has 32 positions"
    short = tokenize(["w0 w1 w2 w3 w4"], source=source, max_tokens=4)
    assert short.row(0).tolist() == [1, 7, 8, 2]
    assert "longer than" not in capfd.readouterr().err


def test_roberta_counts_positions_from_after_its_padding() -> None:
    assert position_limit(RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512


def test_pad_and_take() -> None:
    rows = TokenRows.of([[1, 2, 3], [4], [5, 6]])
    ids, lengths = rows.pad([1, 0], pad_id=9)
    assert ids.tolist() == [[4, 9, 9], [1, 2, 3]]
    assert lengths.tolist() == [1, 3]
    assert [rows.take([2, 0]).row(i).tolist() for i in (0, 1)] == [[5, 6], [1, 2, 3]]


def test_a_row_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has no tokens"):
        TokenRows.of([[1], [], [2]])


def slow_rows() -> TokenRows:
    return TokenRows.of([[1, 2], [3]] * 5000)


def use_cache(folder: Path) -> int:
    return len(cached_tokens(folder, ["split", "model", 8], slow_rows))


def test_processes_may_fill_the_cache_at_once(tmp_path: Path) -> None:
    with get_context("fork").Pool(3) as pool:
        assert pool.map(use_cache, [tmp_path] * 9) == [10000] * 9
    assert len(list(tmp_path.iterdir())) == 1


def test_the_cache_distinguishes_keys_and_computes_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make(value: int) -> TokenRows:
        made.append(value)
        return TokenRows.of([[value]])

    for value in (1, 2, 1, 2):
        found = cached_tokens(tmp_path, ["split", value], lambda v=value: make(v))
        assert found.values.tolist() == [value]
        assert found.values.dtype == np.int32
    assert made == [1, 2]


def test_a_broken_cache_file_is_made_anew(tmp_path: Path) -> None:
    use_cache(tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"half")
    assert use_cache(tmp_path) == 10000


def test_models_of_one_family_share_their_tokens_and_others_do_not(tmp_path: Path) -> None:
    one, other, third = (source_of(tmp_path / name, name) for name in ("one", "other", "third"))
    add_tokenizer(make_gpt2(tmp_path / "one"), special=False)
    add_tokenizer(make_gpt2(tmp_path / "other", dropout=0.0), special=False)
    add_tokenizer(make_gpt2(tmp_path / "third"), special=True)
    key = tokens_key(one, max_tokens=8)
    assert tokens_key(other, max_tokens=8) == key
    tokenize(["w0 w1 w2"], source=one, max_tokens=8)
    tokens._tokens_key.cache_clear()
    assert tokens_key(one, max_tokens=8) == key
    assert tokens_key(one, max_tokens=4) != key
    assert tokens_key(third, max_tokens=8) != key


def test_the_rules_of_a_tokenizer_are_read_once_in_a_process(tmp_path: Path, monkeypatch) -> None:
    source = source_of(tmp_path / "one", "one")
    add_tokenizer(make_gpt2(tmp_path / "one"), special=False)
    tokens_key(source, max_tokens=8)

    def again(*_: object, **__: object) -> None:
        raise AssertionError("the rules were read again")

    monkeypatch.setattr(tokens.json, "loads", again)
    tokens_key(source, max_tokens=8)
