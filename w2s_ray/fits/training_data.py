"""From a split's rows and its supervisors' predictions to what a form trains on.

Owns what the forms share: the value that they return, tokens with their cache, activations, and
weak labels. Which labels a fit may see is decided in `labels`; each form's own way is in `forms/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from w2s_ray.config import FitRecipe, FormName, ModelSource
from w2s_ray.config.tuning import base_of
from w2s_ray.data.cache import cache_folder
from w2s_ray.data.lengths import note_tokens
from w2s_ray.fits.labels import TEXT, SplitRows, each_of
from w2s_ray.learn.batches import steps_per_epoch
from w2s_ray.learn.chat import has_template, rendered, template_key
from w2s_ray.learn.rows import PairRows, SpanRows
from w2s_ray.learn.tokens import TokenRows, cached_tokens, tokenize, tokens_key
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter
    from w2s_ray.learn.activations import Activations
    from w2s_ray.learn.prompting import PromptRows


@dataclass(frozen=True)
class TrainingData:
    """What a fit trains on, and how many of its part's rows these are."""

    data: Any
    """The data that its form trains on."""
    train_rows: int
    """Rows that are trained on."""
    dropped: int = 0
    """Rows that transforms of labels, or stages that compare completions, dropped."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """More figures of the record."""


def parts_of(recipe: FitRecipe) -> list[str]:
    """The parts that a fit trains on, is stopped by or predicts."""
    return list(dict.fromkeys((recipe.train_on, "validation", *recipe.predicts)))


def column_texts(
    source: ModelSource, rows: SplitRows, part: str, column: str, *, to_answer: bool = False
) -> tuple[Sequence[str | None], bool]:
    """A column of a part as the model reads it, and whether its tokenizer adds special tokens.

    Chat messages are rendered in the model's template, if it has one, which adds them itself.
    """
    texts = (rows.texts if column == TEXT else rows.seconds).get(part, [])
    if part not in rows.chats or not has_template(source):
        return texts, True
    messages = [chat[column] for chat in rows.chats[part] if column in chat]
    return rendered(messages, source=source, to_answer=to_answer), False


def tokenized(
    fit: PlannedFit, rows: SplitRows, part: str, column: str = TEXT, *, less: int = 0
) -> TokenRows:
    """The texts of a part, tokenized once per machine and tokenizer; `less` tokens stay free."""
    source, recipe = fit.source, fit.recipe
    limit = recipe.training.max_tokens
    name = part if column == TEXT else f"{part} {column}"
    key = [recipe.split, name, *read_as(fit, rows), *([less] if less else [])]

    def make() -> TokenRows:
        texts, special = column_texts(source, rows, part, column, to_answer=less > 0)
        known = [text or "" for text in texts]
        return tokenize(known, source=source, max_tokens=limit, less=less, special=special)

    found = cached_tokens(cache_folder() / "tokens", key, make)
    if column == TEXT:
        note_tokens(found.lengths, split=recipe.split, part=part, source=source, max_tokens=limit)
    return found


def pretrained_activations(
    store: Store,
    fit: PlannedFit,
    rows: SplitRows,
    parts: Mapping[str, TokenRows | PairRows],
    *,
    control: Reporter | None = None,
) -> dict[str, Activations]:
    """Part -> the activations that the model which `fit` starts from has of all its rows.

    They are computed once for all fits of the store.
    """
    from w2s_ray.learn.activations import activations

    compute = partial(activations, form=fit.recipe.form)
    return _computed_once(store, fit, rows, parts, compute, form=fit.recipe.form, control=control)


def reference_log_probabilities(
    store: Store,
    fit: PlannedFit,
    rows: SplitRows,
    parts: Mapping[str, SpanRows],
    *,
    control: Reporter | None = None,
) -> dict[str, Activations]:
    """Part -> the log-probabilities that the model which `fit` starts from gives the two texts of
    each pair.

    They are computed once for all fits of the store.
    """
    from w2s_ray.learn.forms.policies import reference

    form = fit.recipe.trained_form
    return _computed_once(store, fit, rows, parts, reference, form=form, control=control)


def known_word_logits(
    store: Store,
    fit: PlannedFit,
    rows: SplitRows,
    parts: Mapping[str, PromptRows],
    *,
    control: Reporter | None = None,
) -> dict[str, Activations]:
    """Part -> `word_logits` of its prompts, which have no examples.

    They are computed once for all fits of the store.
    """
    from w2s_ray.learn.prompting import word_logits

    prompt = fit.recipe.prompt
    assert prompt is not None
    about = {"prompt": prompt.question, "words": prompt.words}
    return _computed_once(
        store, fit, rows, parts, word_logits, form="text", control=control, about=about
    )


def _computed_once(
    store: Store,
    fit: PlannedFit,
    rows: SplitRows,
    parts: Mapping[str, Any],
    compute: Callable[..., Iterator[tuple[str, Activations]]],
    *,
    form: FormName,
    control: Reporter | None,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Activations]:
    """Part -> what the store has of the model which `fit` starts from, or else `compute` gives.

    `about` is what decides the numbers besides model, rows and precision.
    """
    from w2s_ray.fits.stored_activations import stored_activations

    recipe, execution = fit.recipe, fit.execution
    training = recipe.training

    def make(missing: Iterable[str], on_pass: Callable[[], None]) -> Any:
        return compute(
            {part: parts[part] for part in missing},
            source=fit.source,
            training=training,
            execution=execution,
            on_pass=on_pass,
        )

    what = {
        "split": recipe.split,
        "form": form,
        "model": recipe.model,
        "tokens": read_as(fit, rows),
        "max_tokens": training.max_tokens,
        "precision": training.precision,
        **about,
    }
    base = base_of(training.tuning)
    if base is not None:
        what["base"] = base
    steps = steps_per_epoch(len(rows.ids[recipe.train_on]), training.batch_size)
    epochs = training.epochs if recipe.prompt is None else 0
    return stored_activations(
        store,
        what,
        parts,
        make,
        execution=execution,
        total_steps=epochs * steps,
        control=control,
    )


def read_as(fit: PlannedFit, rows: SplitRows) -> list[str]:
    """What decides the tokens of a text: the tokenizer, the limit, and a template for messages."""
    key = [tokens_key(fit.source, max_tokens=fit.recipe.training.max_tokens)]
    if rows.chats and has_template(fit.source):
        key.append(template_key(fit.source))
    return key


def weak_labels(store: Store, recipe: FitRecipe) -> Mapping[tuple[str, str], float] | None:
    """(part, example id) -> its supervisors' probability of class 1, their mean."""
    return _mean_of_supervisors(store, recipe, "probability", fmean)


def weak_distributions(
    store: Store, recipe: FitRecipe
) -> Mapping[tuple[str, str], Sequence[float]] | None:
    """(part, example id) -> its supervisors' probability of each class or choice, their mean."""

    def mean(each: Sequence[Sequence[float]]) -> Sequence[float]:
        return [fmean(of_class) for of_class in zip(*each, strict=True)]

    return _mean_of_supervisors(store, recipe, "probabilities", mean)


def _mean_of_supervisors(
    store: Store, recipe: FitRecipe, column: str, mean: Callable[[Sequence[Any]], Any]
) -> dict[tuple[str, str], Any] | None:
    """The mean of one column of the supervisors' predictions, for the rows that all have."""
    if not recipe.labels.runs:
        return None
    first, *others = (stored_predictions(store, run, column) for run in recipe.labels.runs)
    return {
        row: mean([given, *(other[row] for other in others)])
        for row, given in first.items()
        if all(row in other for other in others)
    }


def each_weak_labels(
    store: Store, recipe: FitRecipe, *, column: str = "probability"
) -> list[dict[tuple[str, str], Any]]:
    """The predictions of each fit that the recipe's labels or weights need one by one.

    (part, example id) -> probability of class 1, or of each class.
    """
    return [stored_predictions(store, run, column) for run in each_of(recipe)]


def own_answers(
    store: Store, recipe: FitRecipe, *, column: str = "probability"
) -> Mapping[tuple[str, str], Any] | None:
    """The prompted strong model's labels; None where no transform needs them.

    (part, example id) -> probability of class 1, or of each class.
    """
    run = recipe.labels.own_answers
    return None if run is None else stored_predictions(store, run, column)


def stored_predictions(store: Store, run: str, column: str) -> dict[tuple[str, str], Any]:
    """(part, example id) -> what a run predicted of it, from one column."""
    table = store.predictions(run)
    columns = [table.column(name).to_pylist() for name in ("part", "example_id", column)]
    return {(part, row): value for part, row, value in zip(*columns, strict=True)}
