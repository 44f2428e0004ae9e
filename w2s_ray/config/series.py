"""Stages that are a series of fits: of supervisors, or of students one after the other.

Owns their settings. `chain` makes fits of the stages, and `w2s_ray.plan` the supervisors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.printable import shown


class BoostingStage(Frozen):
    """Supervisors of the weak model, trained one after the other by boosting, label together.

    In each round the rows of the supervisor's half are weighted by the errors of the rounds before
    it (AdaBoost). The weak label is the mean of the supervisors' probabilities, weighted by the
    votes a = 1/2 (ln((1 - e) / e) + ln(C - 1)), where e is the weight of the rows on which a
    supervisor errs and C the number of classes: EnsemW2S (Agrawal et al. 2024, arXiv 2410.04571),
    for several classes SAMME (Zhu et al. 2009). A round that is no better than chance (e >= 1 -
    1/C) ends the series: it and those after it have no vote. An e below half a row counts as half a
    row, so that a supervisor without errors has a finite vote and leaves the weights as they are.
    The column `weak` shows the pair's own supervisor, the first round alone.
    """

    kind: Literal["boosting"] = "boosting"
    rounds: int = Field(default=3, ge=1, le=100)
    """Supervisors; 1 = the pair's own alone. If a search chooses the number, the largest is
    trained, and a trial uses the first ones. The authors train 10."""


class CoSupervisedStage(Frozen):
    """Layers of supervisors teach a series of students; each row has one supervisor in each layer.

    Co-supervised learning (Liu and Alahi 2024, arXiv 2402.15505). The first layer is the pair's own
    supervisor, the others are those of the stage `ensemble`, in its order: first `supervisors`,
    then `seeds`. In each layer after the first, a new student learns each row from the supervisor k
    with the least KL(student before || label_k). The share of rows whose class is among the `top`
    classes of the student before is kept: those on which the cross-entropy of the student before is
    least. A layer of one supervisor drops no row. Validation rows get their supervisors in the same
    way, and none is dropped. The authors multiply epochs by the inverse of the share that is kept,
    so that all layers have the same number of steps; here epochs stay as they are.
    """

    kind: Literal["cosupervised"] = "cosupervised"
    layers: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        default=(1, 2), min_length=2, max_length=100
    )
    """Supervisors in each layer, the first of which has 1. The authors have 1, 2, 4, ..."""
    top: int | None = Field(default=3, ge=1, le=10_000)
    """Classes of the student before among which a row's class counts as agreement, at most C - 1
    of C classes; with two classes always 1. null = every row is kept."""

    @model_validator(mode="after")
    def _begins_with_one(self) -> CoSupervisedStage:
        if self.layers[0] != 1:
            raise InputError(
                f"layers is {shown(list(self.layers))}, and the first layer is the pair's own "
                "supervisor; begin with 1"
            )
        return self


class TwoStageStage(Frozen):
    """A student of the certain weak labels labels the other rows, and a new student learns both.

    The cure for overfitting of Shi et al. 2025 (arXiv 2503.04249), for classes. The authors keep
    the questions on which samples of the supervisor's answers agree, and train; then they keep
    those of the dropped questions on which samples of the strong model's answers agree, with its
    answers, and train the strong model on both. Here the probability of the most probable class is
    the share of samples that would agree. As in the paper, a dropped row is used again if the
    student's label is certain, whether or not it agrees with the weak label. Validation rows keep
    their weak labels.
    """

    kind: Literal["two_stage"] = "two_stage"
    above: float = Field(default=0.75, ge=0, lt=1)
    """A weak label is certain if its most probable class has more than this probability."""
    student_above: float = Field(default=0.75, ge=0, lt=1)
    """A dropped row is used again, with the student's label, if its most probable class there has
    more than this probability."""


class TrueRowsStage(Frozen):
    """After weak labels the student is trained on the ground truth of few rows.

    Sequential finetuning with a budget of true labels (Mallen and Belrose 2024, arXiv 2410.13215):
    the student's weights and head are trained further, with a new optimizer and warm-up. The table
    marks the row as oracle; `train_rows` in the student's record is the number of true labels.
    Epochs are multiplied by `one_in`, so that as many rows are seen as before. It has no early
    stopping, because validation rows would be further labels. The authors use other rows than those
    with weak labels; here they are rows of the student's half, which had weak labels before.
    """

    kind: Literal["true_rows"] = "true_rows"
    one_in: int = Field(default=10, ge=1, le=10_000)
    """One row in this many of the student's half has its ground truth, at least one."""
    lr: float | None = Field(default=None, gt=0, le=1000)
    """Peak learning rate; null = as in the student's training."""
    lr_warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of these steps over which the learning rate rises from 0. The authors have 40 steps of
    about 940."""


SERIES = (BoostingStage, CoSupervisedStage, TwoStageStage, TrueRowsStage)
"""The stages of this module."""
