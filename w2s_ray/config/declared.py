"""The models and methods of a sweep file.

Owns their fields and the checks of each entry alone. `sweep` checks them against each other. It
reads no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from w2s_ray.config.names import Line, LocalPath, Name, Seed
from w2s_ray.config.settings import EarlyStopping, PretrainArchitecture, Training
from w2s_ray.config.space import Choices, OneOf
from w2s_ray.config.stages import ElicitStage, Stage, kind_of
from w2s_ray.config.tasks import Task
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods import losses as package
from w2s_ray.methods.kinds import SOURCE, find_loaded, usable_kinds
from w2s_ray.methods.kinds import kind_of as kind_of_class
from w2s_ray.methods.losses import AnyLoss, Loss, XentLoss
from w2s_ray.methods.transforms import Transform

Step = Annotated[int, Field(ge=0, le=1_000_000_000_000)]

_NO_TRAINED_SUPERVISOR = {
    "ensemble": "several label",
    "boosting": "several label",
    "cosupervised": "several label",
    "elicit": "a prompted model labels",
    "simulated": "the labels are simulated",
    "prompt": "no student is trained",
}
"""Kind of a stage with which no single trained supervisor labels for a student -> why."""


class Pretrain(Frozen):
    """Pretraining of a model from random weights. It is a run of the sweep like any other.

    All seeds of the sweep share it, and so do other sweeps on the same store that declare the same.
    """

    architecture: PretrainArchitecture
    """The architecture and the tokenizer."""
    corpus: Task
    """The text to train on: `texts`, `chess_games`, `chess_positions`, or a file with the column
    `text`."""
    training: Training = Training(lr=1e-3, epochs=1)
    """Training settings. Its length follows from `epochs` and the corpus's `train`."""
    checkpoints: tuple[Step, ...] = ()
    """Steps whose weights are kept, for models with `checkpoint: MODEL@STEP`."""
    seed: Seed = 0
    """Seed of the initial weights and of the order of the texts."""


class Model(Frozen):
    """A model, with the settings that differ from the sweep's for it."""

    name: LocalPath
    """Hub name, local folder, or a model of the embedded ladder (`embedded:xs`). For tasks of
    images or features: a vision model by hub name or folder, `timm:NAME`, a feature file (.npz or
    .parquet), or `pixels:N` (the means of N x N blocks of the image)."""
    label: Name = ""
    """The model's name in pairs and tables; empty = the last part of the name or folder."""
    revision: Line | None = None
    """Hub commit, tag or branch; null = the newest commit when this machine first planned it."""
    training: dict[str, Any] = {}
    """Settings of `training` that differ for this model in every role."""
    execution: dict[str, Any] = {}
    """Settings of `execution` that differ for this model."""
    pretrain: Pretrain | None = None
    """How the sweep pretrains the model; null = the model exists."""
    checkpoint: Line | None = None
    """`MODEL@STEP`: the weights at this step of the pretraining of another model of the sweep."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Set it only after you have read that code."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            label = value.get("label") or PurePath(value["name"]).name
            value = {**value, "label": label}
        return value


class Method(Frozen):
    """How a student is trained: fixed settings, and a search over some of them."""

    loss: AnyLoss = XentLoss()
    """The loss of this method's students."""
    stages: tuple[Stage, ...] = ()
    """Steps between the supervisor and the reported student, at most one of each kind. `ensemble`,
    `boosting`, `elicit`, `self_consistency`, `agreed_answers`, `generative`, `bootstrap`,
    `iterate`, `cosupervised`, `two_stage` and `true_rows` add fits. `prompt` and `linear_probe`
    replace the student. `hard`, `temperature`, `confident`, `consensus`, `dawid_skene`, `filter`,
    `one_per_group`, `overlap`, `relabel`, `selective`, `strata`, `trust`, `weights`, `simulated`,
    `shuffled_labels` and `class_prior` change the weak labels of every student of the method, in
    the order in which they are listed. `truth`, `random_labels` and `untrained` use no weak labels
    and stand alone."""
    tasks: tuple[Name, ...] = ()
    """Tasks of the sweep that the method is used on, for instance those of two classes; empty =
    all."""
    early_stopping: EarlyStopping | None = None
    """Early stopping of this method's students; null = as in the sweep."""
    training: dict[str, Any] = {}
    """Settings of `training` that differ for this method's students."""
    search: dict[Name, Choices] = {}
    """What to search: for each dotted setting the values to try. Settings are named as
    `loss.alpha`, `early_stopping.patience`, `training.lr` or `stages.KIND.SETTING`
    (`stages.temperature.by`). A setting that has kinds (`loss`, `training.tuning`) takes `one_of`
    with the settings of each kind: `loss: {one_of: [{kind: xent}, {kind: confidence, alpha:
    {uniform: [0, 0.9]}}]}`."""

    @field_validator("search")
    @classmethod
    def _with_sources(cls, search: dict[str, Any]) -> dict[str, Any]:
        """The digest of a plugin's source is a setting of its kinds, also among `one_of`."""
        tried, own = search.get("loss"), usable_kinds(Loss)
        if not isinstance(tried, OneOf) or not own:
            return search
        entries = tuple(
            {**entry, SOURCE: own[kind].model_fields[SOURCE].default} if kind in own else entry
            for kind, entry in zip(tried.kinds(), tried.one_of, strict=True)
        )
        return {**search, "loss": tried.model_copy(update={"one_of": entries})}

    def losses(self) -> Iterator[Loss]:
        """The loss of its students, and the losses that a search may try, with their defaults."""
        yield self.loss
        space = self.search.get("loss")
        if not isinstance(space, OneOf):
            return
        known = {kind_of_class(each): each for each in package.BUILT_IN} | usable_kinds(Loss)
        for kind, entry in zip(space.kinds(), space.one_of, strict=True):
            found = known.get(kind) or find_loaded(kind, str(entry.get(SOURCE)))
            if found is not None and issubclass(found, Loss):
                yield found.model_construct()

    @model_validator(mode="after")
    def _has_one_trained_supervisor(self) -> Method:
        """Refuse what reads a supervisor's hidden states where no single trained one labels."""
        kinds = self._kinds()
        for each in self.stages:
            if not (isinstance(each, Transform) and each.reads_supervisor):
                continue
            for kind, why in _NO_TRAINED_SUPERVISOR.items():
                if kind in kinds:
                    raise InputError(
                        f"{kind_of(each)} reads the hidden states of one trained supervisor, but "
                        f"{why} with {kind}; remove one of them"
                    )
        return self

    def _kinds(self) -> set[str]:
        """The kinds of its stages, without an `elicit` beside the supervisor."""
        return {
            kind_of(stage)
            for stage in self.stages
            if not (isinstance(stage, ElicitStage) and stage.beside)
        }

    @model_validator(mode="after")
    def _has_own_answers(self) -> Method:
        """Refuse what needs the strong model's own answers without them, and the reverse."""
        takers = [s for s in self.stages if isinstance(s, Transform) and s.takes_own_answers]
        beside = any(isinstance(stage, ElicitStage) and stage.beside for stage in self.stages)
        if takers and not beside:
            raise InputError(
                f"{kind_of(takers[0])} needs the strong model's own answers; add the stage elicit "
                "with beside: true"
            )
        if beside and not takers:
            raise InputError(
                "elicit has beside: true, but no stage uses its answers; add selective, or remove "
                "beside"
            )
        if takers and (found := self._kinds() & {"bootstrap", "prompt"}):
            raise InputError(
                f"{kind_of(takers[0])} trains the strong model on its own answers, and "
                f"{min(found)} has another student; remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _has_several_supervisors(self) -> Method:
        """Refuse what needs each supervisor's labels where there are none."""
        kinds = self._kinds()
        why = None if "ensemble" in kinds else "several supervisors; add the stage ensemble"
        for kind in ("bootstrap", "elicit", "iterate", "cosupervised", "two_stage"):
            if kind in kinds:
                why = f"several supervisors, but with {kind} one model labels; remove {kind}"
        transforms = [stage for stage in self.stages if isinstance(stage, Transform)]
        for each in (*transforms, *self.losses()):
            if each.takes_each_supervisor and why is not None:
                raise InputError(f"{kind_of(each)} needs {why}")
            if isinstance(each, Transform) and not each.keeps_labels and why is None:
                why = (
                    f"the labels of each supervisor, but {kind_of(each)} before it replaces them; "
                    f"remove {kind_of(each)}, or list it later"
                )
        return self
