from __future__ import annotations

import re

import pytest

from w2s_ray.data import formatters as f
from w2s_ray.data.example import Example

SCIQ = {
    "question": "What gas do plants take in?",
    "correct_answer": "carbon dioxide",
    "distractor1": "oxygen",
    "distractor2": "helium",
    "distractor3": "argon",
    "support": "",
}
OPENBOOK_TSV = {
    "ID": "7-1",
    "Question Stem": "The sun",
    "Answer Key": "C",
    "Choices": "(A) is cold (B) is a (small) dog (C) shines (a lot) (D) is a lamp",
    "Complete Question": "-",
}
OPENBOOK_HUB = {
    "question_stem": "The sun",
    "answerKey": "C",
    "choices": {
        "label": ["A", "B", "C", "D"],
        "text": ["is cold", "is a (small) dog", "shines (a lot)", "is a lamp"],
    },
}
OTHERS = {"is cold", "is a (small) dog", "is a lamp"}
COSMOS = {
    "context": "It rained .",
    "question": "Why ?",
    "label": "2",
    "answer0": "clouds",
    "answer1": "fish",
    "answer2": "weather",
    "answer3": "soup",
}
HH = {
    "chosen": "\n\nHuman: Hi there\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: See you.",
    "rejected": "\n\nHuman: Hi there\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: Go.",
}


@pytest.mark.parametrize(
    ("format_row", "row", "right", "wrong"),
    [
        (f.sciq, SCIQ, "carbon dioxide", {"oxygen", "helium", "argon"}),
        (f.openbookqa, OPENBOOK_TSV, "shines (a lot)", OTHERS),
        (f.openbookqa, OPENBOOK_HUB, "shines (a lot)", OTHERS),
        (f.cosmos_qa, COSMOS, "weather", {"clouds", "fish", "soup"}),
    ],
)
def test_multiple_choice_gives_a_right_and_a_wrong_row_in_one_group(format_row, row, right, wrong):
    good, bad = format_row(row, id="train:3")
    assert (good.id, good.label) == ("train:3:right", 1)
    assert (bad.id, bad.label) == ("train:3:wrong", 0)
    assert good.group == bad.group
    assert good.text.endswith(f"\nA: {right}")
    assert bad.text.rpartition("\nA: ")[2] in wrong
    assert good.text.rpartition("\nA: ")[0] == bad.text.rpartition("\nA: ")[0]
    assert format_row(row, id="train:3") == [good, bad]


def test_the_form_of_a_text_does_not_tell_its_label():
    """One public formatter writes the answer's letter for positives and its text for negatives."""
    for letter in "ABCD":
        rows = f.openbookqa({**OPENBOOK_TSV, "Answer Key": letter}, id="x")
        for row in rows:
            answer = row.text.rpartition("\nA: ")[2]
            assert not re.match(r"^\(?[A-D]\)?\W*$", answer)
            assert "(A)" not in row.text
            assert answer in [text for _, text in f.lettered(OPENBOOK_TSV["Choices"])]


def test_sources_of_openbookqa_give_the_same_rows():
    assert f.openbookqa(OPENBOOK_TSV, id="x") == f.openbookqa(OPENBOOK_HUB, id="x")


def test_the_wrong_answer_varies_over_questions():
    chosen = {
        f.sciq({**SCIQ, "question": f"Question {i}?"}, id="x")[1].text.rpartition("A: ")[2]
        for i in range(50)
    }
    assert chosen == {"oxygen", "helium", "argon"}


def test_a_wrong_answer_is_never_the_right_one():
    row = {**SCIQ, "distractor1": "Carbon dioxide ", "distractor2": "", "distractor3": "neon"}
    assert f.sciq(row, id="x")[1].text.endswith("A: neon")
    row["distractor3"] = "CARBON DIOXIDE"
    assert f.sciq(row, id="x") == []


def test_lettered_takes_a_repeated_letter_and_leaves_parentheses_alone():
    text = "(A) one (B) (A) nested (C) so (c) on (D) four (D) five"
    assert f.lettered(text) == [
        ("A", "one"),
        ("B", "(A) nested"),
        ("C", "so (c) on"),
        ("D", "four"),
        ("D", "five"),
    ]
    row = {**OPENBOOK_TSV, "Choices": text, "Answer Key": "D"}
    assert f.openbookqa(row, id="x") == []
    assert f.openbookqa({**row, "Answer Key": "A"}, id="x")[0].text == "Q: The sun\nA: one"


def test_unlabelled_cosmos_rows_are_left_out():
    assert f.cosmos_qa({**COSMOS, "label": -1}, id="x") == []


def test_boolq():
    row = {"question": "is it", "passage": "It is.", "answer": True}
    assert f.boolq(row, id="x") == [Example("x", "Passage: It is.\nQuestion: is it", 1, "It is.")]
    with pytest.raises(ValueError, match="'maybe' is neither true nor false"):
        f.boolq({**row, "answer": "maybe"}, id="x")


def test_amazon_polarity_from_file_and_hub():
    file = {"polarity": "2", "title": "Good", "content": "Really."}
    hub = {"label": 1, "title": "Good", "content": "Really."}
    assert f.amazon_polarity(file, id="x") == f.amazon_polarity(hub, id="x")
    assert f.amazon_polarity({**file, "polarity": "1"}, id="x")[0].label == 0


def test_anthropic_hh_makes_a_pair_one_group():
    chosen, rejected = f.anthropic_hh(HH, id="x")
    assert (chosen.label, rejected.label) == (1, 0)
    assert chosen.group == rejected.group == "Hi there"
    assert chosen.text.endswith("See you.")
    assert rejected.text.endswith("Go.")


def test_ethics():
    row = {"label": "1", "scenario": "Do it?", "excuse": " No because I am ill."}
    assert f.ethics_deontology(row, id="x") == [
        Example("x", "Do it? No because I am ill.", 1, "Do it?")
    ]
    row = {"label": "0", "scenario": "Jill ran. [SEP] lazy"}
    assert f.ethics_virtue(row, id="x") == [Example("x", "Jill ran. [SEP] lazy", 0, "Jill ran.")]
    with pytest.raises(ValueError, match=r"x: the scenario 'Jill ran.' has no \[SEP\]"):
        f.ethics_virtue({"label": "0", "scenario": "Jill ran."}, id="x")


def test_neighbouring_variants_of_a_justice_scenario_are_one_group():
    texts = [
        "I deserve to be paid by my boss because I keep her house clean daily.",
        "I deserve to be given a car by my boss because I keep her house clean daily.",
        "I usually check in with Joe each day but today didn't because he is ill.",
        "I usually check in with Joe each day but today didn't because I like pie.",
        "I deserve a raise.",
    ]
    made = f.grouped_runs(
        e
        for i, t in enumerate(texts)
        for e in f.ethics_justice({"label": "1", "scenario": t}, id=str(i))
    )
    assert [row.group for row in made] == [texts[0], texts[0], texts[2], texts[2], texts[4]]


def test_creak_and_sentence_polarity():
    row = {"sentence": "Fax works offline.", "label": "false", "entity": "Fax"}
    assert f.creak(row, id="x") == [Example("x", "Fax works offline.", 0, "Fax")]
    assert f.sentence_polarity({"text": "fine .\n", "label": 1}, id="x") == [
        Example("x", "fine .", 1, "fine .")
    ]
    assert f.sentence_polarity({"text": " \n", "label": 1}, id="x") == []
