"""How long rows are: quantiles of words, known for every split, and of tokens where they were made.

Owns the two notes' form and the guess from one to the other. Exact tokens are known for what this
machine has tokenized; a plan reads no rows and loads no tokenizer. It knows nothing of models
beyond their identity and the most tokens that a row may have.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from w2s_ray.config import ModelSource
from w2s_ray.data.cache import read_note, write_note

STEPS = 64
"""Lengths are kept at 0, 1/64, ..., 1 of the rows."""
TOKENS_PER_WORD = 1.4
"""Of a tokenizer of subwords on English, without its count of special tokens; see
`benchmarks/estimates.py lengths`."""
_NOTE = 1

How = Literal["tokenized", "words", "longest"]
"""Where lengths come from: this machine's tokens, the rows' words, or only the most allowed."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of the rows of one part, as one model reads them."""

    rows: int
    quantiles: tuple[float, ...]
    """Tokens of the rows at 0, 1/n, ..., 1 of them in order of length."""
    mean: float
    how: How

    def at(self, share: float) -> float:
        """Tokens of the row that so large a share of rows isn't longer than."""
        place = share * (len(self.quantiles) - 1)
        low = min(int(place), len(self.quantiles) - 2)
        a, b = self.quantiles[low], self.quantiles[low + 1]
        return a + (b - a) * (place - low)

    @property
    def tokens(self) -> float:
        """Tokens of all rows, without padding."""
        return self.rows * self.mean


def quantiles(lengths: Sequence[int]) -> tuple[float, ...]:
    """The lengths at 0, 1/STEPS, ..., 1 of the rows."""
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
    """The lengths of a part's rows: exact where this machine tokenized them, else guessed."""
    note = read_note("lengths", key=_key(split, part, source, max_tokens))
    if note is not None and note.get("rows") == rows:
        return Lengths(rows, tuple(note["quantiles"]), float(note["mean"]), "tokenized")
    most = float(min(max_tokens, longest or max_tokens))
    if not words:
        return Lengths(rows, (most, most), most, "longest")
    each = tuple(min(most, max(1.0, count * tokens_per_word(source))) for count in words)
    mean = sum((a + b) / 2 for a, b in pairwise(each)) / (len(each) - 1)
    return Lengths(rows, each, mean, "words")


def note_tokens(
    lengths: Iterable[int], *, split: str, part: str, source: ModelSource, max_tokens: int
) -> None:
    """Remember on this machine how long the tokenized rows of a part are."""
    key = _key(split, part, source, max_tokens)
    if read_note("lengths", key=key) is None:
        counts = [int(length) for length in lengths]
        mean = sum(counts) / max(1, len(counts))
        note = {"rows": len(counts), "quantiles": quantiles(counts), "mean": mean}
        write_note("lengths", key=key, note=note)


def tokens_per_word(source: ModelSource) -> float:
    """Tokens that a word becomes: 1 for a tokenizer of whole words, else a usual figure."""
    try:
        found = json.loads((Path(source.location) / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return TOKENS_PER_WORD
    kind = found.get("model", {}).get("type") if isinstance(found, dict) else None
    return 1.0 if kind == "WordLevel" else TOKENS_PER_WORD


def _key(split: str, part: str, source: ModelSource, max_tokens: int) -> list[Any]:
    return [_NOTE, split, part, source.identity, max_tokens]
