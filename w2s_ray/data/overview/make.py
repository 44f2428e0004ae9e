"""An overview computed from a task's rows.

Owns the counts, the histograms and the choice of the rows to show. With a sealed test no label of
a test row is counted, shown or measured with.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import accumulate

from w2s_ray.config import FORMS, PARTS, Part
from w2s_ray.data.example import Example
from w2s_ray.data.generic import label_order
from w2s_ray.data.lengths import tokens_per_word
from w2s_ray.data.overview.baselines import baselines, training_rows
from w2s_ray.data.overview.reader import (
    ModelUse,
    Reader,
    Readers,
    Text,
    TokenCounts,
    kind,
    plain_texts,
    token_counts,
)
from w2s_ray.data.overview.rows import TaskRows
from w2s_ray.data.overview.values import (
    PartCounts,
    SharedRows,
    ShownRow,
    ShownText,
    TaskOverview,
    TokenLengths,
)

BINS = 16
"""Largest number of bins of a histogram."""


def make_overview(
    rows: TaskRows,
    *,
    models: Sequence[ModelUse],
    sealed: bool,
    shown: int,
    shown_to: str | None = None,
    tokens: bool = False,
    readers: Readers | None = None,
) -> TaskOverview:
    """The overview of a task for the models of a sweep.

    Args:
        sealed: whether the labels of test rows are left out.
        shown: number of rows of each class to show.
        shown_to: the model in whose form rows are shown; by default the first.
        tokens: whether shown texts have their tokens.
    """
    readers = readers or Readers()
    measured_on: Part = "validation" if sealed else "test"
    models = models if FORMS[rows.form].has_texts else ()
    to = next((use for use in models if use.source.name == shown_to), models[0] if models else None)
    return TaskOverview(
        task=rows.task,
        form=rows.form,
        fingerprint=rows.fingerprint,
        from_store=rows.from_store,
        sealed=sealed,
        own_test=rows.own_test,
        parts=tuple(_counts(part, rows, sealed=sealed) for part in PARTS),
        dropped=rows.dropped,
        unused=rows.unused,
        repeated=_repeated(rows.train),
        shared=_shared(rows),
        lengths=_lengths(rows, models, readers),
        baselines=baselines(rows, on=measured_on),
        trained_on=len(training_rows(rows)),
        measured_on=measured_on,
        measured_rows=len(rows.parts[measured_on]),
        rows=_shown(rows, to, readers, count=shown, sealed=sealed, tokens=tokens),
        shown_to=None if to is None else to.source.name,
    )


def _counts(part: Part, rows: TaskRows, *, sealed: bool) -> PartCounts:
    found, form = rows.parts[part], FORMS[rows.form]
    labels = answers = None
    if not (sealed and part == "test"):
        if form.has_two_classes:
            labels = {"0": 0, "1": 0, **Counter(str(row.label) for row in found)}
        elif form.has_several_classes:
            labels = _in_order(Counter(row.answer or "" for row in found))
        else:
            answers = len({row.compared for row in found})
    return PartCounts(part, len(found), len({row.group for row in found}), labels, answers)


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Classes by number, before words."""
    return {name: counts[name] for name in sorted(counts, key=label_order)}


def _repeated(train: Iterable[Example]) -> int:
    counts = Counter(row.folded.content for row in train)
    return counts.total() - len(counts)


def _shared(rows: TaskRows) -> SharedRows:
    train, test = rows.train, rows.parts["test"]
    exact = {row.content for row in train}
    folded = {row.folded.content for row in train}
    return SharedRows(
        exact=sum(row.content in exact for row in test),
        normal_form=sum(row.folded.content in folded for row in test),
        near_copies=rows.near_copies,
        groups=len({row.group for row in train} & {row.group for row in test}),
    )


def _lengths(
    rows: TaskRows, models: Sequence[ModelUse], readers: Readers
) -> tuple[TokenLengths, ...]:
    """One entry for each kind of text and each group of models that read it alike."""
    alike: dict[Hashable, list[ModelUse]] = {}
    for use in models:
        reader = readers.of(use.source)
        reads = tokens_per_word(use.source) if reader is None else reader.key
        alike.setdefault((reads, use.limit, use.answer_tokens), []).append(use)
    example = next(rows.all(), None)
    kinds = {} if example is None else dict.fromkeys(map(kind, plain_texts(example, rows.form)))
    found = []
    for what in kinds:
        for uses in alike.values():
            reader = readers.of(uses[0].source)
            if reader is not None:
                counts = token_counts(rows, reader, what=what)
            else:
                counts = _estimated(rows, what, per_word=tokens_per_word(uses[0].source))
            names = tuple(use.source.name for use in uses)
            limit = _limit(uses[0], what)
            found.append(_summary(counts, what, names, limit, counted=reader is not None))
    return tuple(found)


def _limit(use: ModelUse, what: str) -> int:
    match what:
        case "prompts":
            return max(1, use.limit - use.answer_tokens)
        case "answers":
            return use.answer_tokens
        case _:
            return use.limit


def _estimated(rows: TaskRows, what: str, *, per_word: float) -> TokenCounts:
    texts = (t for row in rows.all() for t in plain_texts(row, rows.form) if kind(t) == what)
    return TokenCounts(Counter(max(1, round(per_word * len(t.text.split()))) for t in texts))


def _summary(
    found: TokenCounts, what: str, models: tuple[str, ...], limit: int, *, counted: bool
) -> TokenLengths:
    """The quantiles and the histogram of lengths."""
    counts = found.lengths
    lengths = sorted(counts)
    ends = list(accumulate(counts[length] for length in lengths))
    texts = ends[-1]

    def at(share: float) -> int:
        """The shortest length that at least this share of the texts doesn't exceed."""
        return lengths[min(bisect_right(ends, share * texts - 1e-9), len(lengths) - 1)]

    shortest, longest = lengths[0], lengths[-1]
    width = -(-(longest - shortest + 1) // BINS)
    edges = (*range(shortest, longest + 1, width), longest + 1)
    bins = Counter[int]()
    for length in lengths:
        bins[(length - shortest) // width] += counts[length]
    return TokenLengths(
        models=models,
        what=what,
        counted=counted,
        texts=texts,
        limit=limit,
        shortest=shortest,
        median=at(0.5),
        most_95=at(0.95),
        longest=longest,
        truncated=sum(n for length, n in counts.items() if length > limit) / texts,
        unknown=found.unknown / sum(length * n for length, n in counts.items()),
        edges=edges,
        counts=tuple(bins[i] for i in range(len(edges) - 1)),
    )


def _shown(
    rows: TaskRows,
    to: ModelUse | None,
    readers: Readers,
    *,
    count: int,
    sealed: bool,
    tokens: bool,
) -> tuple[ShownRow, ...]:
    """The first rows of each class, of the first part with rows whose labels may be shown."""
    parts: list[Part] = [p for p in PARTS if rows.parts[p] and not (sealed and p == "test")]
    if not parts or not count:
        return ()
    by_class: dict[str, list[Example]] = {}
    for row in rows.parts[parts[0]]:
        of_class = by_class.setdefault(_class(row, rows) or "", [])
        if len(of_class) < count:
            of_class.append(row)
    reader = None if to is None else readers.of(to.source)

    def row_of(row: Example) -> ShownRow:
        plain = plain_texts(row, rows.form)
        texts = plain if reader is None else reader.texts(row, rows.form)
        read = tuple(_shown_text(text, to, reader, tokens=tokens) for text in texts)
        return ShownRow(parts[0], row.id, _in_words(_class(row, rows), rows), read)

    classes = _in_order(dict.fromkeys(by_class, 0))
    return tuple(row_of(row) for name in classes for row in by_class[name])


def _class(row: Example, rows: TaskRows) -> str | None:
    """A row's class; None for answers and choices."""
    form = FORMS[rows.form]
    if form.has_two_classes:
        return str(row.label)
    return row.answer if form.has_several_classes else None


def _in_words(label: str | None, rows: TaskRows) -> str | None:
    if label is not None and FORMS[rows.form].texts > 1:
        return "the first is better" if label == "1" else "the second is better"
    return None if label is None else f"class {label}"


def _shown_text(
    text: Text, to: ModelUse | None, reader: Reader | None, *, tokens: bool
) -> ShownText:
    if to is None or reader is None:
        return ShownText(text.name, text.text, None, False, None)
    limit = _limit(to, kind(text))
    read, length = reader.tokens(text, limit=limit)
    return ShownText(text.name, text.text, length, length > limit, read if tokens else None)
