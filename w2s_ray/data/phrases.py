"""Groups for tasks whose rows are phrases of common sentences, such as SST-2.

Owns the rule: a phrase is in the group of the sentence that contains it, and a phrase of several
sentences is dropped. It uses the texts alone: such sources name no sentence and are shuffled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from w2s_ray.data.example import Example, Rows

IN_SEVERAL = "in_several_sentences"
"""The reason in `Rows.dropped`."""


def group_phrases(rows: Rows) -> Rows:
    """`rows` in groups by sentence, so that no text of a group contains a text of another group.

    A sentence is a text that no other text contains, word by word. Phrases of several sentences,
    mostly of one or two words, would join nearly all sentences into one group; they are dropped.
    """
    every = (*rows.pool, *(rows.test or ()))
    sentence = _sentences({_words(row) for row in every})

    def grouped(examples: Iterable[Example]) -> tuple[Example, ...]:
        found = ((row, sentence[_words(row)]) for row in examples)
        return tuple(row._replace(group=group) for row, group in found if group is not None)

    pool, test = grouped(rows.pool), None if rows.test is None else grouped(rows.test)
    dropped = len(every) - len(pool) - len(test or ())
    return replace(rows, pool=pool, test=test, dropped={**rows.dropped, IN_SEVERAL: dropped})


def _sentences(texts: set[str]) -> dict[str, str | None]:
    """Text -> the only sentence that contains it, itself if no text does; None = several do."""
    sentence: dict[str, str | None] = {}
    for text in sorted(texts, key=lambda text: (-text.count(" "), text)):
        # Texts that contain this one are longer, so they were seen before.
        if text in sentence:
            continue
        for phrase in _phrases(text):
            if phrase in texts:
                sentence[phrase] = text if sentence.get(phrase, text) == text else None
    return sentence


def _phrases(text: str) -> Iterator[str]:
    """Every run of words of `text`, itself included."""
    words = text.split()
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield " ".join(words[start:end])


def _words(row: Example) -> str:
    return " ".join(row.text.split())
