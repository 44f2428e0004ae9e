"""The output of `w2s data`: counts, lengths, baselines, and rows as a model reads them.

It computes no figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import typer
from rich.padding import Padding
from rich.text import Text

from w2s_ray.cli.data_tasks import SweepData
from w2s_ray.config import FORMS
from w2s_ray.data.overview import TaskOverview, TokenLengths
from w2s_ray.data.overview.sentences import PART_NAMES, measured, remarks, sentences
from w2s_ray.data.overview.values import PartCounts, ShownRow, ShownText
from w2s_ray.plain_console import PlainConsole
from w2s_ray.printable import passage
from w2s_ray.report.markdown import escaped
from w2s_ray.report.sheet import NONE, Sheet, number, percent, to_markdown, to_rich
from w2s_ray.report.task_data import task_json
from w2s_ray.report.weak_labels import WeakLabels

LONGEST_TEXT = 1_200
"""Longest text that is printed whole; of a longer one, the middle is left out."""
MOST_CLASSES = 12
"""Most classes that have a column each."""
_BARS = " ▁▂▃▄▅▆▇█"


def print_tasks(found: SweepData, *, format: str, console: PlainConsole) -> None:
    """Print the data of a sweep's tasks as `table`, `markdown` or `json`."""
    weak = {task.task: _weak_of(found, task.task) for task in found.overviews}
    if format == "json":
        tasks = [task_json(task, weak[task.task]) for task in found.overviews]
        missing = [{"task": name, "why": why} for name, why in found.missing]
        whole = {"sweep": found.sweep, "tasks": tasks, "missing": missing}
        typer.echo(json.dumps(whole, indent=1))
    elif format == "markdown":
        texts = [_markdown(task, weak[task.task]) for task in found.overviews]
        lines = [f"{escaped(_missing(*each))}\n" for each in found.missing]
        typer.echo("\n".join([*texts, *lines]), nl=False)
    else:
        for task in found.overviews:
            _print_task(task, weak[task.task], console)
        for each in found.missing:
            console.print(Text(_missing(*each), style="yellow"), soft_wrap=True)


def histogram(lengths: TokenLengths) -> str:
    """The bins of lengths as bars, from the shortest to the longest; no bar = no text."""
    most = max(lengths.counts)
    heights = (-(-(len(_BARS) - 1) * count // most) for count in lengths.counts)
    return "".join(_BARS[height] for height in heights)


def _weak_of(found: SweepData, task: str) -> list[WeakLabels]:
    return [labels for labels in found.weak_labels if labels.task == task]


def _missing(name: str, why: str) -> str:
    return f"task {name} is neither on this machine nor in the store: {why}"


def _print_task(task: TaskOverview, weak: Sequence[WeakLabels], console: PlainConsole) -> None:
    console.print(Text.assemble((task.task, "bold"), _about(task)), soft_wrap=True)
    for sheet in _sheets(task, weak):
        console.print(to_rich([sheet]), crop=False, soft_wrap=False)
        console.print()
    for remark in remarks(task):
        console.print(Text(remark, style="yellow"), soft_wrap=True)
    if task.rows:
        console.print(Text(_read_as(task), style="italic"))
    for row in task.rows:
        console.print(Text(_of_row(row)), soft_wrap=True)
        for text in row.texts:
            console.print(Text(f"  {_of_text(text)}:", style="dim"), soft_wrap=True)
            for block in _blocks(text):
                console.print(Padding(Text(block), (0, 0, 0, 4), expand=False))
    console.print()


def _markdown(task: TaskOverview, weak: Sequence[WeakLabels]) -> str:
    parts = [f"## {escaped(task.task + _about(task))}\n", to_markdown(_sheets(task, weak))]
    parts += [f"{escaped(remark)}\n" for remark in remarks(task)]
    parts += [f"### {escaped(_read_as(task))}\n"] if task.rows else []
    for row in task.rows:
        parts.append(f"{escaped(_of_row(row))}\n")
        for text in row.texts:
            parts += [f"{escaped(_of_text(text))}:\n", "    \n".join(map(_block, _blocks(text)))]
    return "\n".join(parts)


def _block(text: str) -> str:
    """A text as an indented block, in which Markdown interprets nothing."""
    return "".join(f"    {line}\n" for line in text.split("\n"))


def _about(task: TaskOverview) -> str:
    source = "the store's rows" if task.from_store else "the task's data"
    return f": {task.form}, split {task.fingerprint}, from {source}"


def _sheets(task: TaskOverview, weak: Sequence[WeakLabels]) -> Iterator[Sheet]:
    yield _parts(task)
    if task.lengths:
        yield _lengths(task)
    yield _baselines(task)
    if weak:
        yield _weak_labels(weak)


def _parts(task: TaskOverview) -> Sheet:
    of_classes = _class_columns(task)
    columns = ("part", "rows", *of_classes.values(), "groups")
    lines = tuple(
        (
            PART_NAMES[part.part],
            f"{part.rows:,}",
            *_class_cells(part, of_classes),
            f"{part.groups:,}",
        )
        for part in task.parts
    )
    return Sheet("rows", columns, lines, frozenset(columns[1:]), tuple(sentences(task)))


def _class_columns(task: TaskOverview) -> Mapping[str, str]:
    """Class -> heading of its column; empty where there are none, or too many."""
    names = dict.fromkeys(name for part in task.parts for name in part.classes or ())
    form = FORMS[task.form]
    if form.texts > 1:
        return {"1": "first is better", "0": "second is better"}
    if not names:
        return {"": "different answers"}
    if len(names) > MOST_CLASSES:
        return {"": f"classes (of {len(names)})"}
    return {name: f"class {name}" for name in names}


def _class_cells(part: PartCounts, columns: Mapping[str, str]) -> list[str]:
    if "" in columns:
        present = [name for name, n in (part.classes or {}).items() if n]
        return [f"{part.answers if part.answers is not None else len(present):,}"]
    if part.classes is None:
        return ["sealed"] * len(columns)
    counts = [part.classes.get(name, 0) for name in columns]
    return [f"{n:,} ({percent(n / part.rows)} %)" if part.rows else "0" for n in counts]


def _lengths(task: TaskOverview) -> Sheet:
    several = len({lengths.what for lengths in task.lengths}) > 1
    columns = (
        *("models", *(["of"] if several else []), "limit", "shortest", "median", "95 % up to"),
        *("longest", "truncated", "histogram"),
    )
    lines = tuple(
        (
            ", ".join(each.models),
            *([each.what] if several else []),
            *(f"{n:,}" for n in (each.limit, each.shortest, each.median, each.most_95)),
            f"{each.longest:,}",
            f"{percent(each.truncated)} %",
            histogram(each),
        )
        for each in task.lengths
    )
    notes = ["bars: texts from the shortest to the longest, in equal steps of tokens"]
    if guessed := [name for each in task.lengths if not each.counted for name in each.models]:
        notes.append(
            f"estimated from words for {', '.join(dict.fromkeys(guessed))}, without a "
            "tokenizer.json on this machine"
        )
    texts = " and ".join(dict.fromkeys(f"{each.texts:,} {each.what}" for each in task.lengths))
    left = frozenset(("models", "of", "histogram"))
    return Sheet(f"tokens of {texts}", columns, lines, frozenset(columns) - left, tuple(notes))


def _baselines(task: TaskOverview) -> Sheet:
    lines = tuple(
        (each.name, NONE if each.accuracy is None else f"{percent(each.accuracy)} %", each.how)
        for each in task.baselines
    )
    columns = ("baseline", f"{PART_NAMES[task.measured_on]} accuracy", "how")
    return Sheet("without a model", columns, lines, frozenset(columns[1:2]), (measured(task),))


def _weak_labels(weak: Sequence[WeakLabels]) -> Sheet:
    columns = ("supervisor", "seeds", "class 1", "spread", "mean |p − 0.5|")
    lines = tuple(
        (
            each.model,
            str(each.fits),
            NONE if each.class_1 is None else f"{percent(each.class_1)} %",
            number(each.spread),
            number(each.distance),
        )
        for each in weak
    )
    low = [
        f"{e.model}: weak labels lie close together ({e.low_contrast})"
        for e in weak
        if e.low_contrast
    ]
    title = "weak labels of the student half (spread: standard deviation of P(class 1))"
    return Sheet(title, columns, lines, frozenset(columns[1:]), tuple(low))


def _of_row(row: ShownRow) -> str:
    label = f", {row.label}" if row.label is not None else ""
    return f"{PART_NAMES[row.part]}, {row.id}{label}"


def _of_text(text: ShownText) -> str:
    length = f", {text.length:,} tokens" if text.length is not None else ""
    return f"{text.name}{length}{', read from its end only' if text.truncated else ''}"


def _blocks(text: ShownText) -> list[str]:
    """A text, and its tokens where they were asked for."""
    blocks = [passage(text.text, most=LONGEST_TEXT)]
    if text.tokens is not None:
        blocks.append(f"tokens: {passage(' '.join(text.tokens), most=LONGEST_TEXT)}")
    return blocks


def _read_as(task: TaskOverview) -> str:
    if task.shown_to is None:
        return "first rows of each class; they have no texts"
    return f"first rows of each class, as {task.shown_to} reads them"
