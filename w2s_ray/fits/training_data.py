"""What a fit learns from and predicts: a split's rows as tokens, with labels, by form.

Owns the way from a split's rows and the supervisors' predictions to the loop's data, and the caches
of tokens and activations. Which labels a fit may see is said by `labels`. It knows nothing of
records and of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from w2s_ray.config import FitRecipe, ModelSource, Task
from w2s_ray.data.cache import cache_folder
from w2s_ray.data.example import normal_answer
from w2s_ray.data.lengths import note_tokens
from w2s_ray.fits.features import features
from w2s_ray.fits.labels import (
    SECOND,
    TEXT,
    SplitRows,
    answers,
    slice_rows,
    targets,
)
from w2s_ray.identity import digest
from w2s_ray.learn.chat import has_template, rendered, template_key
from w2s_ray.learn.contract import AnswerData, AnyData, FeatureData, FitData, TextData
from w2s_ray.learn.rows import AnyRows, PairRows, SpanRows
from w2s_ray.learn.tokens import (
    TokenRows,
    cached_tokens,
    check_answers,
    detokenize,
    stop_token,
    tokenize,
    tokenize_answers,
    tokenize_text,
    tokens_key,
)
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.learn.prompting import PromptData


@dataclass(frozen=True)
class TrainingData:
    """What is trained on, and what became of the training part's rows."""

    data: AnyData | FeatureData | PromptData
    """The loop's data, a probe's, or that of prompts."""
    train_rows: int
    """Rows that are trained on."""
    dropped: int = 0
    """Rows that transforms of labels dropped."""


def material(fit: PlannedFit, rows: SplitRows, store: Store) -> TrainingData:
    """What `fit` learns from and predicts.

    Raises:
        ValueError: a row that the supervisor did not label, or labels that its form can't have.
    """
    if fit.recipe.prompt is not None:
        return _prompts(fit, rows, store)
    match fit.recipe.form:
        case "text":
            return _text(fit, rows)
        case "answers":
            return _answers(fit, rows, store)
        case "features":
            return _features(fit, rows, store)
        case _:
            return _two_class(fit, rows, store)


def _two_class(fit: PlannedFit, rows: SplitRows, store: Store) -> TrainingData:
    recipe = fit.recipe
    parts = {part: _texts_or_pairs(fit, rows, part) for part in _parts(recipe)}
    train_on = parts[recipe.train_on]
    labels = targets(
        recipe,
        rows,
        weak=weak_labels(store, recipe),
        activate=lambda part, rows_N: _activations(fit, part, parts[part])[rows_N],
    )
    whole = len(labels.rows_N) == len(train_on)
    data = FitData(
        train=train_on if whole else train_on.take(labels.rows_N),
        train_targets_NC=labels.train_NC,
        validation=parts["validation"],
        validation_targets_MC=labels.validation_MC,
        predict={part: parts[part] for part in recipe.predicts},
    )
    return TrainingData(data, len(labels.rows_N), labels.dropped)


def _prompts(fit: PlannedFit, rows: SplitRows, store: Store) -> TrainingData:
    """Questions, with examples from the training part as far as the labels allow to see it."""
    from w2s_ray.learn.prompting import PromptData, asked, context

    recipe, prompt = fit.recipe, fit.recipe.prompt
    assert prompt is not None
    assert recipe.form == "classes", "the plan refuses prompts on other forms"
    labels = targets(recipe, rows, weak=weak_labels(store, recipe))
    texts = [rows.texts[recipe.train_on][i] for i in labels.rows_N]
    before = context(prompt, texts, labels.train_NC, seed=recipe.seed)
    limit = recipe.training.max_tokens
    parts = {
        part: asked(prompt, before, rows.texts[part], source=fit.source, max_tokens=limit)
        for part in dict.fromkeys(("validation", *recipe.predicts))
    }
    return TrainingData(PromptData(parts, labels.validation_MC), prompt.shots, labels.dropped)


def _answers(fit: PlannedFit, rows: SplitRows, store: Store) -> TrainingData:
    recipe, source = fit.recipe, fit.source
    most, part = recipe.training.answer_tokens, recipe.train_on
    wanted = answers(recipe, rows, weak=weak_answers(store, recipe))
    if recipe.learns_from_ground_truth:
        check_answers([*wanted.train, *wanted.validation], source=source, most=most)
    # A prompt loses its beginning where it leaves no room for the longest completion.
    prompts = {name: _tokens(fit, rows, name, less=most) for name in _parts(recipe)}

    def spans(asked: TokenRows, texts: Sequence[str]) -> SpanRows:
        told = tokenize_answers(texts, source=source, most=most)
        return SpanRows.of(zip(map(asked.row, range(len(asked))), told, strict=True))

    train = spans(prompts[part].take(wanted.rows_N), wanted.train)
    stop = stop_token(source)
    assert stop is not None, "answers were tokenized without an end"
    data = AnswerData(
        train=train,
        validation=spans(prompts["validation"], wanted.validation),
        validation_answers=tuple(wanted.validation),
        predict={name: prompts[name] for name in dict.fromkeys(("validation", *recipe.predicts))},
        texts=lambda tokens_MK: tuple(
            map(normal_answer, detokenize((row[row >= 0] for row in tokens_MK), source=source))
        ),
        stop_id=stop,
        most=most,
    )
    return TrainingData(data, len(train))


def _text(fit: PlannedFit, rows: SplitRows) -> TrainingData:
    """Running text: of a pair both texts, of a prompt the prompt alone."""
    recipe = fit.recipe
    sliced = slice_rows(rows.groups[recipe.train_on], recipe.train_slice).tolist()

    def spans(part: str, places: Sequence[int] | None = None) -> SpanRows:
        read = [_read_by(fit.source, rows, part, column) for column in (TEXT, SECOND)]
        chosen = range(len(rows.texts.get(part, []))) if places is None else places
        given = [text for i in chosen for texts, _ in read if texts and (text := texts[i])]
        limit, special = recipe.training.max_tokens, read[0][1]
        pieces = tokenize_text(given, source=fit.source, max_tokens=limit, special=special)
        return SpanRows.of((piece[:1], piece[1:]) for piece in pieces)

    data = TextData(
        train=spans(recipe.train_on, sliced),
        validation=spans("validation"),
        predict={part: spans(part) for part in recipe.predicts if part != "validation"},
    )
    return TrainingData(data, len(sliced))


def _features(fit: PlannedFit, rows: SplitRows, store: Store) -> TrainingData:
    recipe = fit.recipe
    assert fit.execution.workers == 1, "the plan refuses sharded probes"
    task = Task.model_validate(store.splits.about(recipe.split)["declaration"])
    made = {
        part: features(fit, task, part, rows.ids[part], contents=rows.texts[part])
        for part in _parts(recipe)
    }
    labels = targets(
        recipe,
        rows,
        weak=weak_distributions(store, recipe),
        activate=lambda part, rows_N: made[part][rows_N],
    )
    data = FeatureData(
        classes=rows.classes,
        train_ND=made[recipe.train_on][labels.rows_N],
        train_targets_NC=labels.train_NC,
        validation_MD=made["validation"],
        validation_targets_MC=labels.validation_MC,
        predict={part: made[part] for part in recipe.predicts},
    )
    return TrainingData(data, len(labels.rows_N), labels.dropped)


def _parts(recipe: FitRecipe) -> list[str]:
    return list(dict.fromkeys((recipe.train_on, "validation", *recipe.predicts)))


def _texts_or_pairs(fit: PlannedFit, rows: SplitRows, part: str) -> TokenRows | PairRows:
    first = _tokens(fit, rows, part)
    return (
        first if fit.recipe.form != "pairs" else PairRows(first, _tokens(fit, rows, part, SECOND))
    )


def _read_by(
    source: ModelSource, rows: SplitRows, part: str, column: str, *, to_answer: bool = False
) -> tuple[Sequence[str | None], bool]:
    """A column of a part as the model reads it, and whether its tokenizer adds special tokens.

    Chat messages are in the model's template, which has them already, if it has a template.
    """
    texts = (rows.texts if column == TEXT else rows.seconds).get(part, [])
    if part not in rows.chats or not has_template(source):
        return texts, True
    messages = [chat[column] for chat in rows.chats[part] if column in chat]
    return rendered(messages, source=source, to_answer=to_answer), False


def _tokens(
    fit: PlannedFit, rows: SplitRows, part: str, column: str = TEXT, *, less: int = 0
) -> TokenRows:
    """The texts of a part, tokenized once per machine and tokenizer; `less` is for an answer."""
    source, recipe = fit.source, fit.recipe
    limit = recipe.training.max_tokens
    name = part if column == TEXT else f"{part} {column}"
    key = [recipe.split, name, tokens_key(source, max_tokens=limit), *([less] if less else [])]
    if rows.chats and has_template(source):
        key.append(template_key(source))

    def make() -> TokenRows:
        texts, special = _read_by(source, rows, part, column, to_answer=less > 0)
        given = [text or "" for text in texts]
        return tokenize(given, source=source, max_tokens=limit, less=less, special=special)

    found = cached_tokens(cache_folder() / "tokens", key, make)
    if column == TEXT:
        note_tokens(found.lengths, split=recipe.split, part=part, source=source, max_tokens=limit)
    return found


def _activations(fit: PlannedFit, part: str, rows: AnyRows) -> Any:
    """The pretrained model's activations of a whole part, once per machine."""
    from w2s_ray.learn.activations import activations, cached

    recipe = fit.recipe
    told = [recipe.split, part, recipe.model]
    key = digest([*told, recipe.training.max_tokens, recipe.training.precision])
    assert not isinstance(rows, SpanRows)
    return cached(
        cache_folder() / "activations" / f"{key[:32]}.npy",
        lambda: activations(
            rows, source=fit.source, training=recipe.training, execution=fit.execution
        ),
    )


def weak_labels(store: Store, recipe: FitRecipe) -> Mapping[tuple[str, str], float] | None:
    """(part, example id) -> its supervisors' probability of class 1, their mean."""
    if not recipe.labels.runs:
        return None
    given: dict[tuple[str, str], list[float]] = {}
    for supervisor in recipe.labels.runs:
        for row, p in _predictions(store, supervisor, "probability").items():
            given.setdefault(row, []).append(p)
    every = len(recipe.labels.runs)
    return {row: fmean(ps) for row, ps in given.items() if len(ps) == every}


def weak_distributions(
    store: Store, recipe: FitRecipe
) -> Mapping[tuple[str, str], Sequence[float]] | None:
    """(part, example id) -> its supervisors' probability of each class, their mean."""
    if not recipe.labels.runs:
        return None
    given: dict[tuple[str, str], list[Sequence[float]]] = {}
    for supervisor in recipe.labels.runs:
        for row, each in _predictions(store, supervisor, "probabilities").items():
            given.setdefault(row, []).append(each)
    every = len(recipe.labels.runs)
    return {
        row: [fmean(of_class) for of_class in zip(*found, strict=True)]
        for row, found in given.items()
        if len(found) == every
    }


def weak_answers(store: Store, recipe: FitRecipe) -> Mapping[tuple[str, str], str] | None:
    """(part, example id) -> the supervisor's completion."""
    runs = recipe.labels.runs
    if not runs:
        return None
    assert len(runs) == 1, "the plan refuses ensembles of completions"
    assert not recipe.labels.transforms, "the plan refuses transforms of completions"
    return _predictions(store, runs[0], "answer")


def _predictions(store: Store, run: str, column: str) -> dict[tuple[str, str], Any]:
    table = store.predictions(run)
    columns = [table.column(name).to_pylist() for name in ("part", "example_id", column)]
    return {(part, row): value for part, row, value in zip(*columns, strict=True)}
