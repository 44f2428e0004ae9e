from __future__ import annotations

import pytest

from w2s_ray.data import TASKS
from w2s_ray.data import formatters as f
from w2s_ray.data.example import Example, Rows
from w2s_ray.data.row_formats import (
    group_answers,
    group_variants,
    merge_linked_groups,
    parse_choices,
)

SCIQ = {
    "question": "What gas do plants take in?",
    "correct_answer": "carbon dioxide",
    "distractor1": "oxygen",
    "distractor2": "helium",
    "distractor3": "argon",
    "support": "",
}
OPENBOOK = {
    "question_stem": "The sun",
    "answerKey": "C",
    "choices": {
        "label": ["A", "B", "C", "D"],
        "text": ["is cold", "is a (small) dog", "shines (a lot)", "is a lamp"],
    },
}
LETTERED = "(A) is cold (B) is a (small) dog (C) shines (a lot) (D) is a lamp"
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
        (f.openbookqa, OPENBOOK, "shines (a lot)", OTHERS),
        (f.openbookqa, {**OPENBOOK, "choices": LETTERED}, "shines (a lot)", OTHERS),
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


def test_choices_may_repeat_a_letter_and_contain_parentheses():
    text = "(A) one (B) (A) nested (C) so (c) on (D) four (D) five"
    assert parse_choices(text) == [
        ("A", "one"),
        ("B", "(A) nested"),
        ("C", "so (c) on"),
        ("D", "four"),
        ("D", "five"),
    ]
    row = {**OPENBOOK, "choices": text, "answerKey": "D"}
    assert f.openbookqa(row, id="x") == []
    assert f.openbookqa({**row, "answerKey": "A"}, id="x")[0].text == "Q: The sun\nA: one"


def test_unlabelled_cosmos_rows_are_left_out():
    assert f.cosmos_qa({**COSMOS, "label": -1}, id="x") == []


def test_boolq():
    row = {"question": "is it", "passage": "It is.", "answer": True}
    assert f.boolq(row, id="x") == [Example("x", "Passage: It is.\nQuestion: is it", 1, "It is.")]
    with pytest.raises(ValueError, match="x: column 'answer' has 'maybe', not one of 0, 1, false"):
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
    made = group_variants(
        e
        for i, t in enumerate(texts)
        for e in f.ethics_justice({"label": "1", "scenario": t}, id=str(i))
    )
    assert [row.group for row in made] == [texts[0], texts[0], texts[2], texts[2], texts[4]]


def test_creak_and_sentence_polarity():
    row = {"sentence": "Fax works offline.", "label": "false", "entity": "Fax"}
    assert f.creak(row, id="x") == [Example("x", "Fax works offline.", 0, "Fax")]
    assert f.sentiment({"text": "fine .\n", "label": 1}, id="x") == [
        Example("x", "fine .", 1, "fine .")
    ]
    assert f.sentiment({"text": " \n", "label": 1}, id="x") == []


def choice(context, question, answers):
    return [(f"Q: {context}{question}\nA: {a}", label) for a, label in answers]


@pytest.mark.parametrize(
    ("task", "row", "made"),
    [
        (
            "dream",
            {
                "dialogue": ["M: Hi.", "W: Bye."],
                "question": "Who left?",
                "choice": ["he", "she"],
                "answer": "she",
            },
            choice("M: Hi.\nW: Bye.\n\n", "Who left?", [("she", 1), ("he", 0)]),
        ),
        (
            "hellaswag",
            {
                "ctx": "A man sits. he",
                "endings": ["stands.", "flies."],
                "label": "0",
                "source_id": "activitynet~v_1",
            },
            [("A man sits. he stands.", 1), ("A man sits. he flies.", 0)],
        ),
        (
            "piqa",
            {"goal": "Cut bread", "sol1": "a spoon", "sol2": "a knife", "label": 1},
            choice("", "Cut bread", [("a knife", 1), ("a spoon", 0)]),
        ),
        (
            "quail",
            {
                "context": "Jo ran.",
                "question": "Who ran?",
                "answers": ["Jo", "Al"],
                "correct_answer_id": 0,
            },
            choice("Jo ran.\n\n", "Who ran?", [("Jo", 1), ("Al", 0)]),
        ),
        (
            "quartz",
            {
                "para": "Fire is hot.",
                "question": "Ice is",
                "choices": {"text": ["hot", "cold"], "label": ["A", "B"]},
                "answerKey": "B",
            },
            choice("Fire is hot.\n\n", "Ice is", [("cold", 1), ("hot", 0)]),
        ),
        (
            "mc_taco",
            {
                "sentence": "He slept.",
                "question": "How long?",
                "answers": [("8 hours", 1), ("8 years", 0)],
            },
            choice("He slept.\n\n", "How long?", [("8 hours", 1), ("8 years", 0)]),
        ),
        (
            "multirc",
            {"paragraph": "Jo ran.", "question": "Who?", "answers": [("Al", 0), ("Jo", 1)]},
            choice("Jo ran.\n\n", "Who?", [("Jo", 1), ("Al", 0)]),
        ),
        (
            "ethics_utilitarianism",
            {"baseline": "I ate. ", "less_pleasant": "I fell."},
            [("First: I ate.\nSecond: I fell.", 1), ("First: I fell.\nSecond: I ate.", 0)],
        ),
        (
            "paws",
            {"id": 1, "sentence1": "A to B .", "sentence2": "B to A .", "label": 0},
            [("Sentence 1: A to B .\nSentence 2: B to A .", 0)],
        ),
        (
            "wic",
            {"word": "bank", "sentence1": "A bank.", "sentence2": "Bank it.", "label": 0},
            [("Word: bank\nSentence 1: A bank.\nSentence 2: Bank it.", 0)],
        ),
        ("cola", {"sentence": "They drank.", "label": 1, "idx": 0}, [("They drank.", 1)]),
        ("sst2", {"sentence": "a dull film ", "label": 0, "idx": 0}, [("a dull film", 0)]),
    ],
)
def test_wording(task, row, made):
    assert [(e.text, e.label) for e in TASKS[task].format(row, id="x")] == made


@pytest.mark.parametrize(("number", "right"), [("1", "glad"), ("2", "sad"), ("3", "mad")])
def test_social_i_qa_numbers_its_answers_from_one(number, right):
    row = {"context": "Jo won.", "question": "How?", "label": number}
    row |= {"answerA": "glad", "answerB": "sad", "answerC": "mad"}
    good, bad = f.social_i_qa(row, id="x")
    assert (good.label, good.text) == (1, f"Q: Jo won.\n\nHow?\nA: {right}")
    assert not bad.text.endswith(right)


@pytest.mark.parametrize(
    ("label", "expected"), [(0, 1), (1, 0), (2, 0), ("e", 1), ("n", 0), ("c", 0)]
)
def test_anli_counts_neutral_as_contradiction(label, expected):
    (made,) = f.anli_r2({"premise": "P", "hypothesis": "H", "label": label}, id="x")
    assert made == Example("x", "Premise: P\nHypothesis: H", expected, "P")


def test_twitter_classes():
    """The hub's 1 is positive; of the original file's 0, 2 and 4, neutral 2 is left out."""
    assert [f.twitter_sentiment({"text": "t", "label": c}, id="x")[0].label for c in (0, 1)] == [
        0,
        1,
    ]
    files = {c: f.twitter_sentiment({"text": "t", "polarity": c}, id="x") for c in "024"}
    assert [row.label for row in files["0"] + files["4"]] == [0, 1]
    assert files["2"] == []
    with pytest.raises(ValueError, match="x: column 'label' has 2, not one of 0, 1"):
        f.twitter_sentiment({"text": "t", "label": 2}, id="x")
    with pytest.raises(ValueError, match="x: column 'polarity' has '1', not one of 0, 2, 4"):
        f.twitter_sentiment({"text": "t", "polarity": "1"}, id="x")


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("hellaswag", {"ctx": "A", "endings": ["a", "b"], "label": "", "source_id": "s"}),
        ("piqa", {"goal": "A", "sol1": "a", "sol2": "b", "label": -1}),
        ("cola", {"sentence": "A", "label": -1}),
        ("paws", {"sentence1": "A", "sentence2": "B", "label": -1}),
        ("multirc", {"paragraph": "A", "question": "Q", "answers": [("a", -1), ("b", -1)]}),
        ("dream", {"dialogue": [], "question": "Q", "choice": ["a", "b"], "answer": "c"}),
        ("ethics_utilitarianism", {"baseline": "A", "less_pleasant": "A "}),
    ],
)
def test_rows_without_a_label_are_left_out(task, row):
    assert TASKS[task].format(row, id="x") == []


@pytest.mark.parametrize(
    ("right", "wrong", "each"), [("ab", "c", 1), ("a", "bcd", 1), ("ab", "cde", 2), ("", "ab", 0)]
)
def test_a_question_gives_as_many_right_answers_as_wrong_ones(right, wrong, each):
    answers = [(text, 1) for text in right] + [(text, "no") for text in wrong]
    row = {"paragraph": "P", "question": "Q", "answers": answers}
    made = f.multirc(row, id="x")
    by_label = {label: {e.text[-1] for e in made if e.label == label} for label in (0, 1)}
    assert (len(by_label[0]), len(by_label[1])) == (each, each)
    assert by_label[1] <= set(right)
    assert by_label[0] <= set(wrong)
    assert len({e.id for e in made}) == len(made) == 2 * each


def test_an_answer_listed_as_right_and_wrong_gives_no_wrong_row():
    row = {"paragraph": "P", "question": "Q", "answers": [("Jo", 1), ("jo ", 0), ("Al", 0)]}
    assert [e.text[-2:] for e in f.multirc(row, id="x")] == ["Jo", "Al"]


def test_rows_of_one_question_are_grouped_in_any_order():
    rows = [
        {"p": p, "q": q, "answer": a, "label": n, "idx": 0}
        for p, q, a, n in [("P", "Q", "a", 0), ("P", "R", "b", 1), ("P", "Q", "c", 1)]
    ]
    assert list(group_answers(rows, by=("p", "q"))) == [
        {"p": "P", "q": "Q", "answers": [("a", 0), ("c", 1)]},
        {"p": "P", "q": "R", "answers": [("b", 1)]},
    ]


def test_pairs_with_a_sentence_in_common_are_one_group_across_pool_and_test():
    def pair(first, second):
        row = {"sentence1": first, "sentence2": second, "label": 0}
        return f.paws(row, id=f"{first}{second}")[0]

    pool = (pair("d", "c"), pair("a", "b"), pair("x", "y"), pair("c", "b"))
    rows = merge_linked_groups(Rows(pool, (pair("e", "d"),)))
    groups = [e.group for e in (*rows.pool, *rows.test)]
    assert groups == ["a", "a", "x", "a", "a"]
    backwards = merge_linked_groups(Rows(pool[::-1], (pair("e", "d"),)))
    assert [e.group for e in backwards.pool] == ["a", "x", "a", "a"]
