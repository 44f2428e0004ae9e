"""Pairs of texts as a policy reads them: what both begin with, and how each goes on.

Owns where the two texts of a pair part, and the rule that their common beginning is truncated from
the left alike for both. Splits, labels and log-probabilities are handled elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from w2s_ray.config import ModelSource
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import (
    CHUNK,
    TokenRows,
    start_token,
    stop_token,
    token_limit,
    tokenizer_of,
)


def tokenize_pairs(
    first: Sequence[str],
    second: Sequence[str],
    *,
    source: ModelSource,
    max_tokens: int,
    special: bool,
) -> TokenRows:
    """What both texts of each of N pairs begin with, how the first texts go on, how the second do.

    These are 3 N rows, each of at least one token. A text ends with the token that ends texts, if
    there is one. Where two texts begin differently, the token that stands for an empty text is
    before both. At most `max_tokens` tokens a text, or the model's position limit where that is
    less: the common beginning loses its first tokens, but for one, and then a text its last ones.
    """
    limit = token_limit(source, max_tokens)
    both = (_whole(texts, source=source, special=special) for texts in (first, second))
    rows: tuple[list[list[int]], ...] = ([], [], [])
    for pair in zip(*both, strict=True):
        shared = min(_shared(*pair), *(len(ids) - 1 for ids in pair))
        rests = [ids[shared:][: limit - 1] for ids in pair]
        room = limit - max(map(len, rests))
        begun = pair[0][:shared][-room:] or [start_token(source)]
        for of_kind, ids in zip(rows, (begun, *rests), strict=True):
            of_kind.append(ids)
    return TokenRows.of(ids for of_kind in rows for ids in of_kind)


def pair_spans(tokens: TokenRows) -> SpanRows:
    """The first texts of all pairs, then the second ones, of which what differs is learned."""
    pairs = len(tokens) // 3
    return SpanRows.of(
        (tokens.row(i), tokens.row(side * pairs + i)) for side in (1, 2) for i in range(pairs)
    )


def _whole(texts: Sequence[str], *, source: ModelSource, special: bool) -> list[list[int]]:
    """The tokens of whole texts, each with its end where there is one."""
    tokenizer, stop = tokenizer_of(source), stop_token(source)
    rows: list[list[int]] = []
    for start in range(0, len(texts), CHUNK):
        chunk = list(texts[start : start + CHUNK])
        rows += tokenizer(chunk, add_special_tokens=special)["input_ids"]
    end = [] if stop is None else [stop]
    return [[*ids, *(end if ids[-1:] != end else [])] or [start_token(source)] for ids in rows]


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    shorter = min(len(first), len(second))
    differs = np.flatnonzero(np.not_equal(first[:shorter], second[:shorter]))
    return int(differs[0]) if len(differs) else shorter
