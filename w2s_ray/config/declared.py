"""What a sweep file declares one by one: tasks, models, methods.

Owns their shape and the checks of each for itself. It reads no data, and knows nothing of the
sweep that they stand in.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from w2s_ray.config.names import Line, LocalPath, Name, Rows, Seed
from w2s_ray.config.settings import Architecture, EarlyStopping, Training
from w2s_ray.config.space import Choices
from w2s_ray.config.stages import Stage
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.losses import AnyLoss, XentLoss

Number = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Step = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class Columns(Frozen):
    """Column names of a generic task's file.

    `text` and `label` make a task of two classes; `first`, `second` and `label` or `preferred`, or
    `chosen` and `rejected`, make pairs, one of which is the better; `text` and `answer` make
    prompts and answers; `text` alone makes a corpus; `category` makes a task of images or of
    features.

    A text may be chat messages, `[{role, content}, ...]`, in all rows or in none. Models with a
    chat template read them in it, others as `Human: ...`, a blank line, `Assistant: ...`.
    """

    text: Line | None = None
    """Column of the text, or of the prompt, which a pair may have too: it stands before both texts,
    with a blank line after it."""
    label: Line | None = None
    """Column of the class; of pairs, class 1 = the first text is the better one."""
    first: Line | None = None
    """Column of a pair's first text."""
    second: Line | None = None
    """Column of a pair's second text."""
    preferred: Line | None = None
    """Column that says which text of a pair is the better one. It holds two values: the names of
    the columns `first` and `second`, or any two, of which the earlier when sorted is the first."""
    chosen: Line | None = None
    """Column of a pair's better text; with `rejected`, in place of `first` and `second`."""
    rejected: Line | None = None
    """Column of a pair's worse text."""
    answer: Line | None = None
    """Column of the right answer."""
    category: Line | None = None
    """Column of one of several classes, for linear probes on features."""
    image: Line | None = None
    """Column of the images behind the features: names of files beside the table, or, in an .npz
    file, pixels (uint8)."""
    id: Line | None = None
    """Column of a row's name, by which feature files find it; null = its number."""
    difficulty: Line | None = None
    """Column of a number that says how hard a row is."""
    group: Line | None = None
    """Column whose equal values stay in one part of the split; null = every row for itself."""
    positive: Line | Number | bool | None = None
    """The label value that is class 1; null = labels 0/1, true/false or the later of two sorted
    values."""

    @model_validator(mode="after")
    def _make_rows(self) -> Columns:
        pair = self.first is not None and self.second is not None
        ranked = self.chosen is not None and self.rejected is not None
        whole = {
            "classes": self.text and self.label,
            "pairs": ranked or (pair and (self.label or self.preferred)),
            "answers": self.text and self.answer,
            "text": self.text,
            "features": self.category,
        }
        given = {
            name
            for name in (
                *("text", "label", "first", "second", "preferred", "chosen", "rejected"),
                *("answer", "category", "image", "id"),
            )
            if getattr(self, name) is not None
        }
        judged = {"first", "second", "label" if self.label else "preferred"}
        allowed = {
            "classes": {"text", "label"},
            "pairs": ({"chosen", "rejected"} if ranked else judged) | ({"text"} & given),
            "answers": {"text", "answer"},
            "text": {"text"},
            "features": {"category", *({"image", "id"} & given)},
        }
        if self.category is not None and given - allowed["features"]:
            raise InputError(
                f"category makes a task of images or of features, which has no "
                f"{', '.join(sorted(given - allowed['features']))}; for two classes of texts write "
                "label in place of category, or keep category alone"
            )
        if not any(whole[form] and given == allowed[form] for form in whole):
            raise InputError(
                f"{', '.join(sorted(given)) or 'no columns'} don't make a task; give text and "
                "label, or first, second and label or preferred, or chosen and rejected, or text "
                "and answer, or text alone, or category"
            )
        return self

    @property
    def form(self) -> Literal["classes", "pairs", "answers", "text", "features"]:
        """What the columns make a row."""
        if self.category is not None:
            return "features"
        if self.first is not None or self.chosen is not None:
            return "pairs"
        if self.answer is not None:
            return "answers"
        return "classes" if self.label is not None else "text"


Bound = Annotated[float, Field(ge=-1e12, le=1e12)]
Bounds = tuple[Bound | None, Bound | None]


def _in_order(bounds: Bounds) -> Bounds:
    least, most = bounds
    if least is not None and most is not None and least > most:
        raise InputError(f"the least, {least:g}, is above the greatest, {most:g}; swap them")
    return bounds


OrderedBounds = Annotated[Bounds, AfterValidator(_in_order)]


class Difficulty(Frozen):
    """Which rows of a task are hard enough and not too hard; `[500, 900]` says both alike."""

    train: OrderedBounds = (None, None)
    """Least and greatest difficulty of rows of both halves and of validation; null = no bound."""
    test: OrderedBounds = (None, None)
    """The same of test rows. A row that both let in is in one of them."""

    @model_validator(mode="before")
    @classmethod
    def _alike(cls, value: Any) -> Any:
        return {"train": value, "test": value} if isinstance(value, list | tuple) else value


class Task(Frozen):
    """A task and how its rows are split."""

    name: Name
    """A known task, or any name for a file with `columns`."""
    path: LocalPath | None = None
    """A file or folder in the task's original format; null = the Hugging Face hub."""
    columns: Columns | None = None
    """Makes any Parquet, JSON-lines, CSV, TSV or .npz file at `path` a task."""
    revision: Line | None = None
    """Hub commit, tag or branch; null = the newest, resolved to a commit when planned."""
    train: Rows
    """Training rows in all: the supervisor's half and the student's half get half each; a corpus
    has no halves."""
    validation: Rows
    """Rows for validation, disjoint from all others."""
    test: Rows
    """Rows for the reported accuracy, disjoint from all others."""
    balance: bool = True
    """Undersample each part to as many positives as negatives, after shuffling; says nothing where
    there are no classes."""
    max_words: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Drop rows of more whitespace-separated words before splitting; counts no tokens, so that all
    models see the same rows."""
    difficulty: Difficulty | None = None
    """Least and greatest difficulty (a puzzle's rating) of rows to keep: `[500, 900]`, or, for
    easy-to-hard, `{train: [500, 900], test: [1200, null]}`."""
    split_seed: Seed = 0
    """Seeds the shuffle that makes the split. The same for all of the sweep's seeds."""

    @model_validator(mode="after")
    def _columns_need_a_file(self) -> Task:
        if self.columns is not None and self.path is None:
            raise InputError(f"task {self.name!r} has columns but no path; name the file in `path`")
        return self


class Pretrain(Frozen):
    """The pretraining of a model from nothing: a run like any other, shared by what it is made of.

    It is the same for all of the sweep's seeds.
    """

    architecture: Architecture
    """What is pretrained."""
    corpus: Task
    """Running text: `texts`, `chess_games`, `chess_positions`, or a file with the column `text`."""
    training: Training = Training(lr=1e-3, epochs=1)
    """How, and by `epochs` and the corpus's `train` how long."""
    checkpoints: tuple[Step, ...] = ()
    """Steps whose weights are kept along the way, for models with `checkpoint: MODEL@STEP`."""
    seed: Seed = 0
    """Seeds the first weights and the order of the texts."""


class Model(Frozen):
    """A pretrained model, with what differs from the sweep's settings for it."""

    name: LocalPath
    """Hub name, local folder, or a model of the embedded ladder (`embedded:xs`). What makes the
    features of images: a vision model by hub name or folder, `timm:NAME`, a feature file (.npz or
    .parquet), or `pixels:N`, the means of N x N blocks of the image."""
    label: Name = ""
    """Its name in pairs and tables; empty = the last part of the name or folder."""
    revision: Line | None = None
    """Hub commit, tag or branch; null = the newest, resolved to a commit when planned."""
    training: dict[str, Any] = {}
    """Settings of `training` that differ for this model, as supervisor, student and ceiling."""
    execution: dict[str, Any] = {}
    """Settings of `execution` that differ for this model."""
    pretrain: Pretrain | None = None
    """How the model is made; null = it exists."""
    checkpoint: Line | None = None
    """`MODEL@STEP`: the weights that the pretraining of another of the sweep's models left."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Off unless you have read that code."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            label = value.get("label") or PurePath(value["name"]).name
            value = {**value, "label": label}
        return value


class Method(Frozen):
    """What a student is trained with: fixed settings, and a search over some of them."""

    loss: AnyLoss = XentLoss()
    stages: tuple[Stage, ...] = ()
    """What happens between the supervisor and the student that is reported, at most one stage of a
    kind: `ensemble`, `generative`, `bootstrap`, `iterate`; `prompt` or `linear_probe`, in place of
    the student; and changes of the weak labels, in this order, before every student of the method
    learns from them: `hard`, `temperature`, `confident`, `filter`, `relabel`, `simulated`."""
    early_stopping: EarlyStopping | None = None
    """Replaces the sweep's for this method's students; null = the sweep's."""
    training: dict[str, Any] = {}
    """Settings of `training` that differ for this method's students."""
    search: dict[Name, Choices] = {}
    """Dotted setting (`loss.alpha`, `early_stopping.patience`, `training.lr`, and
    `stages.KIND.SETTING`, as `stages.temperature.by`) -> what to try. A
    setting that has kinds (`loss`, `training.tuning`) -> `one_of`: each kind with its own settings,
    as `loss: {one_of: [{kind: xent}, {kind: confidence, alpha: {uniform: [0, 0.9]}}]}`."""
