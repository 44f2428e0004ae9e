"""The stages of a method: steps between the supervisor and the reported student.

Owns the settings of each stage. Label transforms are stages too; `w2s_ray.methods.transforms` has
them, and `series` the stages that are a series of fits. `chain` makes fits of the stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from w2s_ray.config.names import Name, Seed, Words
from w2s_ray.config.series import (
    SERIES,
    BoostingStage,
    CoSupervisedStage,
    TrueRowsStage,
    TwoStageStage,
)
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.kinds import open_union
from w2s_ray.methods.transforms import STAGES as TRANSFORMS
from w2s_ray.methods.transforms import AbsentTransform, Transform


def kind_of(stage: Frozen) -> str:
    """The kind of a stage in a sweep file."""
    return str(stage.kind)  # type: ignore[attr-defined]


class GenerativeStage(Frozen):
    """Language modelling on the task's text, without labels, before the student is finetuned.

    Every student of the method and the ceiling start from the weights that this gives. If a search
    chooses these settings, the ceiling keeps the ones written here.
    """

    kind: Literal["generative"] = "generative"
    epochs: int = Field(default=1, ge=1, le=100_000)
    """Passes over the texts of the student's half."""
    lr: float | None = Field(default=None, gt=0, le=1000)
    """Peak learning rate; null = as in the student's training."""
    batch_size: int | None = Field(default=None, ge=1, le=10_000_000)
    """Rows per step; null = as in the student's training."""


class EnsembleStage(Frozen):
    """Several supervisors label together: weak labels are the mean of their probabilities."""

    kind: Literal["ensemble"] = "ensemble"
    supervisors: tuple[Name, ...] = ()
    """Models of the sweep whose supervisors are added to the pair's own."""
    seeds: tuple[Seed, ...] = ()
    """Seeds of additional supervisors of the pair's weak model."""

    @model_validator(mode="after")
    def _more_than_one(self) -> EnsembleStage:
        if not self.supervisors and not self.seeds:
            raise InputError("ensemble has one supervisor; add more in supervisors or seeds")
        return self


class BootstrapStage(Frozen):
    """Models between the weak and the strong one, each trained on the labels of the one before.

    Each is trained with the method's settings and with its own model's.
    """

    kind: Literal["bootstrap"] = "bootstrap"
    through: tuple[Name, ...] = ()
    """The models in between, weakest first; empty = chosen by `between`."""
    between: int = Field(default=1, ge=1, le=1000)
    """How many of the sweep's models between the two are used, evenly spread. If there are fewer,
    all of them; a pair of neighbours has none."""
    fresh: bool = True
    """true: each step labels and trains on its own slice of the student's half. false: each uses
    the whole half."""


class IterateStage(Frozen):
    """Strong-to-strong: the student labels the rows, and a new student is trained on these
    labels.
    """

    kind: Literal["iterate"] = "iterate"
    times: int = Field(default=1, ge=1, le=100)
    """New students after the first one (EleutherAI: 2)."""


CALIBRATION_ROWS = 256
"""Largest number of rows that the calibration of a prompt is computed from."""


class Prompt(Frozen):
    """How a language model is prompted for a row's class; nothing is trained."""

    shots: int = Field(default=0, ge=0, le=64)
    """Examples in the prompt, from the training rows, balanced over the classes as far as possible,
    in a random order by the fit's seed. The paper uses 5. Of a prompt that is too long the first
    examples are omitted; the record counts such prompts, and the table has a note."""
    question: str = Field(default="Answer:", max_length=10_000)
    """Text after each example and after the row's text, on a line of its own."""
    words: Words = ("no", "yes")
    """The words for the classes after the question: of two classes for class 0 and class 1, of
    several one for each, in their order (`w2s plan` names them). The prediction is the most
    probable word."""
    calibration: Literal["none", "rows", "content_free"] = "none"
    """Divide the probability of each word by its mean over inputs without labels, after the same
    examples, and normalize; this assumes that the classes are equally frequent. rows: the inputs
    are up to 256 training rows that are not examples (batch calibration, Zhou et al. 2024).
    content_free: the inputs are `N/A`, `[MASK]` and an empty text (contextual calibration, Zhao et
    al. 2021)."""


def alike_words(words: Sequence[str], model: str) -> InputError:
    """The error for words that a model's tokenizer reads alike."""
    them = " from ".join(map(repr, words))
    return InputError(f"the tokenizer of {model} can't tell {them}; choose other `words`")


class PromptStage(Prompt):
    """The strong model is prompted instead of trained, zero-shot or few-shot."""

    kind: Literal["prompt"] = "prompt"
    labels: Literal["weak", "ground_truth"] = "weak"
    """Labels of the examples. With ground_truth the table marks the row as oracle."""


class ElicitStage(Prompt):
    """The prompted strong model labels the rows in place of the supervisor, and the student learns
    its labels.

    With `shots: 0` no weak label is used: unsupervised elicitation (Wen et al. 2025, arXiv
    2506.10139), here by the zero-shot probabilities of the words; add the stage `one_per_group`
    where one row of a group is right. With weak labels in the prompt it is refinement by in-context
    learning (Somerstep et al. 2024, arXiv 2405.16236). Its prompt has the same settings as the
    stage `prompt`. No ground truth is used.
    """

    kind: Literal["elicit"] = "elicit"
    beside: bool = Field(default=False, exclude_if=lambda beside: not beside)
    """true: the supervisor labels, and the model's answers are there for the stage `selective`."""


class Sampling(Frozen):
    """How often a model completes each prompt, and at which temperature."""

    samples: int = Field(default=1, ge=1, le=1000)
    """Completions of each row. The row's label is the first of those with the most frequent answer
    (as `task.extract` takes it; of equally frequent answers the one that was sampled first)."""
    temperature: float = Field(default=0.0, ge=0, le=1000)
    """Logits are divided by it before a token is drawn; 0 = the most probable token. Draws depend
    on the fit's seed and the row, not on batches."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Sampling:
        if self.samples > 1 and self.temperature == 0:
            raise InputError(
                f"samples is {self.samples} at temperature 0, at which all of them are the same; "
                "raise temperature, or set samples: 1"
            )
        return self


class Completions(Sampling):
    """How a model completes prompts, if it does not give the most probable completion alone."""

    shots: int = Field(default=0, ge=0, le=64)
    """Examples in the prompt: other rows of the student's half with their weak labels."""


class SelfConsistencyStage(Sampling):
    """The supervisor completes each row several times, and the majority's answer is the weak label.

    Self-consistency (Wang et al. 2022, arXiv 2203.11171). With `share` only rows on which the
    supervisor agrees with itself are learned (Shi et al. 2025, arXiv 2503.04249, first stage). The
    supervisor is trained once more for its samples; PGR and the table's weak accuracy are of its
    most probable completions. Validation labels are its majority answers, too. It needs a task with
    answers.
    """

    kind: Literal["self_consistency"] = "self_consistency"
    samples: int = Field(default=10, ge=1, le=1000)
    """Completions of each row. The row's label is the first of those with the most frequent answer
    (as `task.extract` takes it; of equally frequent answers the one that was sampled first)."""
    temperature: float = Field(default=1.0, ge=0, le=1000)
    """Logits are divided by it before a token is drawn; 0 = the most probable token. Draws depend
    on the fit's seed and the row, not on batches."""
    share: float = Field(default=0.0, ge=0, le=1)
    """Keep a training row if at least this share of its samples has the majority's answer."""


class AgreedAnswersStage(Sampling):
    """Keep the rows on which supervisor and strong model have the same answer, and learn both
    completions.

    Weak-to-strong reasoning, stage one (Yang et al. 2024, arXiv 2407.13647). The strong model is
    not trained for its answers: it completes each row after examples with weak labels in its
    prompt. If no row is left, the student's fit fails. Validation labels are the supervisor's. It
    needs a task with answers.
    """

    kind: Literal["agreed_answers"] = "agreed_answers"
    shots: int = Field(default=4, ge=0, le=64)
    """Examples in the strong model's prompt, drawn by the fit's seed from the rows of the student's
    half; a row is no example of its own prompt. Of a prompt that is too long the first are omitted;
    the record counts such prompts. Unless the prompt is chat messages, a completion ends before
    its first blank line, after which the model may make up the next example."""
    learn: Literal["both", "weak", "strong"] = "both"
    """Which completions of the kept rows the student learns. Equal completions are learned
    once."""


class LinearProbeStage(Frozen):
    """A linear probe, trained with ground truth on frozen activations, is reported instead of the
    student.

    It is trained on the student's half. Because it uses ground truth, the table marks it as oracle.
    The default number of epochs and learning rate are our choice, not the paper's.
    """

    kind: Literal["linear_probe"] = "linear_probe"
    of: Literal["pretrained", "student"] = "student"
    """Which model's activations. pretrained: the model that the student starts from. student: the
    student after training on weak labels; it is trained for the probe, and its weights are kept in
    the store."""
    epochs: int = Field(default=5, ge=1, le=100_000)
    """Passes over the rows."""
    lr: float = Field(default=1e-2, gt=0, le=1000)
    """Peak learning rate of the head."""
    batch_size: int | None = Field(default=None, ge=1, le=10_000_000)
    """Rows per step; null = as in the student's training."""


class TruthStage(Frozen):
    """The strong model is trained with the ground truth of few rows instead of weak labels.

    The table marks the row as oracle. Epochs are multiplied by `one_in`, so that as many rows are
    seen as by a student. It has no early stopping, because validation rows would be further labels.
    """

    kind: Literal["truth"] = "truth"
    one_in: int = Field(default=10, ge=1, le=10_000)
    """One row in this many of the student's half is used, at least one."""


class RandomLabelsStage(Frozen):
    """The student's labels are drawn by chance, each class with the same probability.

    A control. Validation labels are drawn, too. No supervisor is used, so all supervisors share the
    fit.
    """

    kind: Literal["random_labels"] = "random_labels"


class UntrainedStage(Frozen):
    """The strong model is not trained. Its head is zero, so it gives every row the same answer.

    A control. A task with choices needs no new head: the model scores them zero-shot.
    """

    kind: Literal["untrained"] = "untrained"


if TYPE_CHECKING:
    Stage = (
        GenerativeStage
        | EnsembleStage
        | BootstrapStage
        | IterateStage
        | PromptStage
        | ElicitStage
        | SelfConsistencyStage
        | AgreedAnswersStage
        | LinearProbeStage
        | TruthStage
        | RandomLabelsStage
        | UntrainedStage
        | BoostingStage
        | CoSupervisedStage
        | TwoStageStage
        | TrueRowsStage
        | Transform
    )
else:
    Stage = open_union(
        (
            GenerativeStage,
            EnsembleStage,
            BootstrapStage,
            IterateStage,
            PromptStage,
            ElicitStage,
            SelfConsistencyStage,
            AgreedAnswersStage,
            LinearProbeStage,
            TruthStage,
            RandomLabelsStage,
            UntrainedStage,
            *SERIES,
            *TRANSFORMS,
        ),
        base=Transform,
        absent=AbsentTransform,
    )
