"""Lengths of rows: quantiles of words for every split, and of tokens for tokenized splits.

Owns the estimate of tokens from words, and the cache of exact lengths of rows that this machine has
tokenized. It reads no rows and loads no tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from w2s_ray.config import ModelSource
from w2s_ray.data.cache import read_note, write_note

STEPS = 64
"""Lengths are stored as quantiles at 0, 1/64, ..., 1."""
TOKENS_PER_WORD = 1.4
"""For a subword tokenizer on English text, without special tokens; see
`benchmarks/estimates.py lengths`."""
_NOTE = 1

LengthSource = Literal["tokenized", "words", "longest"]
"""Source of the lengths: tokens counted on this machine, the rows' words, or only the maximum."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of the rows of one part for one model."""

    rows: int
    quantiles: tuple[float, ...]
    """Quantiles of the rows' tokens at 0, 1/n, ..., 1."""
    mean: float
    source: LengthSource
    choices: int = 1
    """Choices of a row, each of which has these tokens with its question."""
    classes: int = 2
    """Classes of the rows, for each of which a head has an output."""

    def at(self, share: float) -> float:
        """The quantile of the rows' tokens at `share`, interpolated."""
        place = share * (len(self.quantiles) - 1)
        low = min(int(place), len(self.quantiles) - 2)
        a, b = self.quantiles[low], self.quantiles[low + 1]
        return a + (b - a) * (place - low)

    @property
    def tokens(self) -> float:
        """Tokens of all rows, without padding."""
        return self.rows * self.mean


def quantiles(lengths: Sequence[int]) -> tuple[float, ...]:
    """The quantiles of `lengths` at 0, 1/STEPS, ..., 1."""
    ordered = sorted(lengths)
    if not ordered:
        return (0.0,) * (STEPS + 1)
    last = len(ordered) - 1
    return tuple(float(ordered[round(last * i / STEPS)]) for i in range(STEPS + 1))


def token_lengths(
    *,
    split: str,
    part: str,
    rows: int,
    words: Sequence[float] | None,
    source: ModelSource,
    max_tokens: int,
    longest: int | None = None,
) -> Lengths:
    """The lengths of a part's rows: exact if this machine has tokenized them, else estimated."""
    note = read_note("lengths", key=_key(split, part, source, max_tokens))
    if note is not None and note.get("rows") == rows:
        return Lengths(rows, tuple(note["quantiles"]), float(note["mean"]), "tokenized")
    most = float(min(max_tokens, longest or max_tokens))
    if not words:
        return Lengths(rows, (most, most), most, "longest")
    per_word = tokens_per_word(source)
    each = tuple(min(most, max(1.0, count * per_word)) for count in words)
    mean = sum((a + b) / 2 for a, b in pairwise(each)) / (len(each) - 1)
    return Lengths(rows, each, mean, "words")


def note_tokens(
    lengths: Iterable[int], *, split: str, part: str, source: ModelSource, max_tokens: int
) -> None:
    """Cache the lengths of a part's tokenized rows on this machine."""
    key = _key(split, part, source, max_tokens)
    if read_note("lengths", key=key) is None:
        counts = [int(length) for length in lengths]
        mean = sum(counts) / max(1, len(counts))
        note = {"rows": len(counts), "quantiles": quantiles(counts), "mean": mean}
        write_note("lengths", key=key, note=note)


def tokens_per_word(source: ModelSource) -> float:
    """Tokens per word: 1 for a tokenizer of whole words, else `TOKENS_PER_WORD`."""
    file = Path(source.location) / "tokenizer.json"
    try:
        return _tokens_per_word(file, file.stat().st_mtime_ns)
    except OSError:
        return TOKENS_PER_WORD


@cache
def _tokens_per_word(file: Path, changed_ns: int) -> float:
    """Of one version of a file, which may have 33 MB."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return TOKENS_PER_WORD
    kind = content.get("model", {}).get("type") if isinstance(content, dict) else None
    return 1.0 if kind == "WordLevel" else TOKENS_PER_WORD


def _key(split: str, part: str, source: ModelSource, max_tokens: int) -> list[Any]:
    return [_NOTE, split, part, source.identity, max_tokens]
