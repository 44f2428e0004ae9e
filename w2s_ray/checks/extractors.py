"""Checks of an extractor of answers: what it returns for texts of all kinds, and repetition.

Owns the texts that these checks use, empty and very long ones among them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from w2s_ray.checks.check import Outcome
from w2s_ray.checks.settings import same_after_copies
from w2s_ray.methods.extractors import Extractor

TEXTS = (
    *(
        "",
        " ",
        "\n\n",
        "42",
        "-3",
        "1,050.50",
        "1/2",
        "x = 7",
        "The answer is (B).",
        "B",
        "no answer",
    ),
    *("#### 18", r"\boxed{\frac{1}{2}}", "yes", "None", "\N{MINUS SIGN}5 \N{DEGREE SIGN}C", "\x00"),
    *("so 2 + 2 = 4. " * 100, "9" * 5000, "(" * 5000),
)


def extractor_checks(extractor: Extractor) -> dict[str, Callable[[], Outcome]]:
    """Name -> check, in the order in which they are printed."""
    return {
        "answers": partial(_answers, extractor),
        "deterministic": partial(_deterministic, extractor),
        "settings": partial(same_after_copies, extractor),
    }


def _answers(extractor: Extractor) -> Outcome:
    found = [extractor.compared(text) for text in TEXTS]
    return True, f"an answer in {sum(answer is not None for answer in found)} of {len(TEXTS)} texts"


def _deterministic(extractor: Extractor) -> Outcome:
    first, second = ([extractor.compared(text) for text in TEXTS] for _ in range(2))
    differ = sum(a != b for a, b in zip(first, second, strict=True))
    return not differ, f"{differ or 'no'} answers differ a second time"
