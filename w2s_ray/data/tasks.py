"""The named tasks: for each its hub dataset, the names of its original files, and its formatter.

Owns one frozen declaration per task, and reads no data. The test split is the labelled split for
the reported accuracy: the official test set, or the official validation set if the labels of the
test set are not public. Hub names, splits, columns and labels were checked against the hub's public
pages and the public loading scripts.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace

from w2s_ray.config import FormName
from w2s_ray.data import chess_rows, formatters
from w2s_ray.data.example import Example
from w2s_ray.data.originals import (
    Reader,
    documents_of,
    dream_dialogues,
    either,
    labels_beside,
    lines_beside,
    lines_of,
    multirc_passages,
    passages,
    plain,
    puzzles,
    quail_texts,
    quartz_questions,
    table,
    titled_news,
    ukp_arguments,
)
from w2s_ray.data.row_formats import Choice, Question
from w2s_ray.errors import InputError

DIGITS = "digits"
"""scikit-learn's 1,797 images of handwritten digits, 8 x 8."""
EMBEDDED = "embedded"
"""The generated task, for examples and tests without downloads."""


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub. Its code is never run."""

    name: str
    config: str | None = None
    pool: tuple[str, ...] = ("train",)
    """Splits with training and validation rows."""
    test: str | None = "test"
    """The labelled split with test rows; None = test rows are taken from the pool."""
    revision: str | None = None
    """Default commit or branch: the commit whose pages were checked, or the hub's Parquet
    conversion if the dataset is made by a script."""
    files: dict[str, str] | None = None
    """Split -> files in the repository, for datasets that also have a script."""
    fallback: str = ""
    """Where the same rows are if this source is gone."""

    @property
    def other_source(self) -> str:
        """The end of an error: where the same rows are."""
        return f"; {self.fallback}" if self.fallback else ""


@dataclass(frozen=True)
class Files:
    """Name patterns of a task's original files, without extension; the first match is used.

    A folder must have the first file of `pool`; the other files are optional.
    """

    pool: tuple[tuple[str, ...], ...] = (("train",),)
    test: tuple[str, ...] = ("test",)
    read: Reader = plain


@dataclass(frozen=True)
class NamedTask:
    """The declaration of a named task."""

    format: Callable[..., list[Example]]
    """Raw row, `id` -> examples."""
    hub: Hub | None
    """None = not on the hub, or readable only with a script."""
    files: Files = Files()
    question: tuple[str, ...] = ()
    """Columns that identify a question, if each row has one of its answers (`group_answers`)."""
    has_variants: bool = False
    """Consecutive variants of one sentence are a group (`group_variants`)."""
    has_shared_texts: bool = False
    """Rows with a common sentence are a group (`merge_linked_groups`)."""
    has_phrases: bool = False
    """Rows are phrases of common sentences, and a sentence is a group (`group_phrases`)."""
    large: bool = False
    """True for millions of rows: a pseudo-random sample is read, many times the rows needed."""
    rows_each: int = 0
    """Rows that a raw row gives where reading one is slow, so that no more are read than needed; 0
    = all are read."""
    form: FormName = "classes"
    """What a row is."""
    legal: Callable[[str, str], bool] | None = None
    """Prompt, completion -> whether the completion is legal; None if the task has no such rule."""


_ETHICS = "hendrycks/ethics"
_ELSEWHERE = (
    "the hub's Parquet conversion of {} may be gone; download {} and give the folder as `path`"
)
_DEV = (("train",), ("dev", "validation"))
"""Training and development rows; both are the pool if the test rows have labels."""


def _converted(
    name: str,
    *,
    config: str = "*",
    pool: tuple[str, ...] = ("train",),
    test: str = "validation",
    commit: str | None = None,
    fallback: str = "the authors' original files",
) -> Hub:
    """A dataset made by a script, read from the hub's Parquet conversion.

    Its files are `config/split/0000.parquet` and so on; `config` is `*` if there is only one. The
    hub can delete the branch; a `commit` of it that is known is read in its place.
    """
    files = {split: f"{config}/{split}/*.parquet" for split in (*pool, test)}
    revision = commit or "refs/convert/parquet"
    return Hub(name, None, pool, test, revision, files, _ELSEWHERE.format(name, fallback))


def _ethics(subset: str, format: Callable[..., list[Example]], *, runs: bool = False) -> NamedTask:
    files = {split: f"data/{subset}/{split}.csv" for split in ("train", "test")}
    return NamedTask(
        format,
        Hub(_ETHICS, files=files),
        Files((("train", f"{subset}_train"),), ("test", f"{subset}_test")),
        has_variants=runs,
    )


def _puzzles(format: Callable[..., list[Example]], *, hub: bool = True) -> NamedTask:
    return NamedTask(
        format,
        Hub("Lichess/chess-puzzles", test=None) if hub else None,
        Files((("lichess_db_puzzle", "puzzles", "level_*", "train"),), ("test",), puzzles),
        has_shared_texts=True,
        large=True,
        form="answers",
        legal=chess_rows.is_legal,
    )


def _games(format: Callable[..., list[Example]], *, rows_each: int = 0) -> NamedTask:
    files = Files((("games", "train"),), ("test",))
    return NamedTask(format, None, files, rows_each=rows_each, form="text")


TASKS: dict[str, NamedTask] = {
    "sciq": NamedTask(
        formatters.sciq,
        Hub("allenai/sciq", pool=("train", "validation")),
        Files((("train",), ("valid", "validation"))),
    ),
    "boolq": NamedTask(
        formatters.boolq,
        Hub("google/boolq", test="validation"),
        Files(test=("dev", "validation")),
    ),
    "cosmos_qa": NamedTask(
        formatters.cosmos_qa,
        _converted("allenai/cosmos_qa", commit="ed50fe83db62b355759053b1cd5eef344ee371e0"),
        Files(test=("valid", "validation")),
    ),
    "dream": NamedTask(
        formatters.dream,
        _converted(
            "dataset-org/dream",
            pool=("train", "validation"),
            test="test",
            commit="ca4c45feaf089ecfc37579eb2c594375f70dbfd5",
        ),
        Files(_DEV, read=dream_dialogues),
    ),
    "ethics_justice": _ethics("justice", formatters.ethics_justice, runs=True),
    "ethics_deontology": _ethics("deontology", formatters.ethics_deontology),
    "ethics_virtue": _ethics("virtue", formatters.ethics_virtue),
    "ethics_utilitarianism": NamedTask(
        formatters.ethics_utilitarianism,
        Hub(
            _ETHICS,
            files={split: f"data/utilitarianism/{split}.csv" for split in ("train", "test")},
        ),
        Files(
            (("train", "util_train"),),
            ("test", "util_test"),
            table(("baseline", "less_pleasant")),
        ),
        has_shared_texts=True,
    ),
    "anli_r2": NamedTask(
        formatters.anli_r2,
        Hub("facebook/anli", "plain_text", pool=("train_r2", "dev_r2"), test="test_r2"),
        Files(
            (("train", "R2/train"), ("dev", "R2/dev")),
            ("test", "R2/test"),
            table(renamed={"context": "premise"}),
        ),
    ),
    "cola": NamedTask(
        formatters.cola,
        Hub("nyu-mll/glue", "cola", test="validation"),
        Files(
            (("train", "in_domain_train"),),
            ("dev", "in_domain_dev"),
            table(("source", "label", "mark", "sentence"), quoted=False),
        ),
        has_variants=True,
    ),
    "sst2": NamedTask(
        formatters.sst2,
        Hub("nyu-mll/glue", "sst2", test="validation"),
        Files(test=("dev",), read=table(quoted=False)),
        has_phrases=True,
    ),
    "hellaswag": NamedTask(
        formatters.hellaswag,
        Hub("Rowan/hellaswag", test="validation"),
        Files((("train", "hellaswag_train"),), ("val", "hellaswag_val", "validation")),
    ),
    "mc_taco": NamedTask(
        formatters.mc_taco,
        # There is no training set; the test set, the larger one, is used for training.
        _converted("CogComp/mc_taco", pool=("test",)),
        Files(
            (("test", "test_9442"),),
            ("dev", "dev_3783"),
            table(("sentence", "question", "answer", "label", "category"), quoted=False),
        ),
        question=("sentence", "question"),
    ),
    "openbookqa": NamedTask(
        formatters.openbookqa,
        Hub("allenai/openbookqa", "main", pool=("train", "validation")),
        Files(
            _DEV,
            read=table(
                renamed={
                    "Question Stem": "question_stem",
                    "Answer Key": "answerKey",
                    "Choices": "choices",
                }
            ),
        ),
    ),
    "paws": NamedTask(
        formatters.paws,
        Hub("google-research-datasets/paws", "labeled_final", pool=("train", "validation")),
        Files(
            (("train", "final/train"), ("dev", "final/dev")),
            ("test", "final/test"),
            table(quoted=False),
        ),
        has_shared_texts=True,
    ),
    "quail": NamedTask(
        formatters.quail,
        Hub("textmachinelab/quail", test="validation"),
        Files(
            (("train", "quail_1.3_train", "quail_1.2_train"),),
            ("dev", "quail_1.3_dev", "quail_1.2_dev", "validation"),
            either(quail_texts, kinds=(".xml",), other=plain),
        ),
    ),
    "piqa": NamedTask(
        formatters.piqa,
        _converted(
            "ybisk/piqa",
            fallback="baber/piqa (`hf download baber/piqa --repo-type dataset --local-dir piqa`)",
        ),
        Files(
            (("train", "*/train-*"),),
            ("dev", "valid", "validation", "*/validation-*"),
            labels_beside,
        ),
    ),
    "quartz": NamedTask(
        formatters.quartz,
        Hub(
            "allenai/quartz",
            pool=("train", "validation"),
            revision="28c1dbb56caf81799296cb17892fa73402e23464",
        ),
        Files(_DEV, read=quartz_questions),
    ),
    "social_i_qa": NamedTask(
        formatters.social_i_qa,
        # The same rows as allenai/social_i_qa, which is made by a script.
        Hub("lighteval/siqa", test="validation"),
        Files(test=("dev", "validation"), read=labels_beside),
    ),
    "multirc": NamedTask(
        formatters.multirc,
        Hub("aps/super_glue", "multirc", test="validation"),
        Files(test=("val", "validation"), read=multirc_passages),
        question=("paragraph", "question"),
    ),
    "wic": NamedTask(
        formatters.wic,
        Hub("aps/super_glue", "wic", test="validation"),
        Files(test=("val", "validation")),
        has_shared_texts=True,
    ),
    "twitter_sentiment": NamedTask(
        formatters.twitter_sentiment,
        Hub("EleutherAI/twitter-sentiment"),
        Files(
            (("train", "training.1600000.processed.noemoticon"),),
            ("test", "testdata.manual.2009.06.14"),
            table(("polarity", "id", "date", "query", "user", "text"), encoding="latin-1"),
        ),
        large=True,
    ),
    "amazon_polarity": NamedTask(
        formatters.amazon_polarity,
        Hub("fancyzhx/amazon_polarity"),
        Files(read=table(("polarity", "title", "content"))),
        large=True,
    ),
    "anthropic_hh": NamedTask(
        formatters.anthropic_hh,
        Hub("Anthropic/hh-rlhf"),
        Files((("train", "*/train"),), ("test", "*/test")),
    ),
    "creak": NamedTask(
        formatters.creak,
        Hub(
            "amydeng2000/CREAK",
            test="validation",
            files={"train": "train.json", "validation": "dev.json"},
        ),
        Files(test=("dev",)),
    ),
    "sentence_polarity": NamedTask(
        formatters.sentiment,
        Hub(
            "cornell-movie-review-data/rotten_tomatoes",
            pool=("train", "validation", "test"),
            test=None,
        ),
        Files((("rt-polarit*",),), (), lines_of({"*.neg": 0, "*.pos": 1})),
    ),
    "subjectivity": NamedTask(
        formatters.sentiment,
        Hub("SetFit/subj", pool=("train", "test"), test=None),
        Files((("*.tok.gt9",),), (), lines_of({"plot.*": 0, "quote.*": 1})),
    ),
    "movie_reviews": NamedTask(
        formatters.sentiment,
        None,
        Files((("[np][eo][gs]/*",),), (), documents_of({"neg/*": 0, "pos/*": 1})),
    ),
    "tweet_eval_sentiment": NamedTask(
        formatters.tweet_eval_sentiment,
        Hub("cardiffnlp/tweet_eval", "sentiment", pool=("train", "validation")),
        Files(
            (("train_text", "train"), ("val_text", "validation")),
            ("test_text", "test"),
            either(lines_beside, kinds=(".txt",), other=plain),
        ),
        form="categories",
    ),
    "ag_news": NamedTask(
        formatters.ag_news,
        Hub("fancyzhx/ag_news"),
        Files(read=titled_news),
        form="categories",
    ),
    "anthropic_hh_pairs": NamedTask(
        formatters.anthropic_hh_pairs,
        Hub("Anthropic/hh-rlhf"),
        Files((("train", "*/train"),), ("test", "*/test")),
        form="pairs",
    ),
    "summarize_from_feedback": NamedTask(
        formatters.summarize_from_feedback,
        _converted("openai/summarize_from_feedback", config="comparisons"),
        Files((("train", "batch*"),), ("valid", "validation")),
        form="pairs",
    ),
    "ukpconvarg1": NamedTask(
        formatters.ukpconvarg1,
        None,
        Files((("*_*",),), (), ukp_arguments),
        form="pairs",
    ),
    "chess_puzzles": _puzzles(chess_rows.puzzle),
    "chess_puzzles_by_moves": _puzzles(chess_rows.puzzle_by_moves, hub=False),
    "chess_games": _games(chess_rows.game),
    "chess_positions": _games(chess_rows.positions, rows_each=chess_rows.POSITIONS),
    "texts": NamedTask(
        formatters.text,
        None,
        Files((("*/*", "*"),), (), passages),
        form="text",
    ),
}
TASKS |= {
    f"{name}_choices": replace(task, format=Question(task.format), form="choices")
    for name, task in TASKS.items()
    if isinstance(task.format, Choice) and not task.question
}
"""Name -> task. The original files of sentence_polarity, subjectivity and movie_reviews have no
split, so all splits of their hub datasets are one pool. The hard test sets of ETHICS, QuAIL's
challenge set and the contrast set of creak are not used. Questions with one right answer are tasks
twice: in rows of two classes, and with all choices in a row."""


def named_task(name: str) -> NamedTask:
    """The declaration of the task called `name`.

    Raises:
        InputError: no such task; the message has the nearest name and all names.
    """
    if name in TASKS:
        return TASKS[name]
    known = [*TASKS, EMBEDDED, DIGITS]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(
        f"unknown task {name!r}; {hint}known: {', '.join(known)}; for a file of your "
        "own, give `path` and `columns`; for a function of your own, name its file in `plugins`"
    )
