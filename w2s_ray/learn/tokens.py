"""Texts as token arrays: tokenizing, padding, and a file cache.

Owns `TokenRows`, in which the loop has its texts, and the rule that over-long texts are truncated
from the left, since a question's end or an answer matters more than its beginning. Labels, splits
and batches are handled elsewhere. Shapes: B rows, L tokens of the longest row, N rows in all.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_ray.config import ModelSource
from w2s_ray.config.stages import alike_words
from w2s_ray.errors import InputError

CHUNK = 4096
"""Texts per call of the tokenizer: enough for its threads, few enough for memory."""


@dataclass(frozen=True)
class TokenRows:
    """Rows of token ids, one after another: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: np.ndarray
    """int32 [total tokens]."""
    offsets: np.ndarray
    """int64 [N + 1], from 0 to the total."""

    def __post_init__(self) -> None:
        offsets = self.offsets
        if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0:
            raise InputError("offsets of token rows must be N + 1 numbers that start at 0")
        if offsets[-1] != len(self.values):
            raise InputError(
                f"offsets of token rows end at {offsets[-1]}, but there are "
                f"{len(self.values)} tokens"
            )
        if len(offsets) > 1 and np.diff(offsets).min() < 1:
            row = int(np.diff(offsets).argmin())
            raise InputError(f"row {row} has no tokens; give every row at least one")

    @classmethod
    def of(cls, rows: Iterable[ArrayLike]) -> TokenRows:
        """The rows given as lists of token ids."""
        listed = [np.asarray(row, dtype=np.int32) for row in rows]
        offsets = np.zeros(len(listed) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in listed], out=offsets[1:])
        values = np.concatenate(listed) if listed else np.zeros(0, dtype=np.int32)
        return cls(values=values, offsets=offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def size(self) -> int:
        """Tokens in all."""
        return len(self.values)

    def row(self, index: int) -> np.ndarray:
        """The token ids of one row."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def take(self, indices: ArrayLike) -> TokenRows:
        """The rows at `indices`, in that order; a row may be taken twice."""
        return TokenRows.of(self.row(int(i)) for i in np.asarray(indices, dtype=np.int64))

    @property
    def table(self) -> np.ndarray:
        """The tokens of all rows, int32."""
        return self.values

    def located(self, indices: ArrayLike) -> np.ndarray:
        """Offset and length of each row, int64 [2, B]."""
        picked = np.asarray(indices, dtype=np.int64)
        return np.stack([self.offsets[picked], self.lengths[picked]])

    def pad(self, indices: ArrayLike, pad_id: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The rows at `indices`, padded on the right: input_ids_BL and lengths_B, both int64."""
        picked = np.asarray(indices, dtype=np.int64)
        lengths_B = self.lengths[picked]
        column_L = np.arange(int(lengths_B.max(initial=1)))
        real_BL = column_L < lengths_B[:, None]
        input_ids_BL = np.full(real_BL.shape, pad_id, dtype=np.int64)
        position_BL = self.offsets[picked][:, None] + column_L
        input_ids_BL[real_BL] = self.values[position_BL[real_BL]]
        return input_ids_BL, lengths_B


def tokenize(
    texts: Sequence[str],
    *,
    source: ModelSource,
    max_tokens: int,
    less: int = 0,
    special: bool = True,
) -> TokenRows:
    """`texts` as the model's own tokenizer reads them, with the special tokens that it adds.

    At most `max_tokens` tokens a row, or the model's position limit where that is less. A longer
    text is truncated from the left; special tokens at either end stay. An empty text gives one
    token. `less` tokens of the limit are left free. Texts that hold their special tokens get none
    where `special` is false.

    Raises:
        InputError: nothing is left.
    """
    tokenizer, limit = _tokenizer(source, max_tokens)
    limit -= less
    if limit < 1:
        raise InputError(
            f"training.max_tokens is {max_tokens}, and {less} of it are for an answer; raise it "
            "or lower training.answer_tokens"
        )
    for_nothing = [_stand_in(tokenizer)]
    rows: list[Sequence[int]] = []
    for start in range(0, len(texts), CHUNK):
        ids = tokenizer(
            list(texts[start : start + CHUNK]),
            add_special_tokens=special,
            truncation=True,
            max_length=limit,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        rows.extend(row or for_nothing for row in ids)
    return TokenRows.of(rows)


def fits(
    texts: Sequence[str],
    *,
    source: ModelSource,
    max_tokens: int,
    less: int = 0,
    special: bool = True,
) -> np.ndarray:
    """Which of `texts` are not truncated by `tokenize` with the same arguments, bool [N]."""
    tokenizer, limit = _tokenizer(source, max_tokens)
    lengths: list[int] = []
    for start in range(0, len(texts), CHUNK):
        read = tokenizer(list(texts[start : start + CHUNK]), add_special_tokens=special)
        lengths += map(len, read["input_ids"])
    return np.asarray(lengths, np.int64) <= limit - less


def tokenize_text(
    texts: Sequence[str], *, source: ModelSource, max_tokens: int, special: bool = True
) -> list[list[int]]:
    """`texts` in pieces of at most `max_tokens` tokens, each text with an end where there is one.

    A piece begins with the last token of the one before it, so that every token but a text's first
    is learned once.
    """
    tokenizer, limit = _tokenizer(source, max_tokens)
    stop = stop_token(source)
    pieces: list[list[int]] = []
    for start in range(0, len(texts), CHUNK):
        chunk = list(texts[start : start + CHUNK])
        read = tokenizer(chunk, add_special_tokens=special, return_attention_mask=False)
        for ids in read["input_ids"]:
            whole = [*ids, *([stop] if stop is not None and ids[-1:] != [stop] else [])]
            pieces += [whole[i : i + limit] for i in range(0, len(whole) - 1, limit - 1)]
    return pieces


def tokenize_answers(answers: Sequence[str], *, source: ModelSource, most: int) -> list[list[int]]:
    """Answers as they follow a prompt, with the token that ends them, at most `most` tokens each.

    A completion of `most` tokens may be cut: its tokens needn't be those that made it.

    Raises:
        InputError: the tokenizer has no token to end an answer with.
    """
    return [ids[:most] for ids in _whole_answers(answers, source)]


def check_answers(answers: Sequence[str], *, source: ModelSource, most: int) -> None:
    """Refuse answers of more than `most` tokens, end included, which no completion could give.

    Raises:
        InputError: names the longest and how many there are.
    """
    lengths = [len(ids) for ids in _whole_answers(answers, source)]
    longer = sum(length > most for length in lengths)
    if longer:
        raise InputError(
            f"training.answer_tokens is {most}, and {longer:,} of {len(lengths):,} answers are "
            f"longer for {source.name}, the longest {max(lengths)} tokens with its end; raise it "
            f"to {max(lengths)}"
        )


def _whole_answers(answers: Sequence[str], source: ModelSource) -> list[list[int]]:
    tokenizer, _ = _tokenizer(source, CHUNK)
    stop = stop_token(source)
    if stop is None:
        raise InputError(
            f"the tokenizer of {source.name} has no end-of-text token to end an answer with; give "
            "it an eos_token"
        )
    given = [f" {answer}" for answer in answers]
    found = tokenizer(given, add_special_tokens=False)["input_ids"] if given else []
    return [[*ids, stop] for ids in found]


def tokenize_words(words: Sequence[str], *, source: ModelSource) -> list[list[int]]:
    """Words as they follow a text, after a space and without an end.

    Raises:
        InputError: the tokenizer reads two of them alike.
    """
    tokenizer, _ = _tokenizer(source, CHUNK)
    given = [f" {word.strip()}" for word in words]
    found: list[list[int]] = tokenizer(given, add_special_tokens=False)["input_ids"]
    if len({tuple(ids) for ids in found}) < len(words) or not all(found):
        raise alike_words(words, source.name)
    return found


def detokenize(rows: Iterable[np.ndarray], *, source: ModelSource) -> tuple[str, ...]:
    """Texts of token ids, without special tokens."""
    tokenizer, _ = _tokenizer(source, CHUNK)
    listed = [row.tolist() for row in rows]
    return tuple(tokenizer.batch_decode(listed, skip_special_tokens=True))


def token_limit(source: ModelSource, max_tokens: int) -> int:
    """The most tokens that a row of the model may have."""
    return _tokenizer(source, max_tokens)[1]


def tokenizer_of(source: ModelSource) -> Any:
    """The model's tokenizer."""
    return _tokenizer(source, CHUNK)[0]


def save_tokenizer(source: ModelSource, folder: Path) -> None:
    """Put the model's tokenizer beside weights in `folder`."""
    tokenizer, _ = _tokenizer(source, CHUNK)
    tokenizer.save_pretrained(folder)


def stop_token(source: ModelSource) -> int | None:
    """The token that ends a text; None where the tokenizer has none."""
    tokenizer, _ = _tokenizer(source, CHUNK)
    return tokenizer.eos_token_id


def start_token(source: ModelSource) -> int:
    """The token that stands for an empty text."""
    tokenizer, _ = _tokenizer(source, CHUNK)
    return _stand_in(tokenizer)


def tokens_key(source: ModelSource, *, max_tokens: int) -> str:
    """A key of all that tokens depend on: models of one family share it, and so their tokens."""
    _, limit = _tokenizer(source, max_tokens)
    return _tokens_key(_declared(source), limit)


@lru_cache(maxsize=64)
def _tokens_key(declared: str, limit: int) -> str:
    """The key of a model source's tokens; once a process, since large tokenizers take seconds."""
    source = ModelSource.model_validate_json(declared)
    tokenizer, _ = _loaded(declared)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return f"{source.identity} {limit}"
    rules = json.loads(backend.to_str())
    rules.update(truncation=None, padding=None)  # settings of the last call, not of the tokenizer
    text = json.dumps([rules, _stand_in(tokenizer), limit], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _tokenizer(source: ModelSource, max_tokens: int) -> tuple[Any, int]:
    """The model's tokenizer, and the most tokens that a row may have.

    Raises:
        InputError: no tokenizer, or one of more tokens than the model has embeddings.
    """
    tokenizer, limit = _loaded(_declared(source))
    return tokenizer, min(max_tokens, limit or max_tokens)


def _declared(source: ModelSource) -> str:
    """What decides a model's tokenizer, as JSON; fits that begin with other heads share it."""
    return source.model_dump_json(exclude={"head"})


@lru_cache(maxsize=4)
def _loaded(declared: str) -> tuple[Any, int | None]:
    """The tokenizer of the model source that is `declared` as JSON, and its position limit."""
    from transformers import AutoTokenizer

    from w2s_ray.learn.loading import called, load_config, reading

    source = ModelSource.model_validate_json(declared)
    at = {"revision": source.revision, "trust_remote_code": source.trust_remote_code}
    config = load_config(source)
    with reading(source):
        tokenizer = AutoTokenizer.from_pretrained(source.location, truncation_side="left", **at)
        known = tokenizer.get_vocab()
    if known.keys() <= set(tokenizer.all_special_tokens):
        raise InputError(
            f"{called(source)} has no tokenizer; put the tokenizer files of its base beside its "
            "weights"
        )
    tokens, rows = max(known.values()) + 1, config.get_text_config().vocab_size
    if tokens > rows:
        raise InputError(
            f"{called(source)}: its tokenizer has {tokens:,} tokens and its embedding {rows:,} "
            "rows; resize the embedding (resize_token_embeddings), or use the model's own tokenizer"
        )
    return tokenizer, position_limit(config)


def position_limit(config: Any) -> int | None:
    """The longest row that a model's position embeddings allow; None where its config is silent.

    Models of the RoBERTa family count positions from `pad_token_id + 1`, and lose as many.
    """
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
    if not isinstance(limit, int) or limit <= 0:
        return None
    if text.model_type in _POSITIONS_AFTER_PADDING:
        return limit - (text.pad_token_id or 0) - 1
    return limit


_POSITIONS_AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}


def cached_tokens(
    folder: Path, key: Sequence[str | int], make: Callable[[], TokenRows]
) -> TokenRows:
    """`make()`, or what an earlier call with the same key left in `folder`.

    The key must name all that decides the tokens: the split's fingerprint and part, and
    `tokens_key`. Processes that make the same rows at once each write a file of their own
    and rename it into place, so that a reader never sees half of one.
    """
    name = hashlib.sha256(json.dumps(["tokens", 1, *key]).encode()).hexdigest()[:32]
    path = Path(folder) / f"{name}.npz"
    found = _read(path)
    if found is not None:
        return found
    rows = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{name}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, values=rows.values, offsets=rows.offsets)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return rows


def _read(path: Path) -> TokenRows | None:
    """The rows in a cache file; None where there is no file, or none that is whole."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return TokenRows(values=found["values"], offsets=found["offsets"])
    except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _stand_in(tokenizer: Any) -> int:
    """The token that represents a text without any."""
    for name in ("bos_token_id", "eos_token_id", "cls_token_id", "pad_token_id"):
        token = getattr(tokenizer, name, None)
        if token is not None:
            return int(token)
    return 0
