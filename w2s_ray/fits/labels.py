"""Which labels a fit sees: the one place that chooses between ground truth and weak labels.

Owns the labels of a fit, made from a split's rows and its supervisor's predictions. A student's
training and validation labels are its supervisor's probabilities. Ground truth replaces them on
validation only if the recipe says `oracle`. It reaches no transform but one that simulates a
supervisor, whose students the table shows as oracles, and one that declares a slice of it, which
gets the classes of these rows. Ground truth for reported figures goes to the
metrics recorder, from which nothing flows back into training.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from w2s_ray.config import PARTS, FitRecipe, Labels, Part
from w2s_ray.data.generic import label_order
from w2s_ray.data.right import Truth
from w2s_ray.errors import InputError
from w2s_ray.methods.boosting import boosted
from w2s_ray.methods.transforms.known_rows import KnownRows, TruthSlice
from w2s_ray.methods.transforms.transform import GroundTruth, LabelledRows, Transform

TEXT, LABEL, PART, ID, GROUP = "text", "label", "part", "example_id", "group"
SECOND, ANSWER, CHAT, CHOICES, WEIGHT = "second", "answer", "chat", "choices", "weight"
EXTRACTED = "extracted"

_KNOWN = 1
"""Seeds the draw of known rows, besides the fit's seed and their part."""


@dataclass(frozen=True)
class SplitRows:
    """A split's rows by part, in their order; a part without rows is not there."""

    ids: Mapping[str, list[str]]
    texts: Mapping[str, list[str]]
    seconds: Mapping[str, list[str | None]]
    """The second text of each pair."""
    groups: Mapping[str, list[str | None]]
    """Group of each row; rows without one are each for themselves."""
    chats: Mapping[str, list[dict[str, Any]]]
    """The messages of each row's `text`, and of its `second`; empty where texts are no messages."""
    truth: Mapping[str, Truth]
    """Ground truth of each row."""
    choices: Mapping[str, list[tuple[str, ...]]] = field(default_factory=dict)
    """The choices of each row; empty where rows have none."""
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The weight of each training row, float64; empty where the task has no weights."""

    @classmethod
    def of(cls, table: object) -> SplitRows:
        """From the store's Arrow table of a split."""
        part_of = table.column(PART).to_pylist()  # type: ignore[attr-defined]

        def by_part(name: str) -> dict[str, list[Any]]:
            found: dict[str, list[Any]] = {}
            values = table.column(name).to_pylist()  # type: ignore[attr-defined]
            for part, value in zip(part_of, values, strict=True):
                found.setdefault(part, []).append(value)
            return found

        labels, answers = by_part(LABEL), by_part(ANSWER)
        extracted = by_part(EXTRACTED)
        has_choices = CHOICES in table.column_names  # type: ignore[attr-defined]
        choices = by_part(CHOICES) if has_choices else {}
        has_weights = WEIGHT in table.column_names  # type: ignore[attr-defined]
        weights = by_part(WEIGHT) if has_weights else {}
        has_chat = CHAT in table.column_names  # type: ignore[attr-defined]
        return cls(
            ids=by_part(ID),
            texts=by_part(TEXT),
            seconds=by_part(SECOND),
            groups=by_part(GROUP),
            chats={p: list(map(json.loads, each)) for p, each in by_part(CHAT).items()}
            if has_chat
            else {},
            truth={part: _truth(labels[part], answers[part], extracted[part]) for part in labels},
            choices={p: list(map(tuple, each)) for p, each in choices.items() if None not in each},
            weights={p: np.asarray(w, np.float64) for p, w in weights.items() if None not in w},
        )

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of several classes, of all parts together: numbers by value, before words."""
        names = {name for truth in self.truth.values() for name in truth.answers or ()}
        return tuple(sorted(names, key=label_order))

    @cached_property
    def width(self) -> int:
        """Classes of a label: two, the several ones, or the largest number of choices of a row."""
        if self.choices:
            return max(len(row) for rows in self.choices.values() for row in rows)
        return len(self.classes) or 2


def _truth(
    labels: list[int | None], answers: list[str | None], extracted: list[str | None]
) -> Truth:
    return Truth(
        None if None in labels else np.asarray(labels, dtype=np.int64),
        None if None in answers else tuple(map(str, answers)),
        None if None in extracted else tuple(map(str, extracted)),
    )


WeakLabels = Mapping[tuple[str, str], float | Sequence[float]]
"""(part, example id) -> a probability of class 1, or of each of several classes or choices."""

Activate = Callable[[Part, np.ndarray], np.ndarray]
"""Part, places of rows -> a model's activations of them, or its class probabilities."""


@dataclass(frozen=True)
class Supervisor:
    """The only supervisor of a fit, for transforms that read it."""

    activate: Activate
    label: Activate
    """Its labels of rows that its stored predictions lack."""


@dataclass(frozen=True)
class Targets:
    """The labels that a fit may learn from and be stopped by: class probabilities, float32.

    Of rows with fewer choices than others the last ones are 0.
    """

    train_NC: np.ndarray
    validation_MC: np.ndarray
    rows_N: np.ndarray
    """Places in the training part of the rows that are trained on, int64."""
    dropped: int
    """Rows that transforms dropped."""
    train_KNC: np.ndarray | None = None
    """The training labels of each of several supervisors, if these are the fit's labels."""
    weights_N: np.ndarray | None = None
    """How much each training row counts, float32 with mean 1; None = all alike."""


def targets(
    recipe: FitRecipe,
    rows: SplitRows,
    *,
    weak: WeakLabels | None,
    each: Sequence[WeakLabels] = (),
    activate: Activate | None = None,
    supervisor: Supervisor | None = None,
    own_answers: WeakLabels | None = None,
) -> Targets:
    """The labels of `recipe`'s training rows and of validation.

    `weak` are the labels of the supervisors together, and `each` those of each fit of
    `each_of(recipe)`. The rest is for transforms that need it: `activate` gives the pretrained
    model's activations, `supervisor` is what they may read of the supervisor, and `own_answers` are
    the prompted strong model's. Only transforms with `labels_validation` change the labels of
    validation rows.

    Raises:
        InputError: a row that the supervisor did not label, or transforms that leave no row.
    """
    part = recipe.train_on
    sliced_N = _drawn(recipe, slice_rows(rows.groups[part], recipe))
    if recipe.learns_from_ground_truth:
        boosts_N = None
        if recipe.boosted_after:
            wrong_MN = _errors(rows, part, each, recipe.boosted_after)
            boosts_N = boosted(wrong_MN, classes=rows.width)[1]
        true_NC, true_MC = _true(rows, part), _true(rows, "validation")
        return _untransformed(true_NC, true_MC, rows, part, sliced_N, boosts_N=boosts_N)
    if recipe.labels.source == "random":
        drawn_NC, drawn_MC = (_random(recipe, rows, one) for one in (part, "validation"))
        return _untransformed(drawn_NC, drawn_MC, rows, part, sliced_N)
    every = recipe.labels.transforms
    student = _Student(recipe, rows, weak or {}, each, own_answers, activate, supervisor)
    made = _transformed(every, student, part, sliced_N)
    dropped = len(sliced_N) - len(made.rows_N)
    if recipe.early_stopping is not None and recipe.early_stopping.oracle:
        validation_MC = _true(rows, "validation")
    else:
        of_validation = tuple(transform for transform in every if transform.labels_validation)
        every_M = np.arange(len(rows.ids["validation"]))
        validation_MC = _transformed(
            of_validation, student, "validation", every_M, validates=True
        ).labels_NC
    return Targets(
        made.labels_NC,
        validation_MC,
        sliced_N[made.rows_N],
        dropped,
        train_KNC=made.labels_KNC,
        weights_N=_scaled(made.weights_N),
    )


def _untransformed(
    labels_NC: np.ndarray,
    labels_MC: np.ndarray,
    rows: SplitRows,
    part: Part,
    among_N: np.ndarray,
    *,
    boosts_N: np.ndarray | None = None,
) -> Targets:
    """Labels of all rows of the training part and of validation, for the rows `among_N`.

    `boosts_N` are weights of the part's rows, besides the task's.
    """
    weights_N = _weights(rows, part, among_N)
    if boosts_N is not None:
        weights_N = boosts_N[among_N] * (1 if weights_N is None else weights_N)
    weights_N = _scaled(weights_N)
    return Targets(labels_NC[among_N], labels_MC, among_N, dropped=0, weights_N=weights_N)


def _weights(rows: SplitRows, part: Part, among_N: np.ndarray) -> np.ndarray | None:
    """The task's weights of rows of a part, at most 1, float32; None without any."""
    if part not in rows.weights:
        return None
    weights_N = rows.weights[part][among_N]
    return (weights_N / (weights_N.max(initial=0) or 1)).astype(np.float32)


def each_of(recipe: FitRecipe) -> tuple[str, ...]:
    """Ids of the fits whose predictions `targets` gets one by one.

    They are the supervisors, where a loss, a transform or votes need each one's labels, and after
    them an earlier student; or the earlier rounds of the boosted series of a supervisor.
    """
    if recipe.boosted_after:
        return recipe.boosted_after
    labels = recipe.labels
    takers = (recipe.loss, *labels.transforms)
    needed = labels.weighted_by or any(each.takes_each_supervisor for each in takers)
    return (*(labels.runs if needed else ()), *filter(None, [labels.student]))


def _errors(
    rows: SplitRows, part: Part, each: Sequence[WeakLabels], runs: Sequence[str]
) -> np.ndarray:
    """wrong_KN: on which rows of a part each of these fits errs."""
    truth_N = _true(rows, part).argmax(axis=1)
    found = [_weak(rows, part, one, (run,)) for one, run in zip(each, runs, strict=True)]
    return np.stack([labels_NC.argmax(axis=1) != truth_N for labels_NC in found])


def _scaled(weights_N: np.ndarray | None) -> np.ndarray | None:
    """Weights with mean 1, so that the learning rate means the same as without.

    Raises:
        InputError: all of them are 0.
    """
    if weights_N is None:
        return None
    mean = weights_N.mean(dtype=np.float64)
    if mean == 0:
        raise InputError("all training rows have weight 0; weigh some of them higher")
    return (weights_N / mean).astype(np.float32)


@dataclass(frozen=True)
class Completion:
    """A model's completion of a row's prompt."""

    text: str
    answer: str | None
    """What is compared of it; None = nothing was extracted."""
    share: float | None = None
    """The share of the row's samples with this answer; None = it was not sampled."""


Completed = Mapping[tuple[str, str], Completion]
"""(part, example id) -> a model's completion."""


@dataclass(frozen=True)
class Answers:
    """The answers that a fit may learn from and be stopped by."""

    train: list[str]
    """Texts that are trained on."""
    validation: list[str]
    rows_N: np.ndarray
    """Places in the training part of the rows of these texts, int64; a row may have two."""
    dropped: int = 0
    """Rows that have none."""


def answers(
    recipe: FitRecipe, rows: SplitRows, *, weak: Completed | None, own: Completed | None = None
) -> Answers:
    """The answers to `recipe`'s training rows and to validation.

    `weak` are the supervisor's completions, `own` those of the fit that it has to agree with.

    Raises:
        InputError: a row that was not completed, or no row is left.
    """
    part, labels = recipe.train_on, recipe.labels
    sliced_N = slice_rows(rows.groups[part], recipe)
    every_M = np.arange(len(rows.ids["validation"]))

    def true(part: Part, among_N: np.ndarray) -> list[str]:
        found = rows.truth[part].answers
        assert found is not None, "the split has no answers"
        return [found[i] for i in among_N]

    def validation(known: list[str]) -> list[str]:
        oracle = recipe.early_stopping is not None and recipe.early_stopping.oracle
        return true("validation", every_M) if oracle else known

    if recipe.learns_from_ground_truth:
        return Answers(true(part, sliced_N), true("validation", every_M), sliced_N)
    known_M = _completed(rows, "validation", every_M, weak, runs=labels.runs)
    weak_N = _completed(rows, part, sliced_N, weak, runs=labels.runs)
    both_N: list[tuple[Completion, ...]] = [(one,) for one in weak_N]
    kept = [one.share is None or one.share >= labels.least_share for one in weak_N]
    sure = sum(kept)
    if labels.agreed_with is not None:
        own_N = _completed(rows, part, sliced_N, own, runs=(labels.agreed_with,))
        both_N = list(zip(weak_N, own_N, strict=True))
        agree = [one.answer is not None and one.answer == o.answer for one, o in both_N]
        kept = [a and b for a, b in zip(kept, agree, strict=True)]
    if not any(kept):
        raise InputError(_none_left(labels, of=len(kept), sure=sure))
    texts = [
        (place, text)
        for place, each, keep in zip(sliced_N, both_N, kept, strict=True)
        if keep
        for text in _learned(each, labels)
    ]
    return Answers(
        [text for _, text in texts],
        validation([one.text for one in known_M]),
        np.asarray([place for place, _ in texts], np.int64),
        dropped=len(kept) - sum(kept),
    )


def _completed(
    rows: SplitRows,
    part: Part,
    among_N: np.ndarray,
    known: Completed | None,
    *,
    runs: Sequence[str],
) -> list[Completion]:
    try:
        return [(known or {})[part, rows.ids[part][i]] for i in among_N]
    except KeyError as missing:
        raise _unlabelled(missing, runs) from None


def _learned(each: Sequence[Completion], labels: Labels) -> list[str]:
    """The texts of a row that are learned, of its weak and, if there is one, its strong completion.

    Equal ones are learned once.
    """
    texts = [one.text for one in each]
    match labels.learned:
        case "weak":
            return texts[:1]
        case "strong":
            return texts[-1:]
        case "both":
            return list(dict.fromkeys(texts))


def _none_left(labels: Labels, *, of: int, sure: int) -> str:
    if not sure:
        return (
            f"self_consistency leaves none of {of:,} rows: no answer has a share of "
            f"{labels.least_share:g} of the samples; lower share"
        )
    return (
        f"agreed_answers leaves none of {sure:,} rows: the strong model (run {labels.agreed_with}) "
        "never has the supervisor's answer; give it more shots, check `extract` of the task, or "
        "use a stronger model"
    )


def slice_rows(groups: Sequence[str | None], recipe: FitRecipe) -> np.ndarray:
    """Places of the rows of the recipe's slice, int64: whole groups, slices of nearly equal size.

    Groups are drawn by the split, the same for all fits, so that its slices are disjoint.
    """
    if recipe.train_slice is None:
        return np.arange(len(groups))
    index, count = recipe.train_slice
    names = [group if group is not None else f"row {i}" for i, group in enumerate(groups)]
    sizes = Counter(names)
    order = list(sizes)
    if recipe.slices == "drawn":
        seed = int.from_bytes(hashlib.sha256(recipe.split.encode()).digest()[:8], "big")
        order = [order[i] for i in np.random.default_rng(seed).permutation(len(order))]
    before, slice_of = 0, dict[str, int]()
    for name in order:
        slice_of[name] = min(before * count // len(names), count - 1)
        before += sizes[name]
    return np.asarray([i for i, name in enumerate(names) if slice_of[name] == index], np.int64)


def _drawn(recipe: FitRecipe, places_N: np.ndarray) -> np.ndarray:
    """The places of the rows that are trained on, in their order.

    They are drawn, because the first and the last rows of a balanced part are mostly of one class.
    """
    if recipe.one_row_in is None:
        return places_N
    count = max(1, len(places_N) // recipe.one_row_in)
    random = np.random.default_rng(_seed(recipe, recipe.train_on))
    return np.sort(random.choice(places_N, size=count, replace=False))


@dataclass(frozen=True)
class _Student:
    """A fit that learns weak labels, and all that the transforms of its labels may read."""

    recipe: FitRecipe
    rows: SplitRows
    weak: WeakLabels
    each: Sequence[WeakLabels]
    own_answers: WeakLabels | None
    activate: Activate | None
    supervisor: Supervisor | None

    def labelled(self, part: Part, among_N: np.ndarray) -> LabelledRows:
        """The rows `among_N` of a part with their weak labels, before any transform."""
        rows, supervisor = self.rows, self.supervisor

        def truth() -> GroundTruth:
            both = zip(rows.texts[part], rows.seconds[part], strict=True)
            words = np.asarray([len(f"{text} {second or ''}".split()) for text, second in both])
            truth_N = _true(rows, part).argmax(axis=1)
            return GroundTruth(truth_N[among_N], words[among_N])

        def groups() -> np.ndarray:
            names = rows.groups[part]
            numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
            return np.asarray([-1 if g is None else numbers[g] for g in names], np.int64)[among_N]

        labels = self.recipe.labels
        of_each = [self._weak(part, among_N, one) for one in self.each]
        student_NC = of_each.pop() if labels.student is not None else None
        each_KNC = np.stack(of_each) if of_each else None
        if labels.weighted_by == "boosting" and each_KNC is not None:
            wrong_KN = _errors(rows, "supervisor_half", self.each[: len(of_each)], labels.runs)
            votes_K, _ = boosted(wrong_KN, classes=rows.width)
            weak_NC = np.average(each_KNC, axis=0, weights=votes_K).astype(np.float32)
        else:
            weak_NC = self._weak(part, among_N, self.weak)
        return LabelledRows(
            weak_NC,
            np.arange(len(among_N)),
            _read(self.activate, part, among_N),
            truth,
            _seed(self.recipe, part),
            all_groups=groups,
            labels_KNC=each_KNC,
            student_NC=student_NC,
            weights_N=_weights(rows, part, among_N),
            all_supervisor_activations=_read(supervisor and supervisor.activate, part, among_N),
            all_own_answers=lambda: self._own(part, among_N),
        )

    def known_rows(self, truth_slice: TruthSlice) -> KnownRows:
        """The rows of a slice of ground truth, with their true classes.

        Raises:
            InputError: its part has fewer rows.
        """
        rows, supervisor, part = self.rows, self.supervisor, truth_slice.of
        ids = rows.ids.get(part, [])
        truth_slice.check(available=len(ids))
        random = np.random.default_rng((*_seed(self.recipe, part), _KNOWN))
        drawn_S = np.sort(random.choice(len(ids), size=truth_slice.rows, replace=False))

        def labels() -> np.ndarray:
            if all((part, ids[i]) in self.weak for i in drawn_S):
                return self._weak(part, drawn_S, self.weak)
            return _read(supervisor and supervisor.label, part, drawn_S)()  # its own half

        return KnownRows(
            _true(rows, part)[drawn_S].argmax(axis=1),
            labels,
            _read(self.activate, part, drawn_S),
            _read(supervisor and supervisor.activate, part, drawn_S),
            lambda: self._own(part, drawn_S),
        )

    def _weak(self, part: Part, among_N: np.ndarray, labels: WeakLabels) -> np.ndarray:
        return _weak(self.rows, part, labels, self.recipe.labels.runs, among_N=among_N)

    def _own(self, part: Part, among_N: np.ndarray) -> np.ndarray:
        run = self.recipe.labels.own_answers
        assert run is not None, "a transform must declare what it reads"
        assert self.own_answers is not None, "the fit has its own answers"
        return _weak(self.rows, part, self.own_answers, (run,), among_N=among_N)


def _read(model: Activate | None, part: Part, among_N: np.ndarray) -> Callable[[], np.ndarray]:
    """A function that reads rows with `model` at its first call."""

    @cache
    def values() -> np.ndarray:
        assert model is not None, "a transform must declare what it reads"
        return model(part, among_N)

    return values


def _seed(recipe: FitRecipe, part: Part) -> tuple[int, int]:
    return recipe.seed % 2**63, PARTS.index(part)


def _transformed(
    transforms: Sequence[Transform],
    student: _Student,
    part: Part,
    among_N: np.ndarray,
    *,
    validates: bool = False,
) -> LabelledRows:
    """Rows of a part after `transforms`, which see nothing but weak labels and activations.

    A simulated supervisor gets ground truth, and a transform with a slice the classes of its rows.
    Of validation rows none is dropped.
    """
    labelled = made = student.labelled(part, among_N)
    for transform in transforms:
        truth_slice = transform.truth_slice
        given = replace(
            made,
            all_ground_truth=labelled.all_ground_truth if transform.uses_ground_truth else None,
            known=None if truth_slice is None else student.known_rows(truth_slice),
        )
        made = (transform.apply_to_validation if validates else transform.apply)(given)
        if len(made.rows_N) == 0:
            count = len(labelled.rows_N)
            raise InputError(f"{transform!r} leaves none of {count} rows; let it keep more")
    return made


def _weak(
    rows: SplitRows,
    part: Part,
    weak: WeakLabels,
    runs: Sequence[str],
    *,
    among_N: np.ndarray | None = None,
) -> np.ndarray:
    ids = rows.ids[part]
    chosen = ids if among_N is None else [ids[i] for i in among_N]
    try:
        found = [weak[part, row_id] for row_id in chosen]
    except KeyError as missing:
        raise _unlabelled(missing, runs) from None
    if rows.choices:
        return choice_labels(found, width=rows.width)
    given = np.asarray(found, dtype=np.float32)
    return given if given.ndim == 2 else np.stack([1 - given, given], axis=1)


def choice_labels(found: Sequence[Any], *, width: int) -> np.ndarray:
    """Distributions over the choices of each row as one array, float32 [N, width]."""
    labels_NC = np.zeros((len(found), width), np.float32)
    for label_C, each in zip(labels_NC, found, strict=True):
        label_C[: len(each)] = each
    return labels_NC


def _unlabelled(missing: KeyError, runs: Sequence[str]) -> InputError:
    return InputError(
        f"supervisor {' or '.join(runs)} has no label for {missing.args[0]}; its "
        "predictions are incomplete: delete its folder in the store and run again"
    )


def _true(rows: SplitRows, part: Part) -> np.ndarray:
    """Ground truth of a part as class probabilities, float32 [N, C]."""
    truth = rows.truth[part]
    if truth.labels_N is not None:
        return np.eye(2, dtype=np.float32)[truth.labels_N]
    assert truth.answers is not None, "the split has no classes"
    if rows.choices:
        both = zip(rows.choices[part], truth.answers, strict=True)
        places = [choices.index(answer) for choices, answer in both]
    else:
        place = {name: i for i, name in enumerate(rows.classes)}
        places = [place[answer] for answer in truth.answers]
    return np.eye(rows.width, dtype=np.float32)[places]


def _random(recipe: FitRecipe, rows: SplitRows, part: Part) -> np.ndarray:
    """A random class or choice for each row of a part, as class probabilities, float32 [N, C]."""
    count = len(rows.ids[part])
    most_N = [len(row) for row in rows.choices[part]] if rows.choices else rows.width
    drawn_N = np.random.default_rng(_seed(recipe, part)).integers(most_N, size=count)
    return np.eye(rows.width, dtype=np.float32)[drawn_N]
