"""Checks of a plan's fits against their models' files: layers, adapters, head, answers, words.

Owns the checks that are possible with the files on this machine. The others are made when a model
is loaded, before it is trained.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from string import ascii_uppercase
from typing import Any

from w2s_ray.config import (
    FORMS,
    FitRecipe,
    LastLayersTuning,
    LoraTuning,
    ModelSource,
    Prompt,
    Training,
    branches,
)
from w2s_ray.config.merge import with_settings
from w2s_ray.config.space import Space
from w2s_ray.config.tuning import base_of, check_package
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_from_config
from w2s_ray.data.folders import ModelFiles, model_files
from w2s_ray.data.inputs import Inputs
from w2s_ray.data.prompt_words import check_words
from w2s_ray.data.skeletons import lacks_head
from w2s_ray.errors import InputError
from w2s_ray.plan.graph import Plan

_SHOWN = 12
"""Largest number of modules in a message."""


def check_models(plan: Plan) -> None:
    """Refuse fits with settings that their models don't support.

    Raises:
        InputError: names the setting, the model and what the model has.
    """
    known: dict[str, _Known] = {}
    seen: set[tuple[Any, ...]] = set()
    for recipe, source, training in _trained(plan):
        if recipe.prompt is not None:
            _check_words(recipe.prompt, recipe.split, plan.inputs)
        key = (source.identity, recipe.model, recipe.form, recipe.split, training, recipe.prompt)
        if key in seen:
            continue
        seen.add(key)
        if source.identity not in known:
            known[source.identity] = _Known(source, plan.inputs)
        _check(recipe, training, known[source.identity], plan.inputs)


def check_packages(plan: Plan) -> None:
    """Refuse fits whose settings need a package that is missing here.

    Raises:
        InputError: names the setting and the package.
    """
    for _, _, training in _trained(plan):
        check_package(base_of(training.tuning))


class _Known:
    """A model's files and shape, as far as they are on this machine."""

    def __init__(self, source: ModelSource, inputs: Inputs) -> None:
        self.source = source
        self._inputs = inputs

    @cached_property
    def files(self) -> ModelFiles | None:
        return model_files(self.source)

    @cached_property
    def shape(self) -> Architecture | None:
        new = self._inputs.architectures.get(self.source.identity)
        if new is not None:
            found = architecture_from_config(new.config(new.most_tokens))
            return None if isinstance(found, str) else found
        return None if self.files is None else self.files.architecture

    @property
    def layers(self) -> int | None:
        if self.shape is not None:
            return self.shape.layers
        return None if self.files is None else self.files.layers

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that can have an adapter; empty if they aren't known."""
        tensors, head = (self.files.tensors if self.files is not None else {}), ()
        if not tensors and self.shape is not None:
            tensors, head = self.shape.skeleton.tensors, self.shape.skeleton.head
        named = (name.rpartition(".") for name, shape in tensors.items() if len(shape) > 1)
        return (*(module for module, _, leaf in named if leaf == "weight"), *head)

    @property
    def shown(self) -> str:
        """Some of the modules, by the last parts of their names."""
        last = dict.fromkeys(name.rpartition(".")[2] for name in self.modules)
        return ", ".join([name for name in last if not name.isdecimal()][:_SHOWN])


def _trained(plan: Plan) -> Iterator[tuple[FitRecipe, ModelSource, Training]]:
    """Every fit of the plan with its settings, and every cell of a study with those to try."""
    later = (fit.run for fit in plan.later_fits.values() if not fit.searched)
    for fit in (*plan.fits.values(), *later):
        yield fit.recipe, fit.source, fit.recipe.training
    for study in plan.every_study:
        for recipe, source in zip(study.recipe.cells, study.sources, strict=True):
            for training in _tried(recipe.training, study.recipe.space):
                yield recipe, source, training


def _tried(training: Training, space: Space) -> Iterator[Training]:
    """`training` with each kind of tuning and of the model of pairs in `space`, and each bound of
    their settings.
    """
    paths = ("training.tuning", "training.pair_model")
    for way in branches(space):
        fixed = {name: value for name, value in way.fixed.items() if name.startswith(paths)}
        free = {name: found for name, found in way.free.items() if name.startswith(paths)}
        for values in itertools.product(*(found.examples() for found in free.values())):
            chosen = {**fixed, **dict(zip(free, values, strict=True))}
            short = {name.removeprefix("training."): value for name, value in chosen.items()}
            yield with_settings(training, short, where="search")


def _check(recipe: FitRecipe, training: Training, model: _Known, inputs: Inputs) -> None:
    form = FORMS[FORMS[recipe.form].trained_as(training)]
    is_policy = form.name != recipe.form
    language = form.is_language or recipe.prompt is not None
    if is_policy and training.tuning.kind in ("probe", "lp_ft"):
        raise InputError(
            f"training.tuning is {training.tuning.kind} for {model.source.name}, but a policy has "
            "no head of its own to train; choose full, lora or last_layers, or pair_model: reward"
        )
    match training.tuning:
        case LastLayersTuning(layers=layers) if model.layers is not None and layers > model.layers:
            raise InputError(
                f"training.tuning.layers is {layers}, but {model.source.name} has {model.layers} "
                "layers; lower it"
            )
        case LoraTuning(targets=[*targets]) if model.modules:
            _check_targets(targets, model, language=language)
        case LoraTuning(targets=None) if model.shape is not None and model.shape.adapted is None:
            raise InputError(
                f"training.tuning.targets is null, and peft has no default for {model.source.name} "
                f"({model.shape.family}); name modules of [{model.shown}]"
            )
        case _:
            pass
    if language and recipe.model.partition(" chat:")[0] == model.source.identity:
        _check_head(model, needed_by="its policy" if is_policy else "its task")
    if training.choice_scoring == "letter":
        _check_letters(recipe, inputs)
    if recipe.prompt is not None:
        check_words(recipe.prompt.words, model.source)
    if recipe.learns_from_ground_truth:
        _check_answers(recipe, training, model.source, inputs)


def _check_targets(targets: Collection[str], model: _Known, *, language: bool) -> None:
    skeleton = model.shape.skeleton if model.shape is not None else None
    for target in targets:
        found = [n for n in model.modules if n == target or n.endswith(f".{target}")]
        if not found:
            raise InputError(
                f"training.tuning.targets: {target!r} matches no module of {model.source.name}; "
                f"choose from [{model.shown}]"
            )
        if not language or skeleton is None or not skeleton.tied:
            continue
        if any(name.endswith((skeleton.embedding, *skeleton.head)) for name in found):
            raise InputError(
                f"training.tuning.targets: {target} of {model.source.name} is both the embedding "
                "and the language model's head (tie_word_embeddings), and an adapter would change "
                "only one of them; remove it"
            )


def _check_head(model: _Known, *, needed_by: str) -> None:
    files, shape = model.files, model.shape
    if shape is not None and not shape.causal:
        raise InputError(
            f"{model.source.name} is an encoder ({shape.family}), and {needed_by} needs a "
            "causal language model; give one"
        )
    if files is None or shape is None or not files.tensors:
        return
    if lacks_head(files.tensors, shape.skeleton):
        raise InputError(
            f"{model.source.name}: its files have no language model's head "
            f"({shape.skeleton.head[0]}.weight), and config.json doesn't tie it to the "
            "embedding, so it can't generate text; give a causal language model"
        )


def _check_words(prompt: Prompt, split: str, inputs: Inputs) -> None:
    for task, of_task in inputs.splits.items():
        classes = len(of_task.classes) or 2
        known = of_task.fingerprint == split and not of_task.provisional
        if known and len(prompt.words) != classes:
            names = f", in this order: {', '.join(of_task.classes)}" if of_task.classes else ""
            raise InputError(
                f"words has {len(prompt.words)} words ({', '.join(prompt.words)}), but task {task} "
                f"has {classes} classes; give one for each class{names}"
            )


def _check_letters(recipe: FitRecipe, inputs: Inputs) -> None:
    splits = (split for split in inputs.splits.values() if split.fingerprint == recipe.split)
    most = max((split.choices for split in splits), default=1)
    if most > len(ascii_uppercase):
        raise InputError(
            f"training.choice_scoring is letter, but a row has {most} choices, and there are "
            f"{len(ascii_uppercase)} letters; set it to text"
        )


def _check_answers(
    recipe: FitRecipe, training: Training, source: ModelSource, inputs: Inputs
) -> None:
    lengths: Mapping[int, int] = inputs.answers.get((recipe.split, source.identity), {})
    longer = sum(rows for tokens, rows in lengths.items() if tokens > training.answer_tokens)
    if longer:
        raise InputError(
            f"training.answer_tokens is {training.answer_tokens}, but {longer:,} of "
            f"{sum(lengths.values()):,} answers are longer for {source.name} (the longest has "
            f"{max(lengths)} tokens, including the end token); raise it to {max(lengths)}"
        )
