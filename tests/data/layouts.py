"""Rows of the named tasks in the layout of the hub's data sets, and in that of the original files.

`HUB` makes a row of a family: rows that share the question, passage, sentence or scenario that must
not straddle two parts. `ORIGINAL` writes hub rows as the authors publish them.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import chess

from w2s_ray.data.originals import PUZZLES

Row = dict[str, Any]
Files = dict[str, str | bytes]

LETTERS = "ABCDEFGH"


def answers(i: int, n: int) -> list[str]:
    return [f"answer {LETTERS[k].lower()}{i}" for k in range(n)]


def boolq(i: int, family: str) -> list[Row]:
    passage = f"Passage about {family}."
    return [{"question": f"is it number {i}", "answer": bool(i % 2), "passage": passage}]


def cosmos_qa(i: int, family: str) -> list[Row]:
    row = {
        "id": f"3Q{i}##Blog_{i}##q1",
        "context": f"Story of {family} .",
        "question": f"Why {i} ?",
    }
    return [row | {f"answer{k}": a for k, a in enumerate(answers(i, 4))} | {"label": i % 4}]


def dream(i: int, family: str) -> list[Row]:
    return [
        {
            "id": i,
            "dialogue_id": f"4-{family}",
            "dialogue": [f"M: Hello, {family}.", "W: Hello."],
            "question": f"Who is number {i}?",
            "choice": answers(i, 3),
            "answer": answers(i, 3)[i % 3],
        }
    ]


def ethics_justice(i: int, family: str) -> list[Row]:
    scenario = f"I used to walk with my {family} every single morning but not now because of {i}."
    return [{"label": i % 2, "scenario": scenario}]


def ethics_deontology(i: int, family: str) -> list[Row]:
    return [
        {"label": i % 2, "scenario": f"Could you walk the {family}?", "excuse": f"But no, as {i}."}
    ]


def ethics_virtue(i: int, family: str) -> list[Row]:
    return [{"label": i % 2, "scenario": f"Jill fed the {family}. [SEP] trait{i}"}]


def ethics_utilitarianism(i: int, family: str) -> list[Row]:
    shared, own = f"I saw the {family}.", f"I saw number {i}."
    better, worse = (shared, own) if i % 2 else (own, shared)
    return [{"baseline": better, "less_pleasant": worse}]


def anli_r2(i: int, family: str) -> list[Row]:
    row = {
        "uid": f"u{i}",
        "premise": f"The {family} is a film.",
        "hypothesis": f"It has {i} parts.",
    }
    return [row | {"label": (0, 1, 0, 2)[i % 4], "reason": ""}]


def cola(i: int, family: str) -> list[Row]:
    sentence = f'The "{family}" that we had seen before was sent to number {i}.'
    return [{"sentence": sentence, "label": i % 2, "idx": i}]


def sst2(i: int, family: str) -> list[Row]:
    return [{"idx": i, "sentence": f'a " {family} " of film {i} ', "label": i % 2}]


def hellaswag(i: int, family: str) -> list[Row]:
    return [
        {
            "ind": i,
            "activity_label": "Washing",
            "ctx_a": f"A man washes {i}.",
            "ctx_b": "he",
            "ctx": f"A man washes {i}. he",
            "endings": answers(i, 4),
            "source_id": f"activitynet~v_{family}",
            "split": "train",
            "split_type": "indomain",
            "label": str(i % 4),
        }
    ]


def mc_taco(i: int, family: str) -> list[Row]:
    """A question with two right answers of five."""
    return [
        {
            "sentence": f'He said: "{family}."',
            "question": f"How long is number {i}?",
            "answer": answer,
            "label": int(k in (i % 5, (i + 2) % 5)),
            "category": 0,
        }
        for k, answer in enumerate(answers(i, 5))
    ]


def openbookqa(i: int, family: str) -> list[Row]:
    choices = {"text": answers(i, 4), "label": list("ABCD")}
    return [
        {
            "id": f"7-{i}",
            "question_stem": f"The {family} {i} is",
            "choices": choices,
            "answerKey": "ABCD"[i % 4],
        }
    ]


def paws(i: int, family: str) -> list[Row]:
    shared, own = f'The "{family}" flew to Rome .', f"To Rome flew number {i} ."
    first, second = (shared, own) if i % 3 else (own, shared)
    return [{"id": i, "sentence1": first, "sentence2": second, "label": i % 2}]


def piqa(i: int, family: str) -> list[Row]:
    first, second = answers(i, 2)
    return [
        {"goal": f"How to open the {family}{i}?", "sol1": first, "sol2": second, "label": i % 2}
    ]


def quail(i: int, family: str) -> list[Row]:
    return [
        {
            "id": f"{family}_{i}",
            "context_id": family,
            "question_id": str(i),
            "domain": "fiction",
            "metadata": {"author": "A", "title": "T", "url": "http://example.org"},
            "context": f'"Larry & {family}," she said.\nThey left.',
            "question": f"Who is number {i}?",
            "question_type": "Factual",
            "answers": answers(i, 4),
            "correct_answer_id": i % 4,
        }
    ]


def quartz(i: int, family: str) -> list[Row]:
    return [
        {
            "id": f"QRQA-{i}",
            "question": f"If number {i} moves it gets",
            "choices": {"text": answers(i, 2), "label": ["A", "B"]},
            "answerKey": "AB"[i % 2],
            "para": f"A {family} is hotter near the sun.",
            "para_id": f"QRSent-{family}",
            "para_anno": {"effect_prop": "heat"},
            "question_anno": {"more_effect_dir": "more"},
        }
    ]


def sciq(i: int, family: str) -> list[Row]:
    right, *wrong = answers(i, 4)
    row = {"question": f"What is {family}{i}?", "correct_answer": right, "support": "-"}
    return [row | {f"distractor{k}": a for k, a in enumerate(wrong, start=1)}]


def social_i_qa(i: int, family: str) -> list[Row]:
    row = {"context": f"Tracy met {family}.", "question": f"Why did number {i} do this?"}
    named = zip(("answerA", "answerB", "answerC"), answers(i, 3), strict=True)
    return [row | dict(named) | {"label": str(i % 3 + 1)}]


def multirc(i: int, family: str) -> list[Row]:
    """A question with one right answer of three, or two."""
    right = (i % 3,) if i % 2 else (i % 3, (i + 1) % 3)
    return [
        {
            "paragraph": f"The {family} sat on a mat.",
            "question": f"Who is number {i}?",
            "answer": answer,
            "idx": {"paragraph": 0, "question": i, "answer": k},
            "label": int(k in right),
        }
        for k, answer in enumerate(answers(i, 3))
    ]


def wic(i: int, family: str) -> list[Row]:
    shared, own = f"The bank of the {family}.", f"Bank number {i}."
    first, second = (shared, own) if i % 3 else (own, shared)
    row = {"word": "bank", "sentence1": first, "sentence2": second}
    places = {"start1": 4, "start2": 0, "end1": 8, "end2": 4}
    return [row | places | {"idx": i, "label": i % 2}]


def twitter_sentiment(i: int, family: str) -> list[Row]:
    return [{"text": f"@you the {family} café {i} ", "label": i % 2}]


def tweet_eval_sentiment(i: int, family: str) -> list[Row]:
    return [{"text": f"@user the {family} café {i} \\u2019", "label": i % 3}]


def ag_news(i: int, family: str) -> list[Row]:
    text = f'A {family} wins (AP) AP - The {family} number {i} won, a "judge" said.'
    return [{"text": text, "label": i % 4}]


def amazon_polarity(i: int, family: str) -> list[Row]:
    return [{"label": i % 2, "title": f"A {family}", "content": f"It is number {i}."}]


def anthropic_hh(i: int, family: str) -> list[Row]:
    start = f"\n\nHuman: What of {family}?\n\nAssistant: Number {i}.\n\nHuman: Go on.\n\nAssistant:"
    return [{"chosen": f"{start} Fine.", "rejected": f"{start} No."}]


def creak(i: int, family: str) -> list[Row]:
    label = ("false", "true")[i % 2]
    row = {"ex_id": f"train_{i}", "sentence": f"Number {i} knows it.", "explanation": "-"}
    return [row | {"label": label, "entity": family, "en_wiki_pageid": "1"}]


def sentiment(i: int, family: str) -> list[Row]:
    return [{"text": f"a {family} of film {i}", "label": i % 2}]


def summarize_from_feedback(i: int, family: str) -> list[Row]:
    info = {"id": family, "post": f"A post on a {family}.", "title": "-", "article": None}
    summaries = [
        {"text": f"{word} {i}", "policy": "sup1", "note": None} for word in ("Good", "Bad")
    ]
    return [{"info": info, "summaries": summaries, "choice": i % 2, "worker": "w"}]


def ukpconvarg1(i: int, family: str) -> list[Row]:
    debate = f"is-a-{family}-good"
    return [{"better": f"Reason {i}.", "worse": f"Poor reason {i}.", "debate": debate}]


def _game(seed: int, plies: int) -> Any:
    rng, board = random.Random(seed), chess.Board()
    while len(board.move_stack) < plies and not board.is_game_over():
        board.push(rng.choice(sorted(board.legal_moves, key=str)))
    return board


def _moves(board: Any) -> str:
    """The board's moves in SAN, with numbers."""
    return chess.Board().variation_san(board.move_stack).replace(". ", ".")


def chess_puzzles(i: int, family: str) -> list[Row]:
    board = _game(i, 16)
    solution = [board.pop().uci() for _ in range(2)][::-1]
    game = "".join(c for c in family if c.isalnum())[:8].ljust(8, "x")
    return [
        {
            "PuzzleId": f"{i:05}",
            "FEN": board.fen(),
            "Moves": " ".join(solution),
            "Rating": 600 + i,
            "RatingDeviation": 80,
            "Popularity": 90,
            "NbPlays": 100,
            "Themes": "short",
            "GameUrl": f"https://lichess.org/{game}#33",
            "OpeningTags": "",
            "Game": _moves(board),
        }
    ]


def chess_games(i: int, family: str) -> list[Row]:
    return [{"result": "1-0", "moves": _moves(_game(i, 30))}]


def texts(i: int, family: str) -> list[Row]:
    document = "".join(c for c in family if c.isalnum()) + ".txt"
    return [{"text": f"{family} {i} " + "word " * 198 + "end", "document": document}]


HUB: dict[str, Callable[[int, str], list[Row]]] = {
    "ag_news": ag_news,
    "amazon_polarity": amazon_polarity,
    "anli_r2": anli_r2,
    "anthropic_hh": anthropic_hh,
    "anthropic_hh_pairs": anthropic_hh,
    "chess_games": chess_games,
    "chess_positions": chess_games,
    "chess_puzzles": chess_puzzles,
    "chess_puzzles_by_moves": chess_puzzles,
    "summarize_from_feedback": summarize_from_feedback,
    "texts": texts,
    "ukpconvarg1": ukpconvarg1,
    "boolq": boolq,
    "cola": cola,
    "cosmos_qa": cosmos_qa,
    "creak": creak,
    "dream": dream,
    "ethics_deontology": ethics_deontology,
    "ethics_justice": ethics_justice,
    "ethics_utilitarianism": ethics_utilitarianism,
    "ethics_virtue": ethics_virtue,
    "hellaswag": hellaswag,
    "mc_taco": mc_taco,
    "movie_reviews": sentiment,
    "multirc": multirc,
    "openbookqa": openbookqa,
    "paws": paws,
    "piqa": piqa,
    "quail": quail,
    "quartz": quartz,
    "sciq": sciq,
    "sentence_polarity": sentiment,
    "social_i_qa": social_i_qa,
    "sst2": sst2,
    "subjectivity": sentiment,
    "tweet_eval_sentiment": tweet_eval_sentiment,
    "twitter_sentiment": twitter_sentiment,
    "wic": wic,
}
"""Task -> the rows of number i of a family, in the hub's layout."""

UNRELATED = {
    "ag_news",
    "tweet_eval_sentiment",
    "openbookqa_choices",
    "piqa_choices",
    "sciq_choices",
    "amazon_polarity",
    "chess_games",
    "chess_positions",
    "movie_reviews",
    "openbookqa",
    "piqa",
    "sciq",
    "sentence_polarity",
    "sst2",
    "subjectivity",
    "twitter_sentiment",
}
"""Tasks whose rows belong to nobody but themselves (both answers to one question apart)."""


def lines(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def commas(rows: Sequence[Row], columns: Sequence[str], *, header: bool = True) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    if header:
        writer.writerow(columns)
    writer.writerows([row[column] for column in columns] for row in rows)
    return file.getvalue()


def tabs(rows: Sequence[Row], columns: Sequence[str], *, header: bool = True) -> str:
    """Tab-separated, quotation marks as they are."""
    table = [columns] if header else []
    table += [[str(row[column]) for column in columns] for row in rows]
    return "".join("\t".join(line) + "\n" for line in table)


def _both(name: str, test: str, write: Callable[[Sequence[Row]], str]):
    return lambda train, held_out: {name: write(train), test: write(held_out)}


def _dream(rows: Sequence[Row]) -> str:
    keys = ("question", "choice", "answer")
    return json.dumps(
        [[row["dialogue"], [{k: row[k] for k in keys}], row["dialogue_id"]] for row in rows]
    )


def _multirc(rows: Sequence[Row]) -> str:
    passages: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        answers = passages.setdefault(row["paragraph"], {}).setdefault(row["question"], [])
        answers.append({"text": row["answer"], "idx": len(answers), "label": row["label"]})
    return lines(
        [
            {
                "idx": i,
                "version": 1.1,
                "passage": {
                    "text": text,
                    "questions": [
                        {"question": question, "answers": answers, "idx": k}
                        for k, (question, answers) in enumerate(questions.items())
                    ],
                },
            }
            for i, (text, questions) in enumerate(passages.items())
        ]
    )


def _quartz(rows: Sequence[Row]) -> str:
    return lines(
        [
            row
            | {
                "question": {
                    "stem": row["question"],
                    "choices": [
                        {"label": label, "text": text}
                        for label, text in zip(
                            row["choices"]["label"], row["choices"]["text"], strict=True
                        )
                    ],
                }
            }
            for row in rows
        ]
    )


def _quail(rows: Sequence[Row]) -> str:
    root = ElementTree.Element("data")
    for row in rows:
        text = ElementTree.SubElement(root, "text", domain="fiction", id=row["context_id"])
        ElementTree.SubElement(text, "text_body").text = f"\n   {row['context']}\n  "
        questions = ElementTree.SubElement(text, "questions")
        question = ElementTree.SubElement(questions, "q", id="1", type="Factual")
        question.text = f"\n    {row['question']}\n    "
        for k, answer in enumerate(row["answers"]):
            right = str(k == row["correct_answer_id"])
            element = ElementTree.SubElement(question, "a", id=str(k + 1), correct=right)
            element.text = f"\n     {answer}\n    "
    return ElementTree.tostring(root, encoding="unicode")


def _beside(train: Sequence[Row], held_out: Sequence[Row]) -> Files:
    files: Files = {}
    for name, rows in (("train", train), ("dev", held_out)):
        unlabelled = [{k: v for k, v in row.items() if k != "label"} for row in rows]
        files[f"{name}.jsonl"] = lines(unlabelled)
        files[f"{name}-labels.lst"] = "".join(f"{row['label']}\n" for row in rows)
    return files


def _anli(rows: Sequence[Row]) -> str:
    return lines(
        [
            {
                "uid": row["uid"],
                "context": row["premise"],
                "hypothesis": row["hypothesis"],
                "label": "enc"[row["label"]],
                "model_label": "n",
            }
            for row in rows
        ]
    )


def _cola(rows: Sequence[Row]) -> str:
    made = [row | {"source": "gj04", "mark": "" if row["label"] else "*"} for row in rows]
    return tabs(made, ("source", "label", "mark", "sentence"), header=False)


def _mc_taco(rows: Sequence[Row]) -> str:
    made = [row | {"label": ("no", "yes")[row["label"]], "category": "Frequency"} for row in rows]
    return tabs(made, ("sentence", "question", "answer", "label", "category"), header=False)


def _openbookqa(rows: Sequence[Row]) -> str:
    def choices(row: Row) -> str:
        both = zip(row["choices"]["label"], row["choices"]["text"], strict=True)
        return " ".join(f"({letter}) {text}" for letter, text in both)

    made = [
        {
            "ID": row["id"],
            "Question Stem": row["question_stem"],
            "Choices": choices(row),
            "Complete Question": f"{row['question_stem']} {choices(row)}",
            "Answer Key": row["answerKey"],
        }
        for row in rows
    ]
    return tabs(made, list(made[0]))


def _tweets(rows: Sequence[Row]) -> bytes:
    columns = ("polarity", "id", "date", "query", "user", "text")
    made = [
        row | {"polarity": 4 * row["label"], "id": 1, "date": "Mon", "user": "u"} for row in rows
    ]
    neutral = {"polarity": 2, "id": 1, "date": "Mon", "user": "u", "text": "neither"}
    table = [row | {"query": "NO_QUERY"} for row in (*made, neutral)]
    return commas(table, columns, header=False).encode("latin-1")


def _news(rows: Sequence[Row]) -> str:
    made = []
    for row in rows:
        title, _, description = row["text"].partition(" (AP) ")
        more = {"title": title, "description": f"(AP) {description}"}
        made.append({"class": row["label"] + 1, **more})
    return commas(made, ("class", "title", "description"), header=False)


def _labelled_lines(train: Sequence[Row], held_out: Sequence[Row]) -> Files:
    files: Files = {"mapping.txt": "0\tnegative\n1\tneutral\n2\tpositive\n"}
    for name, rows in (("train", train), ("test", held_out)):
        files[f"{name}_text.txt"] = "".join(f"{row['text']}\n" for row in rows)
        files[f"{name}_labels.txt"] = "".join(f"{row['label']}\n" for row in rows)
    return files


def _amazon(rows: Sequence[Row]) -> str:
    made = [row | {"polarity": row["label"] + 1} for row in rows]
    return commas(made, ("polarity", "title", "content"), header=False)


def _by_class(names: tuple[str, str]) -> Callable[[Sequence[Row], Sequence[Row]], Files]:
    def write(train: Sequence[Row], _: Sequence[Row]) -> Files:
        return {
            name: "".join(row["text"] + " \n" for row in train if row["label"] == label)
            for label, name in enumerate(names)
        }

    return write


def _documents(train: Sequence[Row], _: Sequence[Row]) -> Files:
    folders = ("neg", "pos")
    named = {f"{folders[row['label']]}/cv{i:03}.txt": row["text"] for i, row in enumerate(train)}
    return {**named, "README": "-"}


def _tweet_files(train: Sequence[Row], held_out: Sequence[Row]) -> Files:
    return {
        "training.1600000.processed.noemoticon.csv": _tweets(train),
        "testdata.manual.2009.06.14.csv": _tweets(held_out),
    }


def _arguments(train: Sequence[Row], _: Sequence[Row]) -> Files:
    """Tables without quoting, one a debate and stance; the better argument stands in turns."""
    debates: dict[str, list[Row]] = {}
    for i, row in enumerate(train):
        texts = [row["better"], row["worse"]]
        first, second = texts[:: 1 if i % 2 else -1]
        label = "a1" if i % 2 else "a2"
        line = {"#id": f"arg{i}", "label": label, "a1": first, "a2": second}
        debates.setdefault(f"{row['debate']}_yes.csv", []).append(line)
    return {n: tabs(rows, ("#id", "label", "a1", "a2")) for n, rows in debates.items()}


def _texts(train: Sequence[Row], _: Sequence[Row]) -> Files:
    names = {row["document"] for row in train}
    return {n: "\n\n".join(row["text"] for row in train if row["document"] == n) for n in names}


def _puzzle_files(train: Sequence[Row], held_out: Sequence[Row], columns: Any) -> Files:
    return {
        "lichess_db_puzzle.csv": commas(train, columns),
        "test.csv": commas(held_out, columns),
    }


_COSMOS = ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label")

ORIGINAL: dict[str, Callable[[Sequence[Row], Sequence[Row]], Files]] = {
    "ag_news": _both("train.csv", "test.csv", _news),
    "tweet_eval_sentiment": _labelled_lines,
    "amazon_polarity": _both("train.csv", "test.csv", _amazon),
    "anli_r2": _both("R2/train.jsonl", "R2/test.jsonl", _anli),
    "anthropic_hh": _both("train.jsonl", "test.jsonl", lines),
    "anthropic_hh_pairs": _both("train.jsonl", "test.jsonl", lines),
    "chess_games": _both("games.tsv", "test.tsv", lambda rows: tabs(rows, ("result", "moves"))),
    "chess_positions": _both("games.tsv", "test.tsv", lambda rows: tabs(rows, ("result", "moves"))),
    "chess_puzzles": lambda train, test: _puzzle_files(train, test, PUZZLES),
    "chess_puzzles_by_moves": lambda train, test: _puzzle_files(train, test, (*PUZZLES, "Game")),
    "summarize_from_feedback": _both("batch3.json", "valid.json", lines),
    "texts": _texts,
    "ukpconvarg1": _arguments,
    "boolq": _both("train.jsonl", "dev.jsonl", lines),
    "cola": _both("in_domain_train.tsv", "in_domain_dev.tsv", _cola),
    "cosmos_qa": _both("train.csv", "valid.csv", lambda rows: commas(rows, _COSMOS)),
    "creak": _both("train.json", "dev.json", lines),
    "dream": _both("train.json", "test.json", _dream),
    "ethics_deontology": _both(
        "deontology_train.csv",
        "deontology_test.csv",
        lambda rows: commas(rows, ("label", "scenario", "excuse")),
    ),
    "ethics_justice": _both(
        "justice_train.csv", "justice_test.csv", lambda rows: commas(rows, ("label", "scenario"))
    ),
    "ethics_utilitarianism": _both(
        "util_train.csv",
        "util_test.csv",
        lambda rows: commas(rows, ("baseline", "less_pleasant"), header=False),
    ),
    "ethics_virtue": _both(
        "virtue_train.csv", "virtue_test.csv", lambda rows: commas(rows, ("label", "scenario"))
    ),
    "hellaswag": _both(
        "hellaswag_train.jsonl",
        "hellaswag_val.jsonl",
        lambda rows: lines([row | {"label": int(row["label"])} for row in rows]),
    ),
    "mc_taco": _both("test_9442.tsv", "dev_3783.tsv", _mc_taco),
    "movie_reviews": _documents,
    "multirc": _both("train.jsonl", "val.jsonl", _multirc),
    "openbookqa": _both("train.tsv", "test.tsv", _openbookqa),
    "paws": _both(
        "final/train.tsv",
        "final/test.tsv",
        lambda rows: tabs(rows, ("id", "sentence1", "sentence2", "label")),
    ),
    "piqa": _beside,
    "quail": _both("quail_1.3_train.xml", "quail_1.3_dev.xml", _quail),
    "quartz": _both("train.jsonl", "test.jsonl", _quartz),
    "sciq": _both("train.json", "test.json", json.dumps),
    "sentence_polarity": _by_class(("rt-polarity.neg", "rt-polarity.pos")),
    "social_i_qa": _beside,
    "sst2": _both("train.tsv", "dev.tsv", lambda rows: tabs(rows, ("sentence", "label"))),
    "subjectivity": _by_class(("plot.tok.gt9.5000", "quote.tok.gt9.5000")),
    "twitter_sentiment": _tweet_files,
    "wic": _both(
        "train.jsonl",
        "val.jsonl",
        lambda rows: lines([row | {"label": bool(row["label"])} for row in rows]),
    ),
}
"""Task -> training and test rows in the hub's layout, as the authors' files."""

_CHOICES = ("sciq", "cosmos_qa", "dream", "hellaswag", "openbookqa", "quail", "piqa", "quartz")
"""Tasks that are also tasks with all choices of a question in a row."""
for _name in (*_CHOICES, "social_i_qa"):
    HUB[f"{_name}_choices"] = HUB[_name]
    ORIGINAL[f"{_name}_choices"] = ORIGINAL[_name]
