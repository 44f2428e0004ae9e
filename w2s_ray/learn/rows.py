"""Rows that are more than one text (pairs, choices, texts with learned tokens), or less.

Owns which sequences of tokens such rows are; like `TokenRows` they have lengths, a table of all
tokens, and the places of any rows in it. Labels, batches and padding are no part. Shapes: B rows, S
sequences of them, N rows in all, D width of a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from w2s_ray.learn.tokens import TokenRows


@dataclass(frozen=True)
class PairRows:
    """Pairs of texts."""

    first: TokenRows
    second: TokenRows

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of both texts of each pair, int64 [N]."""
        return self.first.lengths + self.second.lengths

    @property
    def size(self) -> int:
        """Tokens in all."""
        return self.first.size + self.second.size

    def take(self, indices: ArrayLike) -> PairRows:
        """The pairs at `indices`, in that order."""
        return PairRows(self.first.take(indices), self.second.take(indices))

    @cached_property
    def table(self) -> np.ndarray:
        """The tokens of all first texts, then of all second ones, int32."""
        return np.concatenate([self.first.table, self.second.table])

    def located(self, indices: ArrayLike) -> np.ndarray:
        """Offset and length of 2 B texts, int64 [2, 2 B]: the first ones, then the second ones."""
        first_2B, second_2B = self.first.located(indices), self.second.located(indices)
        second_2B[0] += self.first.size
        return np.concatenate([first_2B, second_2B], axis=1)


@dataclass(frozen=True)
class SpanRows:
    """Texts of which a model learns the tokens from a place on, each after those before it."""

    tokens: TokenRows
    starts: np.ndarray
    """The first token of each row that is learned, int64 [N], at least 1."""

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.tokens):
            raise ValueError(f"{len(self.starts)} starts for {len(self.tokens)} rows; give as many")
        wrong_N = (self.starts < 1) | (self.starts >= self.tokens.lengths)
        if wrong_N.any():
            row = int(wrong_N.argmax())
            raise ValueError(
                f"row {row} has {self.tokens.lengths[row]} tokens and is learned from "
                f"{self.starts[row]} on; give it a token before and one to learn"
            )

    @classmethod
    def of(cls, rows: Iterable[tuple[ArrayLike, ArrayLike]]) -> SpanRows:
        """Rows of (tokens that are read, tokens that are learned)."""
        pairs = [
            (np.asarray(read, np.int32), np.asarray(learned, np.int32)) for read, learned in rows
        ]
        starts = np.asarray([len(read) for read, _ in pairs], np.int64)
        return cls(TokenRows.of([np.concatenate(pair) for pair in pairs]), starts)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 [N]."""
        return self.tokens.lengths

    @property
    def learned(self) -> np.ndarray:
        """Tokens of each row that are learned, int64 [N]."""
        return self.tokens.lengths - self.starts

    @property
    def size(self) -> int:
        """Tokens in all."""
        return self.tokens.size

    def take(self, indices: ArrayLike) -> SpanRows:
        """The rows at `indices`, in that order."""
        picked = np.asarray(indices, dtype=np.int64)
        return SpanRows(self.tokens.take(picked), self.starts[picked])

    @property
    def table(self) -> np.ndarray:
        """The tokens of all rows, int32."""
        return self.tokens.table

    def located(self, indices: ArrayLike) -> np.ndarray:
        """Offset, length and first learned token of each row, int64 [3, B]."""
        picked = np.asarray(indices, dtype=np.int64)
        return np.concatenate([self.tokens.located(picked), self.starts[None, picked]])


@dataclass(frozen=True)
class ChoiceRows:
    """Questions with several choices each. A sequence is a question and one of its choices."""

    spans: SpanRows
    """The sequences of all rows, one row after the other, whose choices are the learned tokens."""
    choices: tuple[tuple[str, ...], ...]
    """The texts of each row's choices, in the order of its sequences."""
    units: np.ndarray
    """What the log-likelihood of each sequence's choice is divided by, float32."""

    def __post_init__(self) -> None:
        sequences = int(self.counts.sum())
        if not len(self.spans) == len(self.units) == sequences:
            raise ValueError(
                f"{sequences} choices have {len(self.spans)} sequences and {len(self.units)} units;"
                " give one of each"
            )

    def __len__(self) -> int:
        return len(self.choices)

    @cached_property
    def counts(self) -> np.ndarray:
        """Choices of each row, int64 [N]."""
        return np.asarray([len(row) for row in self.choices], np.int64)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of all sequences of each row, int64 [N]."""
        ends = np.concatenate([[0], np.cumsum(self.spans.lengths)])
        return ends[self._first + self.counts] - ends[self._first]

    @property
    def size(self) -> int:
        """Tokens in all."""
        return self.spans.size

    def take(self, indices: ArrayLike) -> ChoiceRows:
        """The rows at `indices`, in that order."""
        picked = np.asarray(indices, dtype=np.int64)
        sequences = self.sequences(picked)
        choices = tuple(self.choices[i] for i in picked)
        return ChoiceRows(self.spans.take(sequences), choices, self.units[sequences])

    def sequences(self, indices: ArrayLike) -> np.ndarray:
        """Places of the sequences of the rows at `indices`, int64 [S]."""
        picked = np.asarray(indices, dtype=np.int64)
        first_S = np.repeat(self._first[picked], self.counts[picked])
        return first_S + self.places(picked)

    def places(self, indices: ArrayLike) -> np.ndarray:
        """Place of each of these sequences among its row's choices, int64 [S]."""
        counts_B = self.counts[np.asarray(indices, dtype=np.int64)]
        return np.arange(counts_B.sum()) - np.repeat(np.cumsum(counts_B) - counts_B, counts_B)

    @property
    def table(self) -> np.ndarray:
        """The tokens of all sequences, int32."""
        return self.spans.table

    def located(self, indices: ArrayLike) -> np.ndarray:
        """Offset, length and first learned token of the sequences of these rows, int64 [3, S]."""
        return self.spans.located(self.sequences(indices))

    @cached_property
    def _first(self) -> np.ndarray:
        """Place of each row's first sequence, int64 [N]."""
        return np.cumsum(self.counts) - self.counts


@dataclass(frozen=True)
class PolicyRows:
    """Pairs whose two texts a policy scores, each after what both begin with."""

    spans: SpanRows
    """The first texts of all N pairs, then the second ones; what differs is learned."""
    reference_N: np.ndarray
    """The log-probability that the reference gives the first text minus that of the second,
    float32 [N]."""

    def __post_init__(self) -> None:
        if len(self.spans) != 2 * len(self.reference_N):
            raise ValueError(
                f"{len(self.reference_N)} pairs have {len(self.spans)} texts; give two of each"
            )

    def __len__(self) -> int:
        return len(self.reference_N)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of both texts of each pair, int64 [N]."""
        return self.spans.lengths.reshape(2, -1).sum(axis=0)

    @property
    def size(self) -> int:
        """Tokens in all."""
        return self.spans.size

    def take(self, indices: ArrayLike) -> PolicyRows:
        """The pairs at `indices`, in that order."""
        picked = np.asarray(indices, dtype=np.int64)
        return PolicyRows(self.spans.take(self._both(picked)), self.reference_N[picked])

    @property
    def table(self) -> np.ndarray:
        """The tokens of all texts, int32."""
        return self.spans.table

    def located(self, indices: ArrayLike) -> np.ndarray:
        """Offset, length and first learned token of 2 B texts, int64 [3, 2 B]: the first ones, then
        the second ones.
        """
        return self.spans.located(self._both(np.asarray(indices, dtype=np.int64)))

    def learned(self, indices: ArrayLike) -> int:
        """Number of learned tokens of both texts of these pairs."""
        return int(self.spans.learned[self._both(np.asarray(indices, dtype=np.int64))].sum())

    def _both(self, picked: np.ndarray) -> np.ndarray:
        """Places of both texts of these pairs."""
        return np.concatenate([picked, picked + len(self)])


@dataclass(frozen=True)
class ActivationRows:
    """Rows as a frozen backbone's activations, which a head alone is trained on."""

    activations_ND: np.ndarray
    """float32 [N, D], one vector for each row."""
    lengths: np.ndarray
    """Tokens of each row, int64 [N]: batches and counts are as if the tokens were read."""
    frozen_parameters: int
    """Weights of the backbone."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def size(self) -> int:
        """Tokens in all."""
        return int(self.lengths.sum())

    def take(self, indices: ArrayLike) -> ActivationRows:
        """The rows at `indices`, in that order."""
        picked = np.asarray(indices, dtype=np.int64)
        return replace(
            self, activations_ND=self.activations_ND[picked], lengths=self.lengths[picked]
        )

    @property
    def table(self) -> np.ndarray:
        """The activations of all rows."""
        return self.activations_ND


TextRows = TokenRows | PairRows | SpanRows | ChoiceRows | PolicyRows
"""Rows of tokens."""
AnyRows = TextRows | ActivationRows
ClassRows = TokenRows | PairRows | PolicyRows | ActivationRows
"""Rows of two classes."""
