"""Questions and their choices as tokens.

Owns the text that a model reads before it scores a choice, and the rule that a question is
truncated from the left alike for all of its choices, as far as the longest of them needs. Splits,
labels and the choice of the right answer are handled elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_uppercase

import numpy as np

from w2s_ray.config import ModelSource, Training
from w2s_ray.errors import InputError
from w2s_ray.learn.rows import ChoiceRows, SpanRows
from w2s_ray.learn.tokens import TokenRows, token_limit, tokenize, tokenizer_of

LETTER_CUE = "Answer:"
"""Line before a letter, as in MMLU (Hendrycks et al. 2021)."""


def question_text(text: str, choices: Sequence[str], training: Training) -> str:
    """What precedes a scored choice: the question, the listed choices and the cue."""
    lines, cue = [text], training.choice_cue
    if training.choice_scoring == "letter":
        lines += [f"{a}. {b}" for a, b in zip(ascii_uppercase, choices, strict=False)]
        cue = LETTER_CUE if cue is None else cue
    return "\n".join([*lines, *([cue] if cue else [])])


def scored_texts(choices: Sequence[str], training: Training) -> Sequence[str]:
    """What is scored of each choice: its text or its letter."""
    if training.choice_scoring == "text":
        return choices
    if len(choices) > len(ascii_uppercase):
        raise InputError(
            f"training.choice_scoring is letter, but a row has {len(choices)} choices; set it to "
            "text"
        )
    return ascii_uppercase[: len(choices)]


def tokenize_scored(
    texts: Sequence[str], *, source: ModelSource, after_template: bool
) -> TokenRows:
    """Texts as they follow a question: after a space, and after a chat template without one.

    Raises:
        InputError: the tokenizer has no token for a text.
    """
    tokenizer = tokenizer_of(source)
    given = [text if after_template else f" {text}" for text in texts]
    found = tokenizer(given, add_special_tokens=False)["input_ids"] if given else []
    for text, ids in zip(texts, found, strict=True):
        if not ids:
            raise InputError(f"the tokenizer of {source.name} has no token for {text!r}; change it")
    return TokenRows.of(found)


def tokenize_questions(
    texts: Sequence[str],
    rooms: Iterable[int],
    *,
    source: ModelSource,
    max_tokens: int,
    special: bool,
) -> TokenRows:
    """Questions with as many tokens left free as `rooms` says of each, truncated from the left.

    Raises:
        InputError: a choice leaves no room for a question.
    """
    limit = token_limit(source, max_tokens)
    read = tokenize(texts, source=source, max_tokens=max_tokens, special=special)
    rows = [read.row(i) for i in range(len(read))]
    for i, room in enumerate(rooms):
        if room >= limit:
            raise InputError(
                f"training.max_tokens is {max_tokens}, but a choice has {room} tokens for "
                f"{source.name}, which reads {limit} at most; raise max_tokens, or shorten it"
            )
        if len(rows[i]) + room > limit:
            short = tokenize(
                [texts[i]], source=source, max_tokens=max_tokens, less=room, special=special
            )
            rows[i] = short.row(0)
    return TokenRows.of(rows)


def choice_rows(
    questions: TokenRows,
    scored: TokenRows,
    choices: Sequence[Sequence[str]],
    training: Training,
) -> ChoiceRows:
    """Rows of tokenized questions with the tokenized choices of all rows, one after the other."""
    counts = [len(row) for row in choices]
    of_row = np.repeat(np.arange(len(choices)), counts)
    spans = SpanRows.of((questions.row(int(i)), scored.row(s)) for s, i in enumerate(of_row))
    if training.choice_scoring == "letter" or training.choice_length == "none":
        units = np.ones(len(spans))
    elif training.choice_length == "tokens":
        units = scored.lengths
    else:
        units = np.asarray([len(choice) for row in choices for choice in row])
    return ChoiceRows(spans, tuple(map(tuple, choices)), units.astype(np.float32))
