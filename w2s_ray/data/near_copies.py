"""Near copies: rows whose texts share most of their pairs of neighbouring words.

Owns the measure, and a search that finds every near copy without comparing all rows. The result is
exact, since a split depends on it: it varies neither with a library's version nor with a random
draw.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable

from w2s_ray.data.cells import folded
from w2s_ray.data.example import Example

_SHARED, _OF = 7, 10
"""Near copies have a Jaccard similarity of word pairs of at least 7/10: about one word in eleven
replaced. Two integers, so that no rounding decides."""
_WORD = re.compile(r"\w+")


class NearCopies:
    """A search for near copies of given rows.

    It uses prefix filtering (Bayardo, Ma, Srikant 2007: Scaling up all pairs similarity search):
    if the word pairs of all rows are sorted in one order, two similar rows have a common pair among
    the first few. With the rarest first, few rows remain to be compared.
    """

    def __init__(self, rows: Iterable[Example]) -> None:
        self._pairs = [word_pairs(row) for row in rows]
        self._frequency = Counter(itertools.chain.from_iterable(self._pairs))
        self._rows_of: dict[str, list[int]] = {}
        for number, pairs in enumerate(self._pairs):
            for pair in self._rarest(pairs, len(pairs)):
                self._rows_of.setdefault(pair, []).append(number)

    def __len__(self) -> int:
        return len(self._pairs)

    def of(self, row: Example) -> list[int]:
        """Indices of the given rows that `row` is a near copy of, ascending."""
        pairs = word_pairs(row)
        known = {pair for pair in pairs if pair in self._frequency}
        candidates = {
            number
            for pair in self._rarest(known, len(pairs))
            for number in self._rows_of.get(pair, ())
        }
        return sorted(number for number in candidates if _similar(pairs, self._pairs[number]))

    def _rarest(self, pairs: Iterable[str], size: int) -> list[str]:
        """The pairs of which a row of `size` pairs shares at least one with every near copy.

        Pairs that no given row has come first in the order, and are not in `pairs`.
        """
        ordered = sorted(pairs, key=lambda pair: (self._frequency[pair], pair))
        least_common = -(-_SHARED * size // _OF)  # rounded up
        return ordered[: max(0, len(ordered) - least_common + 1)]


def word_pairs(row: Example) -> frozenset[str]:
    """Pairs of neighbouring words of a row's texts, without case and punctuation.

    The first and the last word are in a pair with nothing, so that every row has pairs.
    """
    text = folded(row.content)
    words = ["", *(_WORD.findall(text) or text.split()), ""]
    return frozenset(f"{a} {b}" for a, b in itertools.pairwise(words))


def _similar(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether rows with these word pairs are near copies."""
    common = len(one & other)
    return _OF * common >= _SHARED * (len(one) + len(other) - common)


def near_copies(test: Iterable[Example], *, train: Iterable[Example]) -> list[int]:
    """For each test row, the number of training rows that it is a near copy of."""
    search = NearCopies(test)
    found = Counter(number for row in train for number in search.of(row))
    return [found[number] for number in range(len(search))]
