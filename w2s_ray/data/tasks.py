"""The named tasks: where each lies on the hub, how its original files are called, how it is read.

Owns one frozen declaration per task, in a plain dict. It reads nothing. `own test` is the labelled
split that the reported accuracy comes from; where the official test set has no public labels, the
official validation set takes its place. Hub names, configurations and columns were checked against
the hub's public pages, except those with `confirmed=False`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from w2s_ray.data import formatters
from w2s_ray.data.example import Example

EMBEDDED = "embedded"
"""The task that is generated, for examples and tests that need no download."""


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub. No code of a dataset is ever run."""

    name: str
    config: str | None = None
    pool: tuple[str, ...] = ("train",)
    """Splits that are training and validation rows."""
    test: str | None = "test"
    """The labelled split that is test rows; null = test rows come from the pool."""
    revision: str | None = None
    """Branch where a task names no revision: the hub's Parquet conversion, for a set that is
    otherwise made by a script."""
    files: dict[str, str] | None = None
    """Split -> file in the repository, for sets whose original files lie beside a script."""
    confirmed: bool = True
    """False: name, branch or file layout is recalled, not checked."""


@dataclass(frozen=True)
class Files:
    """The names of a task's original files, without extension; the first pattern that fits counts.

    A folder needs the first of `pool`; the rest is used where present.
    """

    pool: tuple[tuple[str, ...], ...] = (("train",),)
    test: tuple[str, ...] = ("test",)
    columns: tuple[str, ...] | None = None
    """Columns of files without a header line."""


@dataclass(frozen=True)
class NamedTask:
    """All there is to know about a named task."""

    format: Callable[..., list[Example]]
    """Raw row, `id` -> examples."""
    hub: Hub
    files: Files = Files()
    grouped_runs: bool = False
    """Neighbouring variants of one sentence are a group (see `formatters.grouped_runs`)."""
    large: bool = False
    """Millions of rows: a pseudo-random sample of them is read, many times what is asked for."""


_ETHICS = "hendrycks/ethics"


def _ethics(subset: str, format: Callable[..., list[Example]], *, runs: bool = False) -> NamedTask:
    files = {split: f"data/{subset}/{split}.csv" for split in ("train", "test")}
    return NamedTask(
        format,
        Hub(_ETHICS, files=files, confirmed=False),
        Files((("train", f"{subset}_train"),), ("test", f"{subset}_test")),
        grouped_runs=runs,
    )


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
        Hub(
            "allenai/cosmos_qa", test="validation", revision="refs/convert/parquet", confirmed=False
        ),
        Files(test=("valid", "validation")),
    ),
    "amazon_polarity": NamedTask(
        formatters.amazon_polarity,
        Hub("fancyzhx/amazon_polarity"),
        Files(columns=("polarity", "title", "content")),
        large=True,
    ),
    "anthropic_hh": NamedTask(
        formatters.anthropic_hh,
        Hub("Anthropic/hh-rlhf"),
        Files((("train", "*/train"),), ("test", "*/test")),
    ),
    "ethics_justice": _ethics("justice", formatters.ethics_justice, runs=True),
    "ethics_deontology": _ethics("deontology", formatters.ethics_deontology),
    "ethics_virtue": _ethics("virtue", formatters.ethics_virtue),
    "creak": NamedTask(
        formatters.creak,
        Hub(
            "amydeng2000/CREAK",
            test="validation",
            files={"train": "train.json", "validation": "dev.json"},
        ),
        Files(test=("dev",)),
    ),
    "openbookqa": NamedTask(
        formatters.openbookqa,
        Hub("allenai/openbookqa", "main", pool=("train", "validation")),
        Files((("train",), ("dev", "validation"))),
    ),
    "sentence_polarity": NamedTask(
        formatters.sentence_polarity,
        Hub(
            "cornell-movie-review-data/rotten_tomatoes",
            pool=("train", "validation", "test"),
            test=None,
        ),
        Files((("rt-polarit*",),), ()),
    ),
}
"""Named tasks. The original sentence_polarity files have no split, so on the hub all of its splits
are one pool too; the hard test sets of ETHICS and the contrast set of creak are not used."""


def named_task(name: str) -> NamedTask:
    """The declaration of the task called `name`.

    Raises:
        ValueError: no such task; the message has the nearest and the known names.
    """
    if name in TASKS:
        return TASKS[name]
    known = [*TASKS, EMBEDDED]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"unknown task {name!r}; {hint}known: {', '.join(known)}; for a file of your "
        "own, give `path` and `columns`"
    )
