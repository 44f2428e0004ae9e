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
    sentence = _sentences({_words(row) for row in rows.every})

    def grouped(examples: Iterable[Example]) -> Iterator[Example]:
        for row in examples:
            group = sentence[_words(row)]
            if group is not None:
                yield row._replace(group=group)

    made = rows.changed(grouped)
    dropped = len(rows.every) - len(made.every)
    return replace(made, dropped={**rows.dropped, IN_SEVERAL: dropped})


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
