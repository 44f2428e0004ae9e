"""What a sweep file declares one by one: tasks, models, methods.

Owns their shape and the checks of each for itself. It reads no data, and knows nothing of the
sweep that they stand in.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from pydantic import Field, model_validator

from w2s_ray.spec.settings import EarlyStopping, Frozen, Loss, XentLoss
from w2s_ray.spec.space import Choices


class Columns(Frozen):
    """Column names of a generic task's file."""

    text: str
    """Column of the text."""
    label: str
    """Column of the class."""
    group: str | None = None
    """Column whose equal values stay in one part of the split; null = every row for itself."""
    positive: str | int | bool | None = None
    """The label value that is class 1; null = labels 0/1, true/false or the later of two sorted
    values."""


class Task(Frozen):
    """A two-class task and how its rows are split."""

    name: str
    """A known task, or any name for a file with `columns`."""
    path: str | None = None
    """A file or folder in the task's original format; null = the Hugging Face hub."""
    columns: Columns | None = None
    """Makes any Parquet, JSON-lines, CSV or TSV file at `path` a task."""
    revision: str | None = None
    """Hub commit, tag or branch; null = the newest, resolved to a commit when planned."""
    train: int = Field(ge=2)
    """Training rows in all: the supervisor's half and the student's half get half each."""
    validation: int = Field(ge=2)
    """Rows for validation, disjoint from all others."""
    test: int = Field(ge=2)
    """Rows for the reported accuracy, disjoint from all others."""
    balance: bool = True
    """Undersample each part to as many positives as negatives, after shuffling."""
    max_words: int | None = Field(default=None, ge=1)
    """Drop rows of more whitespace-separated words before splitting; counts no tokens, so that all
    models see the same rows."""
    split_seed: int = 0
    """Seeds the shuffle that makes the split. The same for all of the sweep's seeds."""

    @model_validator(mode="after")
    def _columns_need_a_file(self) -> Task:
        if self.columns is not None and self.path is None:
            raise ValueError(f"task {self.name!r} has columns but no path; name the file in `path`")
        return self


class Model(Frozen):
    """A pretrained model, with what differs from the sweep's settings for it."""

    name: str
    """Hub name, local folder, or a model of the embedded ladder (`embedded:xs`)."""
    label: str = ""
    """Its name in pairs and tables; empty = the last part of the name or folder."""
    revision: str | None = None
    """Hub commit, tag or branch; null = the newest, resolved to a commit when planned."""
    training: dict[str, Any] = {}
    """Settings of `training` that differ for this model, as supervisor, student and ceiling."""
    execution: dict[str, Any] = {}
    """Settings of `execution` that differ for this model."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Off unless you have read that code."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            value = {"label": PurePath(value["name"]).name, **value}
        return value


class Method(Frozen):
    """What a student is trained with: fixed settings, and a search over some of them."""

    loss: Loss = XentLoss()
    early_stopping: EarlyStopping | None = None
    """Replaces the sweep's for this method's students; null = the sweep's."""
    training: dict[str, Any] = {}
    """Settings of `training` that differ for this method's students."""
    search: dict[str, Choices] = {}
    """Dotted setting (`loss.alpha`, `early_stopping.patience`, `training.lr`) -> what to try. A
    setting that has kinds (`loss`, `training.tuning`) -> `one_of`: each kind with its own settings,
    as `loss: {one_of: [{kind: xent}, {kind: confidence, alpha: {uniform: [0, 0.9]}}]}`."""
