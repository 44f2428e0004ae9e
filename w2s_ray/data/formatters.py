"""How a raw row of each named task becomes examples.

Owns the wording of texts and the choice of groups. Both classes of a task get texts of one form, so
that nothing but the content tells them apart. It knows nothing of files, hubs and splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from w2s_ray.data.example import Example
from w2s_ray.data.table import Row

_SEPARATOR = "[SEP]"


def sciq(row: Row, *, id: str) -> list[Example]:
    """Science questions; the wrong answer is one of the three distractors."""
    wrong = [row["distractor1"], row["distractor2"], row["distractor3"]]
    question = row["question"]
    return _choice(id, question=question, right=row["correct_answer"], wrong=wrong, group=question)


def openbookqa(row: Row, *, id: str) -> list[Example]:
    """Elementary science; from the hub's columns or the original table's."""
    if "Question Stem" in row:
        question, key = row["Question Stem"], row["Answer Key"]
        choices = lettered(row["Choices"])
    else:
        question, key = row["question_stem"], row["answerKey"]
        choices = list(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
    right = [text for letter, text in choices if letter == key]
    if len(right) != 1:
        return []  # a key that two choices carry, or none
    wrong = [text for letter, text in choices if letter != key]
    return _choice(id, question=question, right=right[0], wrong=wrong, group=question)


def cosmos_qa(row: Row, *, id: str) -> list[Example]:
    """Narrative reading; all questions on one context are a group."""
    right = int(row["label"])
    if right < 0:
        return []  # unlabelled
    answers = [row[f"answer{i}"] for i in range(4)]
    question = f"{row['context']}\n\n{row['question']}"
    wrong = [answer for i, answer in enumerate(answers) if i != right]
    return _choice(id, question=question, right=answers[right], wrong=wrong, group=row["context"])


def boolq(row: Row, *, id: str) -> list[Example]:
    """Yes/no questions on a passage; all questions on one passage are a group."""
    text = f"Passage: {row['passage']}\nQuestion: {row['question']}"
    return [Example(id, text, _truth(row["answer"]), row["passage"])]


def amazon_polarity(row: Row, *, id: str) -> list[Example]:
    """Product reviews; the original files say 1 and 2 for negative and positive."""
    label = int(row["polarity"]) - 1 if "polarity" in row else int(row["label"])
    text = f"{row['title']}\n{row['content']}"
    return [Example(id, text, label, text)]


def anthropic_hh(row: Row, *, id: str) -> list[Example]:
    """Dialogs: the chosen one is 1, the rejected one 0.

    Dialogs with the same opening turn are a group, so that a pair, and a dialog that recurs with
    more turns, stay together.
    """
    _, _, rest = row["chosen"].partition("\n\nHuman:")
    opening = rest.partition("\n\nAssistant:")[0].strip() or row["chosen"]
    return [
        Example(f"{id}:chosen", row["chosen"].strip(), 1, opening),
        Example(f"{id}:rejected", row["rejected"].strip(), 0, opening),
    ]


def ethics_justice(row: Row, *, id: str) -> list[Example]:
    """Scenario, 1 where it is reasonable. Groups come from `grouped_runs`."""
    text = row["scenario"].strip()
    return [Example(id, text, int(row["label"]), text)]


def ethics_deontology(row: Row, *, id: str) -> list[Example]:
    """Scenario and excuse, 1 where the excuse is reasonable; grouped by scenario."""
    scenario = row["scenario"].strip()
    return [Example(id, f"{scenario} {row['excuse'].strip()}", int(row["label"]), scenario)]


def ethics_virtue(row: Row, *, id: str) -> list[Example]:
    """Scenario and character trait, 1 where the trait is shown; grouped by scenario."""
    scenario, separator, trait = row["scenario"].rpartition(_SEPARATOR)
    if not separator:
        raise ValueError(
            f"{id}: the scenario {row['scenario']!r} has no {_SEPARATOR}; "
            "ETHICS-Virtue rows are 'scenario [SEP] trait'"
        )
    scenario = scenario.strip()
    return [Example(id, f"{scenario} {_SEPARATOR} {trait.strip()}", int(row["label"]), scenario)]


def creak(row: Row, *, id: str) -> list[Example]:
    """Claims, 1 where true; grouped by entity.

    Claims on one entity share the knowledge that decides them; the authors' train and dev sets are
    disjoint in entities too.
    """
    return [Example(id, row["sentence"].strip(), _truth(row["label"]), row["entity"])]


def sentence_polarity(row: Row, *, id: str) -> list[Example]:
    """Film review sentences, 1 where positive."""
    text = row["text"].strip()
    return [Example(id, text, int(row["label"]), text)] if text else []


def lettered(choices: str) -> list[tuple[str, str]]:
    """`(A) one (B) two` as letter and text, in order.

    A parenthesis starts a choice only where it holds the next letter, or the last one again (one
    published question has two choices D).
    """
    found: list[tuple[str, int]] = []
    last, start = "", choices.find("(")
    while start >= 0:
        letter, following = choices[start + 1 : start + 2], chr(ord(last) + 1) if last else "A"
        if choices[start + 2 : start + 3] == ")" and letter in (following, last):
            found.append((letter, start))
            last = letter
        start = choices.find("(", start + 1)
    ends = [begin for _, begin in found[1:]] + [len(choices)]
    return [
        (letter, choices[begin + 3 : end].strip())
        for (letter, begin), end in zip(found, ends, strict=True)
    ]


def grouped_runs(examples: Iterable[Example]) -> list[Example]:
    """Neighbours in the source that are variants of one sentence, as one group.

    ETHICS-Justice lists the variants of a scenario one after another without naming it. A row joins
    the row before it where their common beginning and end make up half the shorter one's words.
    """
    result: list[Example] = []
    for example in examples:
        joins = result and _variants(result[-1].text.split(), example.text.split())
        result.append(example._replace(group=result[-1].group) if joins else example)
    return result


def _variants(first: Sequence[str], second: Sequence[str]) -> bool:
    shorter = min(len(first), len(second))
    same = 0
    for words in (
        zip(first, second, strict=False),
        zip(reversed(first), reversed(second), strict=False),
    ):
        for a, b in words:
            if a != b or same >= shorter:
                break
            same += 1
    return 2 * same >= shorter > 0


def _choice(
    id: str, *, question: str, right: str, wrong: Sequence[str], group: str
) -> list[Example]:
    """One row with the right answer and one with a wrong one, in the same form.

    Which wrong one depends on the question alone. A question without a wrong answer that differs
    from the right one gives no rows.
    """
    others = [w for w in wrong if w.strip() and w.strip().casefold() != right.strip().casefold()]
    if not others:
        return []
    key = hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    chosen = others[int.from_bytes(key, "big") % len(others)]
    return [
        Example(f"{id}:right", _answered(question, right), 1, group),
        Example(f"{id}:wrong", _answered(question, chosen), 0, group),
    ]


def _answered(question: str, answer: str) -> str:
    return f"Q: {question.strip()}\nA: {answer.strip()}"


def _truth(value: Any) -> int:
    match value:
        case bool():
            return int(value)
        case int() if value in (0, 1):
            return value
        case str() if value.strip().lower() in ("true", "false"):
            return int(value.strip().lower() == "true")
        case _:
            raise ValueError(f"the label {value!r} is neither true nor false")
