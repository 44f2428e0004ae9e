"""An overview's counts as sentences, for the terminal and for the page.

Owns the words for rows that were dropped, repeated or are shared with test, and the remarks on what
the baselines show. It computes no counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from w2s_ray.config import FORMS, Part
from w2s_ray.data.overview.baselines import CHANCE, LENGTH, MAJORITY, WORDS
from w2s_ray.data.overview.values import TaskOverview

PART_NAMES: dict[Part, str] = {
    "supervisor_half": "supervisor half",
    "student_half": "student half",
    "validation": "validation",
    "test": "test",
}
_REASONS = {
    "too_long": "longer than max_words",
    "too_easy_or_hard": "outside difficulty",
    "same_text_twice": "a pair of two equal texts",
    "contradictory": "the same text with another label",
    "duplicate": "duplicate",
    "near_duplicate": "duplicate in normal form",
    "shared_with_test": "in a group, or with a text, of the test rows' own split or file",
    "shared_with_validation": "in a group, or with a text, of the validation file",
    "near_copy": "near copy of a row of an earlier part",
    "in_several_sentences": "a phrase of several sentences",
}
_TRIVIAL = 0.95
"""Accuracy of words or length from which a task is called nearly solved by them."""
_TRUNCATED = 0.05
"""Share of truncated texts, or of unknown tokens, from which a remark says so."""
_95_PERCENT = 1.96


def sentences(found: TaskOverview) -> list[str]:
    """What became of the rows, and what test shares with training."""
    return [*_drawn(found), *_shared(found)]


def remarks(found: TaskOverview) -> list[str]:
    """What a reader should notice."""
    return [*_truncated(found), *_unknown(found), *_learnable(found)]


def measured(found: TaskOverview) -> str:
    """How the baselines were learned and measured, or why there are none."""
    if not found.baselines:
        return "no baselines: there are no training rows, or no rows to measure on"
    on = f"measured on {found.measured_rows:,} {PART_NAMES[found.measured_on]} rows"
    sealed = " (the test is sealed)" if found.sealed else ""
    learned = f"learned from ground truth of {found.trained_on:,} training rows, {on}{sealed}"
    if not FORMS[found.form].has_two_classes:
        return learned
    error = 100 * _error(0.5, found.measured_rows)
    return f"{learned}; there an accuracy of 50 % has an error of ±{error:.1f} points (95 %)"


def _drawn(found: TaskOverview) -> Iterator[str]:
    if found.own_test is not None:
        own = (
            "a test split or test file of their own"
            if found.own_test
            else "the same pool as other rows"
        )
        yield f"test rows are from {own}"
    if found.dropped is None:
        yield "rows dropped are not known: an earlier version stored the split"
    else:
        reasons = [f"{n:,} {_reason(why)}" for why, n in found.dropped.items() if n]
        yield f"dropped: {', '.join(reasons)}" if reasons else "dropped: none"
    if found.unused:
        yield f"in no part: {_rows(found.unused)}, left over by sizes, balance and whole groups"


def _reason(name: str) -> str:
    return _REASONS.get(name, name.replace("_", " "))


def _shared(found: TaskOverview) -> Iterator[str]:
    form, shared = FORMS[found.form], found.shared
    if not form.has_texts:
        yield (
            f"shared with test: {_rows(shared.exact)} with the same image or id as a training row"
        )
        return
    counts = [
        f"{shared.exact:,} exactly",
        f"{shared.normal_form:,} in normal form (without case, white space and Unicode form)",
        "near copies are not known"
        if shared.near_copies is None
        else f"{shared.near_copies:,} as near copies (70 % of neighbouring word pairs)",
    ]
    groups = f"; {shared.groups:,} groups are in both" if shared.groups else "; no group is in both"
    yield f"test rows that training rows repeat: {', '.join(counts)}{groups}"
    if found.repeated:
        yield f"training rows that repeat an earlier one in normal form: {found.repeated:,}"


def _truncated(found: TaskOverview) -> Iterator[str]:
    for lengths in found.lengths:
        if lengths.truncated < _TRUNCATED:
            continue
        names = ", ".join(lengths.models)
        if lengths.what == "answers":
            yield (
                f"{_percent(lengths.truncated)} of the answers are longer than answer_tokens "
                f"({lengths.limit}) for {names}, which training refuses"
            )
        else:
            yield (
                f"{names}: {_percent(lengths.truncated)} of the {lengths.what} are longer than "
                f"{lengths.limit} tokens, and only their ends are read"
            )


def _unknown(found: TaskOverview) -> Iterator[str]:
    """Words that a tokenizer doesn't have, and so can't tell apart."""
    alike: dict[tuple[str, float], list[str]] = {}
    for lengths in found.lengths:
        if lengths.unknown >= _TRUNCATED:
            alike.setdefault((lengths.what, lengths.unknown), []).extend(lengths.models)
    for (what, unknown), models in alike.items():
        yield (
            f"{', '.join(models)}: {_percent(unknown)} of the tokens of {what} are unknown to the "
            "tokenizer, which makes them all alike"
        )


def _learnable(found: TaskOverview) -> Iterator[str]:
    """Whether words or lengths alone solve the task, or find nothing."""
    of = {each.name: each.accuracy for each in found.baselines}
    majority, length, words = of.get(MAJORITY, of.get(CHANCE)), of.get(LENGTH), of.get(WORDS)
    if majority is None:
        return
    error = _error(0.5, found.measured_rows)
    if length is not None and length > majority + max(0.05, 2 * error):
        right = _percent(length)
        yield f"length alone is right in {right}: models can learn it in place of the task"
    best = max((value for value in (length, words) if value is not None), default=None)
    if best is not None and best >= _TRIVIAL:
        yield f"a simple rule is right in {_percent(best)}: supervisors have little to get wrong"
    elif words is not None and words <= majority + error:
        yield (
            "single words show nothing of the labels: the task needs more than words, or its "
            "labels are noise"
        )


def _error(accuracy: float, rows: int) -> float:
    """Half the width of a 95 % interval of an accuracy on `rows` rows."""
    return _95_PERCENT * math.sqrt(accuracy * (1 - accuracy) / max(1, rows))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"
