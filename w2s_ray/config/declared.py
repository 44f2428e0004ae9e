"""The tasks, models and methods of a sweep file.

Owns their fields and the checks of each entry alone. `sweep` checks them against each other. It
reads no data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    field_validator,
    model_validator,
)

from w2s_ray.config.forms import FORMS, FormName
from w2s_ray.config.names import Line, LocalPath, Name, RowCount, Seed
from w2s_ray.config.settings import EarlyStopping, PretrainArchitecture, Training
from w2s_ray.config.space import Choices, OneOf
from w2s_ray.config.stages import EnsembleStage, Stage, kind_of
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods import losses as package
from w2s_ray.methods.kinds import SOURCE, find_loaded, usable_kinds
from w2s_ray.methods.kinds import kind_of as kind_of_class
from w2s_ray.methods.losses import AnyLoss, Loss, XentLoss
from w2s_ray.methods.transforms import Transform
from w2s_ray.plugins import OwnTask, usable_task

Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Step = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


def _choice_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    if len(columns) < 2:
        raise InputError("a question has two or more choices; list a column for each of them")
    if len(set(columns)) < len(columns):
        raise InputError("it names a column twice; name each once")
    return columns


ChoiceColumns = Annotated[
    tuple[Line, ...],
    AfterValidator(_choice_columns),
    Field(json_schema_extra={"minItems": 2, "uniqueItems": True}),
]
"""Columns with one choice each."""


class Columns(Frozen):
    """Column names of a file of your own.

    The columns that are given decide the task's form. `text` and `label`: two classes. `first`,
    `second` and `label` or `preferred`, or `chosen` and `rejected`: pairs of which one is better.
    `text` and `answer`: prompts with answers. `text`, `choices` and `answer`: multiple choice.
    `text` alone: a corpus. `category`: images or features.

    A text may be a list of chat messages, `[{role, content}, ...]`, in all rows or in none. Models
    with a chat template read them in it. Other models read `Human: ...`, a blank line,
    `Assistant: ...`.
    """

    text: Line | None = None
    """Column of the text or the prompt. A pair may have a prompt too: it is put before both texts,
    followed by a blank line."""
    label: Line | None = None
    """Column of the class. For pairs, class 1 means that the first text is better."""
    first: Line | None = None
    """Column of a pair's first text."""
    second: Line | None = None
    """Column of a pair's second text."""
    preferred: Line | None = None
    """Column that names the better text of a pair. It has two values: either the names of the
    columns `first` and `second`, or any two values, of which the first in sorted order means
    `first`."""
    chosen: Line | None = None
    """Column of a pair's better text. Give it with `rejected`, in place of `first` and `second`."""
    rejected: Line | None = None
    """Column of a pair's worse text."""
    choices: Line | ChoiceColumns | None = Field(
        default=None, exclude_if=lambda choices: choices is None
    )
    """Column with the list of a question's choices, or a list of columns with one choice each,
    where an empty cell is no choice."""
    answer: Line | None = None
    """Column of the right answer. With `choices`: the text of the right choice, its place counted
    from 0, or its letter (A is the first)."""
    category: Line | None = None
    """Column of the class, one of any number, for linear probes on features."""
    image: Line | None = None
    """Column of the images that features are computed from: file names relative to the table, or
    pixels (uint8) in an .npz file."""
    id: Line | None = None
    """Column of the row's name in feature files; null = the row's number."""
    difficulty: Line | None = None
    """Column of a number that measures how hard the row is."""
    group: Line | None = None
    """Column of the row's group. All rows of a group go to the same part of the split; null = each
    row is a group of its own."""
    positive: Line | Int64 | bool | None = None
    """The label value that is class 1; null = 1, true, or the second of two values in sorted
    order."""

    @model_validator(mode="after")
    def _make_rows(self) -> Columns:
        given = self._given()
        if any(form.is_made_by(given) for form in FORMS.values()):
            return self
        for form in FORMS.values():
            mistake = form.mistake(given)
            if mistake is not None:
                raise InputError(mistake)
        raise InputError(
            f"{', '.join(sorted(given)) or 'no columns'} don't declare a task; give "
            + ", or ".join(form.columns_in_words for form in FORMS.values())
        )

    def _given(self) -> set[str]:
        """The columns that are named and decide the form."""
        return {
            name
            for name in type(self).model_fields
            if name not in ("difficulty", "group", "positive") and getattr(self, name) is not None
        }

    @property
    def kinds(self) -> set[str]:
        """The columns that are named, by their keys."""
        return {name for name, column in self if name != "positive" and column is not None}

    @property
    def form(self) -> FormName:
        """The form of task that the columns make."""
        given = self._given()
        return next(name for name, form in FORMS.items() if form.is_made_by(given))


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


DifficultyBound = Annotated[float, Field(ge=-1e12, le=1e12)]
Bounds = tuple[DifficultyBound | None, DifficultyBound | None]
"""Lowest and highest difficulty, both included; null = no bound."""


def _ordered(bounds: Bounds) -> Bounds:
    least, most = bounds
    if least is not None and most is not None and least > most:
        raise InputError(f"the lower bound {least:g} is above the upper bound {most:g}; swap them")
    return bounds


OrderedBounds = Annotated[Bounds, AfterValidator(_ordered)]


class Difficulty(Frozen):
    """Which rows are used, by difficulty. `[500, 900]` is short for these bounds in both keys."""

    train: OrderedBounds = (None, None)
    """Lowest and highest difficulty of training and validation rows; null = no bound."""
    test: OrderedBounds = (None, None)
    """Lowest and highest difficulty of test rows. A row within both ranges goes to one of them."""

    @model_validator(mode="before")
    @classmethod
    def _same_for_all(cls, value: Any) -> Any:
        return {"train": value, "test": value} if isinstance(value, list | tuple) else value


OwnPart = Literal["test", "validation"]
"""A part that can have a file of its own."""


class PartFile(Frozen):
    """A file with a part's rows, in place of a number of rows: `test: {path: test.csv}`.

    Rows of `path` that are in this file too, or share a group with one of its rows, are dropped
    and counted; texts that differ only in case, white space or Unicode form are the same. A row of
    both files stays in the test file alone.
    """

    path: LocalPath | None = None
    """A file with the columns of the task's own, or in the task's original format; null = the
    task's `path`, for another `split`."""
    split: Line | None = None
    """The split of a saved DatasetDict."""
    columns: Columns | None = None
    """Names of the same columns where they differ in this file. With `positive`, its labels may
    differ too; null = as the task's."""
    rows: RowCount | None = None
    """Number of rows, balanced as the task's. null = every row that cleaning leaves, without
    balancing."""


def _part_tag(value: Any) -> str:
    return "(file)" if isinstance(value, dict | PartFile) else "(count)"


PartRows = Annotated[
    Annotated[RowCount, Tag("(count)")] | Annotated[PartFile, Tag("(file)")],
    Discriminator(_part_tag),
]


class Task(Frozen):
    """A task and how its rows are split."""

    name: Name
    """A named task, a task of a plugin, or any name for a file with `columns`."""
    path: LocalPath | None = None
    """A file or folder in the task's original format; null = the Hugging Face hub."""
    split: Line | None = None
    """The split with the training rows, where `path` is a DatasetDict saved by `datasets`."""
    columns: Columns | None = None
    """Column names, for a file of your own at `path`: Parquet, JSON lines, CSV, TSV, Arrow, .npz,
    or a folder that `datasets` saved."""
    revision: Line | None = None
    """Hub commit, tag or branch; null = the newest commit when this machine first planned it."""
    train: RowCount
    """Training rows in all. One half trains the supervisor, the other half the student. A corpus
    has no halves."""
    validation: PartRows
    """Validation rows, or a file with them. They occur in no other part."""
    test: PartRows
    """Test rows, for the reported accuracy, or a file with them. They occur in no other part."""
    balance: bool = True
    """Undersample each part, after shuffling, to as many positive as negative rows. Without effect
    for tasks without classes."""
    max_words: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Drop rows with more whitespace-separated words than this before splitting. Words and not
    tokens are counted, so that all models get the same rows."""
    dedupe: Literal["near"] | None = None
    """near: no row is used in a part if it is a near copy of a row of an earlier part; the order is
    test, validation, the supervisor's half, the student's half. Near copies share at least 70 % of
    their pairs of neighbouring words. null = near copies are counted and stay."""
    difficulty: Difficulty | None = None
    """Lowest and highest difficulty of the rows to use, such as a puzzle's rating: `[500, 900]`,
    or, for easy-to-hard, `{train: [500, 900], test: [1200, null]}`."""
    split_seed: Seed = 0
    """Seed of the shuffle that makes the split. All seeds of the sweep share the split."""
    _own: OwnTask | None = PrivateAttr(default=None)

    @property
    def own(self) -> OwnTask | None:
        """The plugin's task with this name; None if no plugin has one or a file is given."""
        return self._own

    @model_validator(mode="after")
    def _of_plugin(self) -> Task:
        own = usable_task(self.name) if self.columns is None else None
        if own is None:
            return self
        if self.path is not None:
            raise InputError(f"task {self.name!r} is a plugin's and reads no file; remove `path`")
        forms = [name for name, form in FORMS.items() if form.has_texts]
        if own.form not in forms:
            raise InputError(
                f"task {self.name!r}: @w2s.task has the form {own.form!r}; give one of "
                f"{', '.join(forms)}"
            )
        self._own = own
        return self

    @model_validator(mode="after")
    def _columns_need_a_file(self) -> Task:
        if self.columns is not None and self.path is None:
            raise InputError(f"task {self.name!r} has columns but no path; give the file as `path`")
        if self.split is not None and self.columns is None:
            raise InputError(f"task {self.name!r} has a split but no columns; give `columns`")
        for part, file in self.part_files.items():
            self._check_part(part, file)
        return self

    def _check_part(self, part: OwnPart, file: PartFile) -> None:
        where = f"task {self.name!r}: {part}"
        if file.path is None and (file.split is None or self.path is None):
            raise InputError(f"{where} has no path; give its file, or a number of rows")
        if self.columns is None:
            for key in ("split", "columns"):
                if getattr(file, key) is not None:
                    raise InputError(
                        f"{where}.{key} is for a task with `columns`; remove it, or give `columns`"
                    )
            return
        if file.path in (None, self.path) and file.split == self.split:
            raise InputError(f"{where} is the file of the training rows; give another file")
        if file.columns is not None and file.columns.kinds != self.columns.kinds:
            raise InputError(
                f"{where}.columns names {_listed(file.columns.kinds)}, but the task's columns name "
                f"{_listed(self.columns.kinds)}; name the same ones"
            )

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        name: str,
        columns: Columns | Mapping[str, Any],
        train: int,
        validation: int | None = None,
        test: int | None = None,
        **settings: Any,
    ) -> Task:
        """The task of a Dataset, a pandas frame or an Arrow table, for a sweep made in Python.

        `data` may also be a DatasetDict, or another mapping with the key `train`: its `test` and
        `validation` are then the rows of these parts, all of them or as many as are given. The
        rows are written once, as Parquet, to the cache folder (`W2S_CACHE`). The ids of runs
        follow from the rows, not from the file's path.

        Raises:
            InputError: no table, no rows, or invalid settings.
        """
        from w2s_ray.data.objects import task_of

        sizes = {"train": train, "validation": validation, "test": test}
        return task_of(data, name=name, columns=columns, **sizes, **settings)

    @property
    def part_files(self) -> Mapping[OwnPart, PartFile]:
        """The parts with a file of their own, test first."""
        parts: Mapping[OwnPart, Any] = {part: getattr(self, part) for part in get_args(OwnPart)}
        return {part: file for part, file in parts.items() if isinstance(file, PartFile)}

    def size(self, part: OwnPart) -> int | None:
        """Rows of a part; None = all rows of its file."""
        rows: int | PartFile = getattr(self, part)
        return rows.rows if isinstance(rows, PartFile) else rows

    @property
    def from_pool(self) -> int:
        """Rows of the parts that have no file of their own."""
        return self.train + sum(
            self.size(part) or 0 for part in get_args(OwnPart) if part not in self.part_files
        )

    @property
    def paths(self) -> Mapping[str, str]:
        """Key of the sweep file -> the path given there."""
        own = {f"{part}.path": file.path for part, file in self.part_files.items()}
        return {key: path for key, path in {"path": self.path, **own}.items() if path is not None}


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
    `generative`, `bootstrap` and `iterate` add fits. `prompt` and `linear_probe` replace the
    student. `hard`, `temperature`, `confident`, `consensus`, `dawid_skene`, `filter`, `overlap`,
    `relabel`, `weights`, `simulated`, `shuffled_labels` and `class_prior` change the weak labels of
    every student of the method, in the order in which they are listed. `truth`, `random_labels` and
    `untrained` use no weak labels and stand alone."""
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
        """The losses that its students have or may try, those of a search with their defaults."""
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
    def _has_several_supervisors(self) -> Method:
        if any(isinstance(stage, EnsembleStage) for stage in self.stages):
            return self
        transforms = (stage for stage in self.stages if isinstance(stage, Transform))
        for each in (*self.losses(), *transforms):
            if each.takes_each_supervisor:
                raise InputError(
                    f"{kind_of(each)} needs several supervisors; add the stage ensemble, or use "
                    "another loss or stage"
                )
        return self
