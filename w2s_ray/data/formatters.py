"""Formatters of the named tasks: from a raw row to examples.

Owns the text templates and the groups of each task; most formatters are instances of the classes in
`row_formats`. Rows have the columns of the hub's dataset; `originals` converts other layouts. It
reads no files.
"""

from __future__ import annotations

from dataclasses import dataclass

from w2s_ray.data.cells import Cells, is_missing, plain_label, text_of
from w2s_ray.data.chat import (
    Messages,
    conversation,
    is_chat,
    messages_of,
    plain_text,
    to_json,
)
from w2s_ray.data.example import Example, Row
from w2s_ray.data.row_formats import (
    BINARY,
    CategorizedText,
    Choice,
    Comparison,
    LabelledText,
    Preference,
    answers_by_index,
    answers_by_letter,
    answers_by_number,
    answers_by_text,
    answers_in_columns,
    answers_with_labels,
    class_of,
    preference_pair,
)
from w2s_ray.errors import InputError

_SEPARATOR = "[SEP]"
_ON_CONTEXT = "{context}\n\n{question}"

# Multiple choice: an example's label is whether the answer is right.

cosmos_qa = Choice(
    _ON_CONTEXT,
    answers_by_number(("answer0", "answer1", "answer2", "answer3"), "label"),
    group="{context}",
)
dream = Choice("{dialogue}\n\n{question}", answers_by_text("choice", "answer"), group="{dialogue}")
hellaswag = Choice(
    # Segments of one video or article continue each other.
    "{ctx}",
    answers_by_index("endings", "label"),
    group="{source_id}",
    text="{question} {answer}",
)
mc_taco = Choice("{sentence}\n\n{question}", answers_with_labels("answers"), group="{sentence}")
multirc = Choice("{paragraph}\n\n{question}", answers_with_labels("answers"), group="{paragraph}")
openbookqa = Choice(
    "{question_stem}", answers_by_letter("choices", "answerKey"), group="{question_stem}"
)
piqa = Choice("{goal}", answers_by_number(("sol1", "sol2"), "label"), group="{goal}")
quail = Choice(_ON_CONTEXT, answers_by_index("answers", "correct_answer_id"), group="{context}")
quartz = Choice("{para}\n\n{question}", answers_by_letter("choices", "answerKey"), group="{para}")
sciq = Choice(
    "{question}",
    answers_in_columns("correct_answer", ("distractor1", "distractor2", "distractor3")),
    group="{question}",
)
social_i_qa = Choice(
    _ON_CONTEXT,
    answers_by_number(("answerA", "answerB", "answerC"), "label", first=1),
    group="{context}",
)

# Pairs of sentences. WiC and PAWS reuse sentences, so rows with a common sentence are a group.

anli_r2 = LabelledText(
    "Premise: {premise}\nHypothesis: {hypothesis}",
    group=("premise",),
    classes={"0": 1, "1": 0, "2": 0, "e": 1, "n": 0, "c": 0, "-1": None},
)
"""1 if the premise entails the hypothesis; 0 for neutral and contradiction."""
paws = LabelledText(
    "Sentence 1: {sentence1}\nSentence 2: {sentence2}", group=("sentence1", "sentence2")
)
wic = LabelledText(
    "Word: {word}\nSentence 1: {sentence1}\nSentence 2: {sentence2}",
    group=("sentence1", "sentence2"),
)

# Single texts.

cola = LabelledText("{sentence}")
creak = LabelledText("{sentence}", group=("entity",))
"""Claims on one entity depend on the same knowledge, so an entity is a group. The authors' train
and dev sets have no common entities either."""
ethics_justice = LabelledText("{scenario}")
ethics_deontology = LabelledText("{scenario} {excuse}", group=("scenario",))
sentiment = LabelledText("{text}")
sst2 = LabelledText("{sentence}")
tweet_eval_sentiment = CategorizedText("{text}", {"0": "negative", "1": "neutral", "2": "positive"})
ag_news = CategorizedText("{text}", {"0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech"})
_polarity = LabelledText("{text}", label="polarity", classes={"0": 0, "2": None, "4": 1})

# Comparisons.

ethics_utilitarianism = Comparison("baseline", "less_pleasant")


# Pairs, one of them better: reward modelling.

ukpconvarg1 = Preference("{better}", "{worse}", group=("debate",))
"""Arguments in a debate, one more convincing; a debate is a group."""


def boolq(row: Row, *, id: str) -> list[Example]:
    """Yes/no questions on a passage; the questions on one passage are a group."""
    label = class_of(row["answer"], BINARY, where=f"{id}: column 'answer'")
    cells = Cells(row, id=id)
    text = f"Passage: {cells['passage']}\nQuestion: {cells['question']}"
    return [] if label is None else [Example(id, text, label, cells["passage"])]


def amazon_polarity(row: Row, *, id: str) -> list[Example]:
    """Product reviews; the original files use 1 for negative and 2 for positive."""
    column, classes = ("polarity", {"1": 0, "2": 1}) if "polarity" in row else ("label", BINARY)
    label = class_of(row[column], classes, where=f"{id}: column {column!r}")
    cells = Cells(row, id=id)
    text = f"{cells['title']}\n{cells['content']}"
    return [] if label is None else [Example(id, text, label, text)]


def anthropic_hh(row: Row, *, id: str) -> list[Example]:
    """Dialogs, as texts or as chat messages: the chosen one is class 1, the rejected one class 0.

    Dialogs with the same first turn are a group, because many dialogs repeat with more turns.
    """
    chosen, rejected = (_dialog(row, side, id) for side in ("chosen", "rejected"))
    return [
        Example(f"{id}:{side}", dialog.text, label, chosen.opening, chat=dialog.chat)
        for side, dialog, label in (("chosen", chosen, 1), ("rejected", rejected, 0))
    ]


def anthropic_hh_pairs(row: Row, *, id: str) -> list[Example]:
    """The same dialogs as pairs: the chosen one is better."""
    chosen, rejected = (_dialog(row, side, id) for side in ("chosen", "rejected"))
    both = (chosen.messages, rejected.messages)
    chats = None if both[0] is None or both[1] is None else (both[0], both[1])
    return preference_pair(chosen.text, rejected.text, id=id, group=chosen.opening, chats=chats)


def summarize_from_feedback(row: Row, *, id: str) -> list[Example]:
    """Two summaries of a post, one preferred by a human rater; a post is a group."""
    info = row["info"]
    post = info.get("post") or info.get("article") or ""
    texts = [f"{post.strip()}\n\nTL;DR: {s['text'].strip()}" for s in row["summaries"]]
    choice = {"0": 0, "1": 1}.get(plain_label(row["choice"]))
    if len(texts) != 2 or choice is None:
        return []
    return preference_pair(texts[choice], texts[1 - choice], id=id, group=str(info["id"]))


def text(row: Row, *, id: str) -> list[Example]:
    """A passage of running text; passages of one document are a group."""
    return [Example(id, row["text"], 0, row["document"])]


def ethics_virtue(row: Row, *, id: str) -> list[Example]:
    """Scenario and character trait, 1 if the scenario shows the trait; grouped by scenario."""
    scenario, separator, trait = row["scenario"].rpartition(_SEPARATOR)
    if not separator:
        raise InputError(
            f"{id}: the scenario {row['scenario']!r} has no {_SEPARATOR}; "
            "write it as 'scenario [SEP] trait'"
        )
    scenario = scenario.strip()
    label = class_of(row["label"], BINARY, where=f"{id}: column 'label'")
    text = f"{scenario} {_SEPARATOR} {trait.strip()}"
    return [] if label is None else [Example(id, text, label, scenario)]


def twitter_sentiment(row: Row, *, id: str) -> list[Example]:
    """Tweets, 1 if positive. The original files use 0, 2 and 4; 2 (neutral) is omitted."""
    return (_polarity if "polarity" in row else sentiment)(row, id=id)


@dataclass(frozen=True)
class _Dialog:
    text: str
    opening: str
    """The first turn of the dialog, or the whole text if it has no turns."""
    messages: Messages | None = None
    """None if the source has a text."""

    @property
    def chat(self) -> str | None:
        return None if self.messages is None else to_json(self.messages)


def _dialog(row: Row, side: str, id: str) -> _Dialog:
    """A dialog: a text with `Human:` and `Assistant:`, or messages with or without the prompt."""
    where = f"{id}: column {side!r}"
    if not is_chat(row[side]):
        text = text_of(row[side], where=where)
        return _Dialog(text.strip(), _opening(text))
    prompt = row.get("prompt")
    before = [] if is_missing(prompt) else messages_of(prompt, where=f"{id}: column 'prompt'")
    messages = conversation(before, messages_of(row[side], where=where))
    text = plain_text(messages)
    return _Dialog(text, _opening(f"\n\n{text}"), messages)


def _opening(dialog: str) -> str:
    _, _, rest = dialog.partition("\n\nHuman:")
    return rest.partition("\n\nAssistant:")[0].strip() or dialog
