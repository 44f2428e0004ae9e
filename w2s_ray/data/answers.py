"""Lengths of a task's answers in tokens, counted with the model's tokenizer.json.

Owns the counting with the tokenizers library, and its cache. It loads no models, and counts nothing
for models whose tokenizer file is not on this machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from w2s_ray.config import ModelSource
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.example import normal_answer
from w2s_ray.data.files import stamp
from w2s_ray.data.folders import TOKENIZER
from w2s_ray.data.split import Split
from w2s_ray.data.tokenizer_files import open_tokenizer

_AT_ONCE = 4096
"""Answers per call of the tokenizer."""

AnswerLengths = Mapping[int, int]
"""Tokens of an answer, including the end token -> number of rows."""


def answer_lengths(
    fingerprint: str, source: ModelSource, *, split: Callable[[], Split]
) -> AnswerLengths | None:
    """The lengths of a split's answers for a model; None if they can't be counted.

    `split` returns the rows; it is called if the lengths are not in the cache.
    """
    path = Path(source.location) / TOKENIZER
    if not path.is_file():
        return None
    key = [fingerprint, list(stamp(path.resolve()))]
    note = read_note("answer_lengths", key=key)
    if note is not None:
        return {int(tokens): rows for tokens, rows in note.items()}
    rows = [row for part in split().parts.values() for row in part]
    lengths = _counted([normal_answer(row.answer) for row in rows if row.answer is not None], path)
    write_note("answer_lengths", key=key, note={str(tokens): n for tokens, n in lengths.items()})
    return lengths


def _counted(answers: list[str], path: Path) -> AnswerLengths:
    tokenizer = open_tokenizer(path)
    lengths: Counter[int] = Counter()
    for start in range(0, len(answers), _AT_ONCE):
        texts = [f" {answer}" for answer in answers[start : start + _AT_ONCE]]
        encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
        lengths.update(len(encoding.ids) + 1 for encoding in encodings)
    return lengths
