"""Generated text: the pretraining corpus of the embedded ladder, and a binary task.

Owns an artificial language. A text has a side on each of several themes. It is a sequence of
phrases; each phrase is about one theme, and its words occur only with this theme and side. Running
text therefore teaches which words belong together. The label of a row is the side on the rarest
theme, which only a few words of the row show. It reads no files and makes no split.
"""

from __future__ import annotations

from itertools import product

import numpy as np

THEMES = 4
"""Themes, by decreasing frequency; labels are about the last, the rarest."""
WORDS = 256
"""Words for each theme and side, by decreasing frequency."""
FILLERS = 40
"""Words without a theme."""
LONGEST = 32
"""Words of a pretraining text, and largest number of words of a row."""
SHORTEST = 20
"""Smallest number of words of a row."""

_THEME_FALL, _WORD_FALL, _FILLER_FALL = 0.5, 0.7, 1.0  # exponents of frequency by rank
_NEW_PHRASE = 0.35  # probability that a word begins a phrase: 2.9 words each
_FILLER = 0.1  # probability that a word is a filler
_STRAY = 0.05  # probability that a phrase has the other side than its text
_LABEL_WORDS = range(1, 4)  # words on the label's theme in a row of the task
_PRETRAINING, _TASK = 0, 1  # independent random streams for the same seed


def vocabulary() -> list[str]:
    """Every word of the language, in the order of its ids: fillers, then theme by theme."""
    syllables = [a + b for a, b in product("bdfgklmnprstvz", "aeiou")]
    words = [a + b for a, b in product(syllables, syllables)]
    # The stride is coprime to the number of words: no syllable is typical for a theme or a side.
    return [words[(1 + i * 2741) % len(words)] for i in range(FILLERS + THEMES * 2 * WORDS)]


def pretraining_ids(*, texts: int, seed: int, part: int = 0) -> np.ndarray:
    """Word ids, int64 [texts, LONGEST]: id i is word i of `vocabulary()`; parts are independent."""
    return _texts(np.random.default_rng([_PRETRAINING, seed, part]), texts)[0]


def task_rows(*, rows: int, seed: int) -> list[tuple[str, int]]:
    """Distinct rows (text, label), with about equal numbers of both labels.

    The label is the side of the text on the rarest theme. Some phrases have the other side, so that
    the best possible accuracy is about 95 %.
    """
    rng = np.random.default_rng([_TASK, seed])
    words = np.array(vocabulary(), dtype=object)
    labels: dict[str, int] = {}
    while len(labels) < rows:
        ids, themes, sides = _texts(rng, 1000 + 4 * (rows - len(labels)))
        lengths = rng.integers(SHORTEST, LONGEST + 1, len(ids))
        inside = np.arange(LONGEST) < lengths[:, None]
        label_words = ((themes == THEMES - 1) & inside).sum(axis=1)
        for i in np.flatnonzero(np.isin(label_words, list(_LABEL_WORDS))):
            labels[" ".join(words[ids[i, : lengths[i]]])] = int(sides[i, -1])
    return list(labels.items())[:rows]


def _texts(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Word ids [n, LONGEST]; each word's theme [n, LONGEST], -1 for a filler; sides [n, THEMES]."""
    shape = (n, LONGEST)
    sides = rng.integers(0, 2, (n, THEMES))
    begins = rng.random(shape) < _NEW_PHRASE
    begin = np.maximum.accumulate(np.where(begins, np.arange(LONGEST), 0), axis=1)
    themes = np.take_along_axis(_ranks(rng, shape, THEMES, _THEME_FALL), begin, axis=1)
    strays = np.take_along_axis(rng.random(shape) < _STRAY, begin, axis=1)
    side = np.take_along_axis(sides, themes, axis=1) ^ strays
    ids = FILLERS + (themes * 2 + side) * WORDS + _ranks(rng, shape, WORDS, _WORD_FALL)
    filler = rng.random(shape) < _FILLER
    ids = np.where(filler, _ranks(rng, shape, FILLERS, _FILLER_FALL), ids)
    return ids, np.where(filler, -1, themes), sides


def _ranks(rng: np.random.Generator, shape: tuple[int, int], n: int, fall: float) -> np.ndarray:
    """Ranks below n, int64 [shape]; the probability of rank r is proportional to (r + 1)^-fall."""
    weights = np.arange(1, n + 1) ** -fall
    # Rounded, so that a platform's rounding in the power function can't change a draw.
    bounds = np.round(np.cumsum(weights / weights.sum()), 9)[:-1]
    return np.searchsorted(bounds, rng.random(shape), side="right")
