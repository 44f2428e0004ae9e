"""Extractors of answers: what they take from texts, and which patterns are refused."""

from __future__ import annotations

import pytest

from w2s_ray.config import Task
from w2s_ray.errors import InputError
from w2s_ray.methods.extractors import ChoiceLetter, Exact, Extractor, LastNumber, Regex
from w2s_ray.methods.extractors.extractor import plain_number
from w2s_ray.methods.extractors.regex import MOST_CHARACTERS

NUMBERS = {
    "It costs $1,050.50 in all.": "1050.5",
    "18.0": "18",
    "#### 018": "18",
    "3.": "3",
    "5-3": "3",
    "x = -7": "-7",
    "\N{MINUS SIGN}5 degrees": "-5",
    "-0.0": "0",
    "12,3456": "3456",
    "1,2,3": "3",
    "No.5": "5",
    "a share of .50": "0.5",
    "v1.2.3": "3",
    "none": None,
    "": None,
    "\u0663": None,
}
LETTERS = {
    "The answer is (B).": "B",
    "Answer: C, not D": "C",
    "ANSWER D": "D",
    "answer: A. The answer is B": "B",
    "B": "B",
    "(C) because A is wrong": "C",
    "A dog and B": "B",
    "**E**": "E",
    "b": None,
    "F": None,
    "BAD": None,
    "Don't": None,
    "": None,
}
PATTERNS = {
    (r"#### ([0-9,.-]+)", "#### 4\n#### 1,000."): "1000",
    (r"\\boxed\{([^}]*)\}", r"so \boxed{ x + 1 }"): "x + 1",
    (r"(yes|no)", "no, yes"): "yes",
    (r"(?:is (\w+))?!", "!"): None,
    (r"= (\w+)", "nothing"): None,
    (r"([0-9]{1,3}(?:,[0-9]{3})*)", "1,234,567"): "1234567",
}


@pytest.mark.parametrize(("text", "answer"), NUMBERS.items())
def test_the_last_number(text, answer):
    assert LastNumber().compared(text) == answer


@pytest.mark.parametrize(("text", "letter"), LETTERS.items())
def test_the_letter_of_a_choice(text, letter):
    assert ChoiceLetter().compared(text) == letter


@pytest.mark.parametrize(("given", "answer"), PATTERNS.items())
def test_the_group_of_a_pattern_at_its_last_match(given, answer):
    pattern, text = given
    assert Regex(pattern=pattern).compared(text) == answer


def test_other_letters_can_be_choices():
    assert ChoiceLetter(letters="AXYZ").compared("the answer is Z, not B") == "Z"


def test_by_default_the_whole_text_is_compared_as_a_text():
    assert Exact().compared(" 18.0\n") == "18.0"


@pytest.mark.parametrize(
    ("one", "other"), [("1,000", "1000.00"), ("+5", "5"), ("-0", "0"), (".5", "0.50"), ("007", "7")]
)
def test_numbers_are_compared_as_numbers(one, other):
    assert plain_number(one) == plain_number(other)


@pytest.mark.parametrize("text", ["1,00", "1.2.3", "-", ".", "1e5", "5 %", "x1", ""])
def test_other_texts_are_compared_as_they_are(text):
    assert plain_number(text) == text
    assert plain_number(f"1{'0' * 40}1") != plain_number(f"1{'0' * 40}2")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"is no regular expression: .*; correct it"),
        ("(a{99999999999})", "is no regular expression"),
        ("a", "has 0 groups, .* write one"),
        ("(a)(b)", "has 2 groups"),
        ("(a+)+", "repeats a repeat or alternatives"),
        (r"((?:a|bb)*)c", "repeats a repeat or alternatives"),
        (r"(x(?=(?:y?)*z))", "repeats a repeat or alternatives"),
        (r"((?:a?){30}a{30})", "repeats a repeat or alternatives"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused(pattern, message):
    with pytest.raises(InputError, match=message):
        Regex(pattern=pattern)


def test_only_the_end_of_a_long_text_is_searched():
    """Two unbounded repeats are allowed: their search takes the square of the length."""
    before = "#### 7 " + "a" * MOST_CHARACTERS
    assert Regex(pattern=r"#### ([0-9]+)").compared(before) is None
    assert Regex(pattern=r"#### ([0-9]+)").compared(before + "#### 8") == "8"
    assert Regex(pattern=r"(\w+\w+)!").compared("a" * 1_000_000) is None


def test_a_task_takes_a_kind_by_its_name_and_its_declaration_is_unchanged_by_the_default():
    given = {"name": "t", "path": "x.csv", "columns": {"text": "a", "answer": "b"}}
    sizes = {"train": 4, "validation": 2, "test": 2}
    named = Task(**given, **sizes, extract="last_number")
    assert named == Task(**given, **sizes, extract={"kind": "last_number"})
    assert named.model_dump()["extract"] == {"kind": "last_number"}
    assert "extract" not in Task(**given, **sizes).model_dump()
    assert "extract" not in Task(**given, **sizes, extract="exact").model_dump()
    with pytest.raises(InputError, match="last_nubmer"):
        Task(**given, **sizes, extract="last_nubmer")


def test_what_is_no_text_is_refused():
    class Length(Extractor):
        kind: str = "length"

        def extract(self, text):
            return len(text)

    with pytest.raises(InputError, match="extractor length returned 3; return a text, or None"):
        Length().compared("abc")
