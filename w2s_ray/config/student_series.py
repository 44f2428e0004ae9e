"""The students that a method trains one after the other, of one model, and the labels of each.

Owns the labels under the stages `iterate`, `cosupervised`, `two_stage` and `boosting`. `chain`
makes fits of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from w2s_ray.config.recipe import Labels
from w2s_ray.config.series import BoostingStage, CoSupervisedStage, TwoStageStage
from w2s_ray.config.stages import IterateStage, Stage
from w2s_ray.methods.transforms import Confident, Specialists, StudentLabels, Transform


class Student(NamedTuple):
    """One student of a series."""

    note: str
    """Its place in the series: `layer 2 of 3`; empty if it needs none."""
    labels: Callable[[str], Labels]
    """Id of the student before it -> its labels."""


def transforms_of(stages: Iterable[Stage]) -> tuple[Transform, ...]:
    """The transforms of labels among `stages`, in their order."""
    return tuple(stage for stage in stages if isinstance(stage, Transform))


def with_votes(labels: Labels, stages: Iterable[Stage]) -> Labels:
    """The labels of supervisors; of a boosted series by the votes of its first rounds."""
    for stage in stages:
        if isinstance(stage, BoostingStage):
            runs = labels.runs[: stage.rounds]
            return Labels(source=runs, weighted_by="boosting" if len(runs) > 1 else None)
    return labels


def student_series(stages: Sequence[Stage], first: Labels) -> list[Student]:
    """The students in order; `first` are the supervisors' labels before any transform."""
    transforms = transforms_of(stages)

    def changed(labels: Labels, *own: Transform) -> Labels:
        return labels.model_copy(update={"transforms": (*own, *transforms)})

    for stage in stages:
        match stage:
            case IterateStage(times=times):
                again = Student("", lambda before: changed(Labels(source=(before,))))
                return [Student("", lambda _: changed(first)), *(times * [again])]
            case TwoStageStage():
                return _two_stages(stage, first, changed)
            case CoSupervisedStage():
                return _layers(stage, first, changed)
            case _:
                pass
    return [Student("", lambda _: changed(first))]


def _two_stages(
    stage: TwoStageStage, first: Labels, changed: Callable[..., Labels]
) -> list[Student]:
    """A student of the certain weak labels, and one of these and the first one's certain labels."""
    certain = Confident(above=stage.above)
    completed = StudentLabels(above=stage.above, student_above=stage.student_above)
    return [
        Student("stage 1 of 2", lambda _: changed(first, certain)),
        Student("stage 2 of 2", lambda before: changed(_beside(first, before), completed)),
    ]


def _layers(
    stage: CoSupervisedStage, first: Labels, changed: Callable[..., Labels]
) -> list[Student]:
    """A student for each layer of supervisors, of which `first` has all."""
    ends, count = list(itertools.accumulate(stage.layers)), len(stage.layers)
    assert ends[-1] == len(first.runs), "the plan refuses layers without supervisors"

    def student(number: int, runs: tuple[str, ...]) -> Student:
        layer, specialists = Labels(source=runs), Specialists(top=stage.top)
        note = f"layer {number} of {count}"
        if number == 1:
            return Student(note, lambda _: changed(layer))
        return Student(note, lambda before: changed(_beside(layer, before), specialists))

    sized = zip(stage.layers, ends, strict=True)
    return [student(i, first.runs[end - n : end]) for i, (n, end) in enumerate(sized, start=1)]


def _beside(labels: Labels, student: str) -> Labels:
    """`labels`, with the earlier student's beside them."""
    return labels.model_copy(update={"student": student})
