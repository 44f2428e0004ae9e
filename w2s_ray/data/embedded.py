"""Generated text: what the embedded ladder is pretrained on, and a binary task about it.

Owns an invented language and its rows. A text takes a side on each of several themes; it is a
run of phrases, each about one theme, in words that only that theme and side use. A model can learn
from the running text alone which words belong together; the task asks which side of the rarest
theme a text takes, as told by a few of its words. Knows nothing of models, tokenizers, files,
splits and weak labels.
"""

from __future__ import annotations

from itertools import product

import numpy as np

THEMES = 4
"""Themes of falling frequency; the task asks for the last, rarest one."""
WORDS = 256
"""Words for each theme and side, of falling frequency."""
FILLERS = 40
"""Words that tell nothing."""
LONGEST = 32
"""Words in a pretraining text, and at most in a row."""
SHORTEST = 20
"""Words in a row, at least."""

_THEME_FALL, _WORD_FALL, _FILLER_FALL = 0.5, 0.7, 1.0  # exponents of frequency by rank
_NEW_PHRASE = 0.35  # chance that a word begins a phrase: 2.9 words each
_FILLER = 0.1  # chance that a word is a filler
_STRAY = 0.05  # chance that a phrase takes the side that its text does not
_TOLD_BY = range(1, 4)  # words on the asked theme in a row of the task
_PRETRAINING, _TASK = 0, 1  # streams of random numbers that never meet, whatever their seeds


def vocabulary() -> list[str]:
    """Every word of the language, in the order of its ids: fillers, then theme by theme."""
    syllables = [a + b for a, b in product("bdfgklmnprstvz", "aeiou")]
    words = [a + b for a, b in product(syllables, syllables)]
    # A stride prime to the number of words scatters them: no syllable tells a theme or a side.
    return [words[(1 + i * 2741) % len(words)] for i in range(FILLERS + THEMES * 2 * WORDS)]


def pretraining_ids(*, texts: int, seed: int, part: int = 0) -> np.ndarray:
    """Word ids, int64 [texts, LONGEST]: id i is word i of `vocabulary()`; each part is new."""
    return _texts(np.random.default_rng([_PRETRAINING, seed, part]), texts)[0]


def task_rows(*, rows: int, seed: int) -> list[tuple[str, int]]:
    """Distinct rows (text, label), about as many of label 1 as of label 0.

    The label is the side that the text takes on the rarest theme. Phrases stray and words
    contradict each other, so that knowing every word is worth about 95 % accuracy, not 100.
    """
    rng = np.random.default_rng([_TASK, seed])
    words = np.array(vocabulary(), dtype=object)
    found: dict[str, int] = {}
    while len(found) < rows:
        ids, about, sides = _texts(rng, 1000 + 4 * (rows - len(found)))
        lengths = rng.integers(SHORTEST, LONGEST + 1, len(ids))
        inside = np.arange(LONGEST) < lengths[:, None]
        told = ((about == THEMES - 1) & inside).sum(axis=1)
        for i in np.flatnonzero(np.isin(told, list(_TOLD_BY))):
            found[" ".join(words[ids[i, : lengths[i]]])] = int(sides[i, -1])
    return list(found.items())[:rows]


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
    """Ranks below n, int64 [shape]; rank r is drawn with a chance proportional to (r + 1)^-fall."""
    chances = np.arange(1, n + 1) ** -fall
    # Rounded, so that the last digit of a platform's power function cannot change a draw.
    bounds = np.round(np.cumsum(chances / chances.sum()), 9)[:-1]
    return np.searchsorted(bounds, rng.random(shape), side="right")
