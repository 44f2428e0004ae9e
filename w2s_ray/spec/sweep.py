"""The sweep file: tasks, models from weak to strong, methods, search, execution.

Owns the shape of what a user writes and every check that needs nothing but the file itself. It
reads no data, and knows nothing of how the grid becomes runs or where they run.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from w2s_ray.spec.execution import Execution
from w2s_ray.spec.merge import merged, set_path
from w2s_ray.spec.settings import (
    EarlyStopping,
    FitSettings,
    Frozen,
    Loss,
    Training,
    XentLoss,
)
from w2s_ray.spec.space import Distribution

Pair = tuple[str, str]
"""(weak, strong): names of the supervisor's and the student's model."""


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
    search: dict[str, Distribution] = {}
    """Dotted setting (`loss.alpha`, `early_stopping.patience`, `training.lr`) -> what to try."""


class Search(Frozen):
    """How settings are searched, for every method that has a `search`."""

    trials: int = Field(default=16, ge=1)
    """Settings tried in each study (grid: at most; the grid's size if that is less)."""
    objective: Literal["transfer", "weak_validation", "oracle"] = "transfer"
    """What a study may look at. transfer: ground truth of other cells (`on`). weak_validation: weak
    labels of the cell itself. oracle: ground truth of the cell itself, an upper bound."""
    on: tuple[Pair, ...] | None = None
    """The pairs that a transfer study trains; null = the sweep's first pair."""
    metric: Literal["accuracy", "log_loss"] = "accuracy"
    """Measured on validation, and maximized or minimized."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    scheduler: Literal["none", "asha"] = "none"
    """asha: stop unpromising trials early, by successive halving over evaluations."""
    grace_evaluations: int = Field(default=2, ge=1)
    """Evaluations that asha lets every trial have."""
    reduction_factor: float = Field(default=3.0, gt=1)
    """asha keeps one in this many at each rung."""
    seed: int = 1000
    """Seeds the sampler and the trials' fits; not among `seeds`, so that refits are fresh."""
    concurrent_trials: int = Field(default=4, ge=1)
    """Trials of a study that may run at once. Part of identity: trial n is proposed and pruned by
    what trials up to n - concurrent_trials have shown, so a study gives the same result whatever
    finishes first."""


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds {list(seeds)} repeat a seed; each seed is one replicate")
    return seeds


class Sweep(Frozen):
    """A whole sweep file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the sweep in the store."""
    tasks: tuple[Task, ...] = Field(min_length=1)
    """The tasks; `task:` with a single mapping says the same."""
    models: tuple[Model, ...] = Field(min_length=1)
    """Pretrained models, weakest first."""
    pairs: Literal["weaker_to_stronger", "weaker_or_same", "adjacent"] | tuple[Pair, ...] = (
        "weaker_to_stronger"
    )
    """Which (weak, strong) pairs are cells: all from weaker to stronger, the same with same-size
    pairs, neighbours only, or an explicit list."""
    ceiling_on: Literal["student_half", "supervisor_half"] = "student_half"
    """Half whose ground truth trains the ceiling: the student's (same inputs, other labels) or the
    supervisor's (fewer fits, since a supervisor can be a ceiling)."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_distinct)] = (0,)
    """Replicates: each trains its own supervisors, ceilings and students."""
    training: Training = Training()
    """Settings of every fit; models and methods may differ."""
    early_stopping: EarlyStopping | None = None
    """Early stopping of every fit, on validation rows: ground truth for supervisors and ceilings,
    weak labels for students."""
    methods: dict[str, Method] = Field(min_length=1)
    """Name -> method."""
    search: Search = Search()
    """How methods with a `search` are searched."""
    execution: Execution = Execution()
    """How fits run; models may differ."""
    store: str = "results"
    """Folder or URI of the results, relative to the current directory; shared by sweeps."""

    @model_validator(mode="before")
    @classmethod
    def _one_task(cls, value: Any) -> Any:
        if isinstance(value, dict) and "task" in value:
            if "tasks" in value:
                raise ValueError("give `task` (one) or `tasks` (a list), not both")
            value = {**value, "tasks": [value["task"]]}
            del value["task"]
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Sweep:
        self._check_names()
        self.cells()
        for model in self.models:
            self.execution_of(model)
            self.ground_truth_settings(model)
            for name, method in self.methods.items():
                self._check_method(name, method, model)
        if self._searched():
            self.searched_pairs()
            if self.search.seed in self.seeds:
                raise ValueError(
                    f"search.seed {self.search.seed} is also in seeds; choose another, so that "
                    "winners are refitted on fresh seeds"
                )
        return self

    def model(self, label: str) -> Model:
        """The model called `label` (or, where that is unambiguous, named so).

        Raises:
            ValueError: no such model; the message lists the known ones.
        """
        for model in self.models:
            if label in (model.label, model.name):
                return model
        known = ", ".join(model.label for model in self.models)
        raise ValueError(f"unknown model {label!r}; the sweep's models are: {known}")

    def cells(self) -> tuple[Pair, ...]:
        """The (weak, strong) pairs to report, as model labels, weakest first."""
        labels = [model.label for model in self.models]
        if not isinstance(self.pairs, str):
            return self._pairs(self.pairs, where="pairs")
        order = range(len(labels))
        match self.pairs:
            case "weaker_to_stronger":
                found = [(labels[i], labels[j]) for i in order for j in order if i < j]
            case "weaker_or_same":
                found = [(labels[i], labels[j]) for i in order for j in order if i <= j]
            case "adjacent":
                found = [(labels[i], labels[i + 1]) for i in order if i + 1 < len(labels)]
        if not found:
            raise ValueError(
                f"pairs: {self.pairs} gives no pair with {len(labels)} model(s); "
                "add a model, or say weaker_or_same"
            )
        return tuple(found)

    def searched_pairs(self) -> tuple[Pair, ...]:
        """The pairs that a transfer study trains."""
        on = self.search.on if self.search.on is not None else self.cells()[:1]
        pairs = self._pairs(on, where="search.on")
        engines = {self.execution_of(self.model(strong)).engine for _, strong in pairs}
        if len(engines) > 1:
            raise ValueError(
                "search.on names students with different engines; name pairs whose students all "
                "run on one of torch and deepspeed"
            )
        if self.search.scheduler == "asha" and len(pairs) > 1:
            raise ValueError(
                f"search.scheduler is asha and search.on names {len(pairs)} pairs; asha compares "
                "trials step by step on one pair: name one pair, or set scheduler: none"
            )
        return pairs

    def ground_truth_settings(self, model: Model) -> FitSettings:
        """Settings of `model` as a supervisor or ceiling."""
        training = merged(self.training, model.training, where=f"models.{model.label}.training")
        stopping = self.early_stopping
        if stopping is not None:
            stopping = stopping.model_copy(update={"oracle": False})
        return FitSettings(training=training, early_stopping=stopping)

    def student_settings(
        self, method: str, model: Model, chosen: dict[str, Any] | None = None
    ) -> FitSettings:
        """Settings of `model` as a student of `method`, with `chosen` dotted settings put in.

        Raises:
            ValueError: a dotted name that is no setting, or a value that it can't have.
        """
        declared = self.methods[method]
        training = merged(self.training, model.training, where=f"models.{model.label}.training")
        training = merged(training, declared.training, where=f"methods.{method}.training")
        stopping = declared.early_stopping or self.early_stopping
        settings = FitSettings(training=training, loss=declared.loss, early_stopping=stopping)
        for path, value in (chosen or {}).items():
            settings = set_path(settings, path, value, where=f"methods.{method}.search")
        return settings

    def execution_of(self, model: Model) -> Execution:
        """How fits of `model` run."""
        return merged(self.execution, model.execution, where=f"models.{model.label}.execution")

    def _pairs(self, pairs: tuple[Pair, ...], *, where: str) -> tuple[Pair, ...]:
        try:
            named = [(self.model(weak).label, self.model(strong).label) for weak, strong in pairs]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if not named:
            raise ValueError(f"{where} is empty; name a pair such as [small, medium]")
        return tuple(dict.fromkeys(named))

    def _searched(self) -> bool:
        return any(method.search for method in self.methods.values())

    def _check_names(self) -> None:
        for what, names in (
            ("models", [model.label for model in self.models]),
            ("tasks", [task.name for task in self.tasks]),
        ):
            for name in names:
                if names.count(name) > 1:
                    hint = "give one a `label`" if what == "models" else "rename one"
                    raise ValueError(f"{what} has {name!r} more than once; {hint}")

    def _check_method(self, name: str, method: Method, model: Model) -> None:
        settings = self.student_settings(name, model)
        for path, distribution in method.search.items():
            if path == "early_stopping.oracle":
                raise ValueError(
                    f"methods.{name}.search.{path}: a search may not choose between ground truth "
                    "and weak labels; set oracle in a method of its own"
                )
            for value in distribution.examples():
                set_path(settings, path, value, where=f"methods.{name}.search")
            if self.search.sampler == "grid" and distribution.grid() is None:
                raise ValueError(
                    f"methods.{name}.search.{path}: sampler grid needs choices; "
                    "use {choice: [...]} or sampler: tpe"
                )
