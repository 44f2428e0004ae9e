"""How many tokens a task's answers have for a model, from the tokenizer's file alone.

Owns the counting with the tokenizers library and its note. Models whose tokenizer is not a file on
this machine are not counted. It knows nothing of training.
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
from w2s_ray.errors import InputError

_AT_ONCE = 4096
"""Answers that are tokenized together."""

AnswerLengths = Mapping[int, int]
"""Tokens of an answer with its end -> rows."""


def answer_lengths(
    fingerprint: str, source: ModelSource, *, split: Callable[[], Split]
) -> AnswerLengths | None:
    """The lengths of a split's answers as a model reads them; None where they can't be counted.

    `split` gives the rows, if no note has the lengths.
    """
    path = Path(source.location) / TOKENIZER
    if not path.is_file():
        return None
    key = [fingerprint, list(stamp(path.resolve()))]
    note = read_note("answer_lengths", key=key)
    if note is not None:
        return {int(tokens): rows for tokens, rows in note.items()}
    rows = [row for part in split().parts.values() for row in part]
    found = _counted([normal_answer(row.answer) for row in rows if row.answer is not None], path)
    write_note("answer_lengths", key=key, note={str(tokens): n for tokens, n in found.items()})
    return found


def _counted(answers: list[str], path: Path) -> AnswerLengths:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise InputError(f"{path} can't be read by the tokenizers library: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found: Counter[int] = Counter()
    for start in range(0, len(answers), _AT_ONCE):
        given = [f" {answer}" for answer in answers[start : start + _AT_ONCE]]
        made = tokenizer.encode_batch(given, add_special_tokens=False)
        found.update(len(each.ids) + 1 for each in made)
    return found
