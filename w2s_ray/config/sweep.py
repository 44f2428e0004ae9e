"""The whole sweep file: its sections, and the checks of the sections against each other.

Owns every check that needs only the file, and the settings of a model as a supervisor or as a
method's student. It reads no data and plans no runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)

from w2s_ray.config.check_space import check_space
from w2s_ray.config.controls import PREFIX, OptionalControls, control_methods
from w2s_ray.config.declared import Method, Model
from w2s_ray.config.execution import Execution, Limits
from w2s_ray.config.ladders import with_ladders_expanded
from w2s_ray.config.merge import merged, with_settings
from w2s_ray.config.names import LONGEST_NAME, FolderOrUri, Name, Seed
from w2s_ray.config.search import GroundTruth, Pair, Search, TaskPair, with_shared_searches
from w2s_ray.config.settings import EarlyStopping, FitSettings, Training
from w2s_ray.config.space import Space, branches
from w2s_ray.config.stages import BootstrapStage, kind_of
from w2s_ray.config.tasks import ALL_ROWS, Task
from w2s_ray.config.trackers import Trackers
from w2s_ray.config.tuning import base_of
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.plugins import Plugin, usable
from w2s_ray.printable import shown
from w2s_ray.validation import first_problem

MOST_CELLS = 1_000_000


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise InputError(f"seeds {shown(list(seeds))} repeat a seed; list each seed once")
    return seeds


def _loaded(name: Any) -> Any:
    """The plugin that was loaded from this name before the sweep is validated."""
    if not isinstance(name, str):
        raise InputError(f"{shown(name)} is no plugin; write the path of a file, or a module")
    found = [plugin for plugin in usable() if plugin.name == name]
    if not found:
        raise InputError(f"{shown(name)} isn't loaded; read the sweep with load_sweep")
    return found[0]


DeclaredPlugin = Annotated[
    Plugin,
    PlainValidator(_loaded, json_schema_input_type=str),
    PlainSerializer(lambda plugin: plugin.name, return_type=str),
]


class Sweep(Frozen):
    """A whole sweep file."""

    name: str = Field(max_length=LONGEST_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The sweep's name in the store and in tables."""
    plugins: tuple[DeclaredPlugin, ...] = Field(default=(), max_length=100)
    """Your own losses, transforms, extractors and tasks: Python files, relative to this file, and
    modules of installed packages. Their code is executed whenever the sweep is planned."""
    tasks: tuple[Task, ...] = Field(min_length=1)
    """The tasks. With one task you may write `task: {...}` instead."""
    models: tuple[Model, ...] = Field(min_length=1)
    """The models, weakest first. `{ladder: pythia, from: 70m, to: 1.4b}`, in place of the list or
    of an entry, is short for those models with the ladder's learning rates."""
    pairs: Literal["weaker_to_stronger", "weaker_or_same", "adjacent"] | tuple[Pair, ...] = (
        "weaker_to_stronger"
    )
    """The (weak, strong) pairs in the table: every weaker model with every stronger one; these and
    each model with itself (weaker_or_same); neighbours in the list only (adjacent); or a list."""
    ceiling_on: Literal["student_half", "supervisor_half"] = "student_half"
    """The half of the training rows whose ground truth trains the ceiling. student_half: student
    and ceiling see the same texts with different labels. supervisor_half: fewer fits, because one
    fit can be a supervisor and a ceiling."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)] = (0,)
    """Replicates. Each seed trains its own supervisors, ceilings and students on the same rows."""
    training: Training = Training()
    """Training settings of every fit. A model or a method can override them."""
    early_stopping: EarlyStopping | None = None
    """Early stopping of every fit, on validation rows. Supervisors and ceilings use ground truth
    there, students use weak labels. null = no early stopping."""
    methods: dict[Name, Method] = Field(min_length=1)
    """The methods: each name in the table with its settings."""
    controls: OptionalControls = None
    """`true`, or a mapping with settings: rows below the table that a method must beat to show
    anything. `false` or null = none."""
    seal: bool = False
    """true: fits get no test labels, so that no record and no curve has a test figure. Tables,
    figures and reports score the stored predictions, and the store counts how often."""
    search: Search = Search()
    """How the settings of methods with a `search` are searched."""
    ground_truth: GroundTruth = GroundTruth()
    """What to search for supervisors and ceilings."""
    execution: Execution = Execution()
    """How fits run. A model can override it."""
    limits: Limits = Limits()
    """How much runs at the same time."""
    trackers: Trackers = Trackers()
    """Which experiment trackers get the curves: `[tensorboard]`, or a mapping with settings."""
    store: FolderOrUri = "results"
    """Folder or URI of the results. A relative folder starts at the current directory. Several
    sweeps can share a store."""

    @model_validator(mode="before")
    @classmethod
    def _one_task(cls, value: Any) -> Any:
        if isinstance(value, dict) and "task" in value:
            if "tasks" in value:
                raise InputError("give `task` (one) or `tasks` (a list), not both")
            value = {**value, "tasks": [value["task"]]}
            del value["task"]
        return value

    @model_validator(mode="before")
    @classmethod
    def _ladders(cls, value: Any) -> Any:
        if isinstance(value, dict) and "models" in value:
            value = {**value, "models": with_ladders_expanded(value["models"])}
        return value

    @model_validator(mode="before")
    @classmethod
    def _shared_searches(cls, value: Any) -> Any:
        if isinstance(value, dict) and "methods" in value:
            methods = with_shared_searches(value["methods"], value.get("search"))
            value = {**value, "methods": methods}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Sweep:
        self._check_names()
        self._check_size()
        for model in self.models:
            self.pretraining_of(model)
            self.execution_of(model)
            check_space(
                self.search.shared,
                settings=self.ground_truth_settings(model),
                sampler=self.search.sampler,
                where="search.shared",
            )
            self._check_attention(model, self.ground_truth_settings(model), f"models.{model.label}")
            self._check_ground_truth(model)
            for name, method in self.methods_and_controls.items():
                self._check_method(name, method, model)
        if any(method.search for method in self.methods.values()):
            self._check_searched()
        if self.spaces and self.search.seed in self.seeds:
            raise InputError(
                f"search.seed {self.search.seed} is also in seeds; choose another, because "
                "the best settings must be refitted on seeds that the search didn't use"
            )
        return self

    @cached_property
    def methods_and_controls(self) -> dict[str, Method]:
        """The methods, and after them the controls under their own names."""
        if self.controls is None:
            return self.methods
        added = control_methods(
            self.controls, naive=self.methods.get("naive"), early_stopping=self.early_stopping
        )
        return {**self.methods, **added}

    def methods_on(self, task: str) -> dict[str, Method]:
        """The methods and controls that are used on a task."""
        every = self.methods_and_controls.items()
        return {name: method for name, method in every if task in (method.tasks or (task,))}

    def is_control(self, method: str) -> bool:
        """Whether a name of `methods_and_controls` is a control's."""
        return method not in self.methods

    def model(self, label: str) -> Model:
        """The first model with this label or name.

        Raises:
            InputError: no such model; the message lists the known ones.
        """
        for model in self.models:
            if label in (model.label, model.name):
                return model
        known = ", ".join(model.label for model in self.models)
        raise InputError(f"unknown model {shown(label)}; the sweep's models are: {known}")

    def pretraining_of(self, model: Model) -> tuple[Model, int | None] | None:
        """The entry of `models` whose pretraining makes `model`, and the step (None = the last).

        None = `model` is not pretrained by the sweep.

        Raises:
            InputError: a checkpoint that no pretraining keeps.
        """
        if model.checkpoint is None:
            return (model, None) if model.pretrain is not None else None
        name, _, step = model.checkpoint.partition("@")
        source = self.model(name)
        steps = source.pretrain.checkpoints if source.pretrain is not None else ()
        if not step.isdecimal() or int(step) not in steps:
            kept = ", ".join(f"{name}@{n}" for n in steps) or "none"
            raise InputError(
                f"models.{model.label}.checkpoint: {model.checkpoint!r} is not kept by a "
                f"pretraining (kept: {kept}); give MODEL@STEP with a step of pretrain.checkpoints"
            )
        return source, int(step)

    def cells(self) -> tuple[Pair, ...]:
        """The (weak, strong) pairs to report, as model labels, weakest first."""
        labels = [model.label for model in self.models]
        if not isinstance(self.pairs, str):
            return self._pairs(self.pairs, where="pairs")
        order = range(len(labels))
        match self.pairs:
            case "weaker_to_stronger":
                pairs = [(labels[i], labels[j]) for i in order for j in order if i < j]
            case "weaker_or_same":
                pairs = [(labels[i], labels[j]) for i in order for j in order if i <= j]
            case "adjacent":
                pairs = [(labels[i], labels[i + 1]) for i in order if i + 1 < len(labels)]
        if not pairs:
            raise InputError(
                f"pairs: {self.pairs} gives no pair with {len(labels)} model(s); "
                "add a model, or write weaker_or_same"
            )
        return tuple(pairs)

    def searched_cells(self, task: str) -> tuple[TaskPair, ...]:
        """The cells of the transfer study that chooses the settings of `task`'s students."""
        if not self.search.across_tasks:
            on = self.search.on if self.search.on is not None else self.cells()[:1]
            pairs = self._pairs(
                [entry for entry in on if isinstance(entry, tuple)], where="search.on"
            )
            return tuple(TaskPair(task=task, pair=pair) for pair in pairs)
        entries = [entry for entry in self.search.on or () if isinstance(entry, TaskPair)]
        pairs = [self._pairs([entry.pair], where="search.on")[0] for entry in entries]
        cells = [TaskPair(task=e.task, pair=p) for e, p in zip(entries, pairs, strict=True)]
        return tuple(dict.fromkeys(cells))

    @property
    def spaces(self) -> dict[str, Space]:
        """Every space that is searched, by its key in the sweep file."""
        spaces = {f"methods.{name}.search": method.search for name, method in self.methods.items()}
        spaces["ground_truth.search"] = self.ground_truth.search
        return {key: space for key, space in spaces.items() if space}

    def ground_truth_settings(
        self, model: Model, chosen: dict[str, Any] | None = None
    ) -> FitSettings:
        """Settings of `model` as a supervisor or ceiling, overridden by `chosen` (dotted).

        Raises:
            InputError: an unknown dotted setting, or an invalid value.
        """
        training = merged(self.training, model.training, where=f"models.{model.label}.training")
        stopping = self.early_stopping
        if stopping is not None:
            stopping = stopping.model_copy(update={"oracle": False, "finish_schedule": False})
        settings = FitSettings(training=training, early_stopping=stopping)
        return with_settings(settings, chosen or {}, where="ground_truth.search")

    def student_settings(
        self, method: str, model: Model, chosen: dict[str, Any] | None = None
    ) -> FitSettings:
        """Settings of `model` as a student of `method`, overridden by `chosen` (dotted).

        Raises:
            InputError: an unknown dotted setting, or an invalid value.
        """
        declared = self.methods_and_controls[method]
        training = merged(self.training, model.training, where=f"models.{model.label}.training")
        training = merged(training, declared.training, where=f"methods.{method}.training")
        stopping = declared.early_stopping or self.early_stopping
        given = {
            "training": training,
            "loss": declared.loss,
            "early_stopping": stopping,
            "stages": declared.stages,
        }
        try:
            settings = FitSettings.model_validate(given)
        except ValidationError as error:
            why = first_problem(error, FitSettings, given)
            raise InputError(f"methods.{method}: {why}") from None
        return with_settings(settings, chosen or {}, where=f"methods.{method}.search")

    def between(self, method: str, pair: Pair) -> tuple[Model, ...]:
        """Candidates for the intermediate models of `method`'s bootstrap, weakest first."""
        stages = self.methods_and_controls[method].stages
        stage = next((s for s in stages if isinstance(s, BootstrapStage)), None)
        if stage is None:
            return ()
        if stage.through:
            return tuple(self.model(label) for label in stage.through)
        weak, strong = (self.models.index(self.model(label)) for label in pair)
        return self.models[weak + 1 : strong]

    def execution_of(self, model: Model) -> Execution:
        """How fits of `model` run."""
        return merged(self.execution, model.execution, where=f"models.{model.label}.execution")

    def _pairs(self, pairs: Iterable[Pair], *, where: str) -> tuple[Pair, ...]:
        try:
            labels = [(self.model(weak).label, self.model(strong).label) for weak, strong in pairs]
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        if not labels:
            raise InputError(f"{where} is empty; add a pair such as [small, medium]")
        return tuple(dict.fromkeys(labels))

    def _check_names(self) -> None:
        for what, names in (
            ("models", [model.label for model in self.models]),
            ("tasks", [task.name for task in self.tasks]),
        ):
            for name in names:
                if names.count(name) > 1:
                    hint = "give one a `label`" if what == "models" else "rename one"
                    raise InputError(f"{what} has {name!r} more than once; {hint}")
        for task in self.tasks:
            if task.train == ALL_ROWS:
                raise InputError(
                    f"task {task.name}: train is all, which is for a corpus; give a number of rows"
                )
        names = [task.name for task in self.tasks]
        unused = set(names)
        for name, method in self.methods.items():
            unknown = [task for task in method.tasks if task not in names]
            if unknown:
                raise InputError(
                    f"methods.{name}.tasks: unknown task {shown(unknown[0])}; the sweep's tasks "
                    f"are: {', '.join(names)}"
                )
            unused -= set(method.tasks or names)
            if self.controls is not None and name.startswith(PREFIX):
                raise InputError(
                    f"methods has {shown(name)}, and names that begin with {PREFIX!r} are those of "
                    "controls; rename it, or remove controls"
                )
        if unused:
            raise InputError(
                f"task {min(unused)} is in no method's tasks; add it to one, or remove the task"
            )

    def _check_size(self) -> None:
        """Refuse more cells than a plan can hold, before they are made."""
        models = len(self.models)
        match self.pairs:
            case "adjacent":
                pairs = models - 1
            case "weaker_to_stronger":
                pairs = models * (models - 1) // 2
            case "weaker_or_same":
                pairs = models * (models + 1) // 2
            case listed:
                pairs = len(listed)
        cells = len(self.tasks) * pairs * len(self.methods_and_controls) * len(self.seeds)
        if cells > MOST_CELLS:
            raise InputError(
                f"the sweep has {cells:,} cells (tasks x pairs x methods x seeds), and at most "
                f"{MOST_CELLS:,} are possible; divide it into several sweeps"
            )
        self.cells()

    def _check_method(self, name: str, method: Method, model: Model) -> None:
        training = self.student_settings(name, model).training
        self._check_engine(f"methods.{name}", training, method.search, model)
        self._check_attention(model, self.student_settings(name, model), f"methods.{name}")
        for stage in method.stages:
            try:
                for label in getattr(stage, "supervisors", ()) + getattr(stage, "through", ()):
                    self.model(label)
            except ValueError as error:
                raise InputError(f"methods.{name}.stages.{kind_of(stage)}: {error}") from None
        check_space(
            method.search,
            settings=self.student_settings(name, model),
            sampler=self.search.sampler,
            where=f"methods.{name}.search",
        )

    def _check_ground_truth(self, model: Model) -> None:
        """Refuse settings that `model` can't have as a supervisor or ceiling."""
        settings, space = self.ground_truth_settings(model), self.ground_truth.search
        if not space:
            return
        where = "ground_truth.search"
        self._check_engine(where, settings.training, space, model)
        check_space(space, settings=settings, sampler=self.search.sampler, where=where)
        if self.ground_truth.tasks == "together" and len(self.tasks) > 1:
            self._check_evaluations(space, where, "several tasks", "set tasks: separate")

    def _check_engine(self, where: str, training: Training, space: Space, model: Model) -> None:
        """Refuse settings that need the torch engine for a model with another engine."""
        if self.execution_of(model).engine == "torch":
            return
        kinds, decays = [str(training.tuning.kind)], [str(training.weight_decay_to)]
        bases = [base_of(training.tuning)]
        for branch in branches(space):
            kinds.append(str(branch.fixed.get("training.tuning.kind")))
            bases.append(branch.fixed.get("training.tuning.base"))
            for path, tried in (("weight_decay_to", decays), ("tuning.base", bases)):
                free = branch.free.get(f"training.{path}")
                tried.extend(free.examples() if free else ())
        for key, value, values in (
            ("tuning.kind", "lp_ft", kinds),
            ("tuning.base", "nf4", bases),
            ("weight_decay_to", "initial", decays),
        ):
            if value in values:
                raise InputError(
                    f"{where}: training.{key} is {value}, which the DeepSpeed engine "
                    f"doesn't support; set execution.engine: torch for {model.label}, or choose "
                    f"another {key}"
                )

    def _check_attention(self, model: Model, settings: FitSettings, where: str) -> None:
        """Refuse an attention that has no kernel for the precision."""
        attention = self.execution_of(model).attention
        if attention.startswith("flash") and settings.training.precision != "bf16":
            raise InputError(
                f"{where}: training.precision is {settings.training.precision} for {model.label}, "
                f"and execution.attention: {attention} computes in half precision only; set "
                "precision: bf16, or attention: sdpa"
            )

    def _check_searched(self) -> None:
        """Refuse cells to search that don't exist or that can't be searched together."""
        searched = self.searched_cells(self.tasks[0].name)
        names = [task.name for task in self.tasks]
        for cell in searched:
            if cell.task not in names:
                raise InputError(
                    f"search.on: unknown task {shown(cell.task)}; the sweep's tasks are: "
                    f"{', '.join(names)}"
                )
        for name, method in self.methods.items():
            other = [cell.task for cell in searched if name not in self.methods_on(cell.task)]
            if method.search and other and self.search.across_tasks:
                raise InputError(
                    f"search.on has task {other[0]}, but methods.{name}.tasks is "
                    f"{', '.join(method.tasks)}; add it there, or search within each task"
                )
        engines = {self.execution_of(self.model(cell.pair[1])).engine for cell in searched}
        if len(engines) > 1:
            raise InputError(
                "search.on has students with different engines; list pairs whose students all use "
                "the same engine"
            )
        if len(searched) > 1 and self.search.objective == "transfer":
            for name, method in self.methods.items():
                where = f"methods.{name}.search"
                self._check_evaluations(method.search, where, "several pairs", "search one pair")

    def _check_evaluations(self, space: Space, where: str, several: str, remedy: str) -> None:
        """Refuse a scheduler for trials of several cells with different evaluations."""
        for path in ("training.epochs", "training.evaluations_per_epoch"):
            if path in space and self.search.scheduler != "none":
                raise InputError(
                    f"{where}.{path} changes when a trial is evaluated, and "
                    f"scheduler: {self.search.scheduler} with {several} needs trials with "
                    f"the same evaluations; {remedy}, or set scheduler: none"
                )
