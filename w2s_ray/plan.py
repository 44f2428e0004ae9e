"""The plan: a sweep as a graph of runs, each planned once however many cells use it.

Owns the way from (sweep, resolved inputs, settings that finished studies chose) to fits, studies
and cells, with ids, dependencies and totals. It is a pure function: asked again after a study
has ended, it knows that study's refits. It reads no data and no store, and knows no Ray and no
torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Literal

from w2s_ray.data.inputs import Inputs
from w2s_ray.spec import (
    Execution,
    FitRecipe,
    FitSettings,
    Method,
    Model,
    ModelSource,
    Pair,
    StudyRecipe,
    Sweep,
    Task,
)

Role = Literal["supervisor", "ceiling", "student"]
ROLES: tuple[Role, ...] = ("supervisor", "ceiling", "student")
Outcomes = Mapping[str, Mapping[str, Any]]
"""Study id -> the dotted settings that it chose."""


@dataclass(frozen=True)
class PlannedFit:
    """A fit with all that is needed to carry it out."""

    id: str
    recipe: FitRecipe
    source: ModelSource
    execution: Execution
    task: str
    """The task's name in tables."""
    roles: tuple[Role, ...] = ()
    """What cells use it as; more than one where cells share it."""
    weak: str | None = None
    """A student's supervisor's model, by its name in tables."""
    methods: tuple[str, ...] = ()
    """The methods that it is a student of; more than one where their settings are the same."""

    @property
    def called(self) -> str:
        """What to call it on a terminal."""
        taught = f" taught by {self.weak}, {'/'.join(self.methods)}" if self.weak else ""
        model, seed = self.source.name, self.recipe.seed
        return f"{'/'.join(self.roles)} {model}{taught} on {self.task}, seed {seed}"

    @property
    def parents(self) -> tuple[str, ...]:
        """Fits whose predictions are its labels."""
        return () if self.recipe.learns_from_ground_truth else (self.recipe.labels,)


@dataclass(frozen=True)
class PlannedStudy:
    """A search with all that is needed to carry it out."""

    id: str
    recipe: StudyRecipe
    method: str
    task: str
    pairs: tuple[Pair, ...]
    sources: tuple[ModelSource, ...]
    """One for each of the recipe's cells."""
    executions: tuple[Execution, ...]
    """One for each of the recipe's cells."""

    @property
    def parents(self) -> tuple[str, ...]:
        """Supervisors of the cells searched."""
        return tuple(dict.fromkeys(cell.labels for cell in self.recipe.cells))

    def trial_fits(self, settings: dict[str, Any]) -> tuple[PlannedFit, ...]:
        """The fits of the trial that tries `settings` (dotted)."""
        return tuple(
            PlannedFit(
                id=recipe.run_id,
                recipe=recipe,
                source=source,
                execution=execution,
                task=self.task,
                roles=("student",),
                weak=weak,
                methods=(self.method,),
            )
            for recipe, source, execution, (weak, _) in zip(
                self.recipe.trial_fits(settings),
                self.sources,
                self.executions,
                self.pairs,
                strict=True,
            )
        )

    @property
    def called(self) -> str:
        """What to call it on a terminal."""
        pairs = ", ".join(f"{weak} → {strong}" for weak, strong in self.pairs)
        return f"study of {self.method} on {self.task} ({pairs})"


@dataclass(frozen=True)
class PlannedCell:
    """One replicate of (task, pair, method): what a PGR is computed from."""

    task: str
    weak: str
    strong: str
    method: str
    seed: int
    objective: str
    """`none` for a method without search, else what its study may look at."""
    searched: bool
    """A transfer study looked at this very cell's ground truth."""
    study: str | None
    supervisor: str
    ceiling: str
    student: str | None
    """None until the study has chosen the student's settings."""


@dataclass
class Plan:
    """The graph. Keys are run ids; the order of insertion is an order of execution."""

    sweep: Sweep
    inputs: Inputs
    fits: dict[str, PlannedFit] = field(default_factory=dict)
    studies: dict[str, PlannedStudy] = field(default_factory=dict)
    cells: list[PlannedCell] = field(default_factory=list)
    uses: Counter[Role] = field(default_factory=Counter)
    """How many fits of each role a run of one cell after the other would train."""

    @property
    def waiting(self) -> int:
        """Refits whose recipes are known only when their study has ended."""
        return len(
            {(c.study, c.task, c.weak, c.strong, c.seed) for c in self.cells if c.student is None}
        )

    @property
    def trials(self) -> int:
        """Fits that the studies may train at most."""
        return sum(s.recipe.trials * len(s.recipe.cells) for s in self.studies.values())

    def ready(self, *, done: Set[str], excluded: Set[str]) -> Iterator[str]:
        """Ids of runs whose parents are all done, without those done or excluded."""
        for run in (*self.fits.values(), *self.studies.values()):
            if run.id not in done and run.id not in excluded and done >= set(run.parents):
                yield run.id

    def blocked_by(self, failed: Collection[str]) -> dict[str, str]:
        """Run id -> the failed run that it can't do without."""
        blocked: dict[str, str] = {}
        for run in (*self.fits.values(), *self.studies.values()):
            cause = next((p for p in run.parents if p in failed or p in blocked), None)
            if cause is not None and run.id not in failed:
                blocked[run.id] = blocked.get(cause, cause)
        return blocked


def make_plan(sweep: Sweep, inputs: Inputs, *, outcomes: Outcomes | None = None) -> Plan:
    """The graph of `sweep`; `outcomes` are the settings that ended studies chose.

    Raises:
        ValueError: a search whose settings contradict the sweep's.
    """
    plan = Plan(sweep=sweep, inputs=inputs)
    for task in sweep.tasks:
        _Planner(plan, task, dict(outcomes or {})).add_task()
    return plan


@dataclass
class _Planner:
    """Adds one task's part of the graph."""

    plan: Plan
    task: Task
    outcomes: dict[str, Mapping[str, Any]]

    @property
    def sweep(self) -> Sweep:
        return self.plan.sweep

    def add_task(self) -> None:
        for seed in self.sweep.seeds:
            for pair in self.sweep.cells():
                supervisor, ceiling = self.anchors(pair, seed)
                for name, method in self.sweep.methods.items():
                    self.add_cell(name, method, pair, seed, supervisor, ceiling)

    def anchors(self, pair: Pair, seed: int) -> tuple[str, str]:
        """Ids of the pair's supervisor and ceiling."""
        weak, strong = (self.sweep.model(label) for label in pair)
        supervisor = self.ground_truth_fit(weak, seed, "supervisor_half")
        ceiling = self.ground_truth_fit(strong, seed, self.sweep.ceiling_on)
        return (
            self.add_fit(supervisor, weak, "supervisor"),
            self.add_fit(ceiling, strong, "ceiling"),
        )

    def add_cell(
        self, name: str, method: Method, pair: Pair, seed: int, supervisor: str, ceiling: str
    ) -> None:
        study = self.add_study(name, pair) if method.search else None
        strong = self.sweep.model(pair[1])
        student = None
        if study is None or study in self.outcomes:
            chosen = dict(self.outcomes[study]) if study is not None else None
            settings = self.sweep.student_settings(name, strong, chosen)
            recipe = self.student_fit(strong, supervisor, seed, settings)
            student = self.add_fit(recipe, strong, "student", weak=pair[0], method=name)
        self.plan.cells.append(
            PlannedCell(
                task=self.task.name,
                weak=pair[0],
                strong=pair[1],
                method=name,
                seed=seed,
                objective=self.sweep.search.objective if study else "none",
                searched=study is not None and self.is_searched(pair),
                study=study,
                supervisor=supervisor,
                ceiling=ceiling,
                student=student,
            )
        )

    def is_searched(self, pair: Pair) -> bool:
        return self.sweep.search.objective == "transfer" and pair in self.sweep.searched_pairs()

    def add_study(self, name: str, pair: Pair) -> str:
        """The study that finds `name`'s settings for `pair`, planned with its supervisors."""
        search = self.sweep.search
        pairs = self.sweep.searched_pairs() if search.objective == "transfer" else (pair,)
        strong = [self.sweep.model(p[1]) for p in pairs]
        cells = []
        for searched, model in zip(pairs, strong, strict=True):
            weak = self.sweep.model(searched[0])
            supervisor = self.ground_truth_fit(weak, self.sweep.seeds[0], "supervisor_half")
            settings = self.sweep.student_settings(name, model)
            labels = self.add_fit(supervisor, weak, "supervisor", counted=False)
            cells.append(self.student_fit(model, labels, search.seed, settings))
        recipe = StudyRecipe(
            cells=tuple(cells),
            space=self.sweep.methods[name].search,
            **search.model_dump(exclude={"on"}),
        )
        recipe = recipe.model_copy(update={"trials": _trials(recipe)})
        self.plan.studies.setdefault(
            recipe.run_id,
            PlannedStudy(
                id=recipe.run_id,
                recipe=recipe,
                method=name,
                task=self.task.name,
                pairs=pairs,
                sources=tuple(self.plan.inputs.models[m.label] for m in strong),
                executions=tuple(self.sweep.execution_of(m) for m in strong),
            ),
        )
        return recipe.run_id

    def ground_truth_fit(self, model: Model, seed: int, train_on: Any) -> FitRecipe:
        labelled = ("student_half",) if train_on == "supervisor_half" else ()
        settings = self.sweep.ground_truth_settings(model)
        return self.fit(
            model, "ground_truth", seed, settings, train_on, (*labelled, "validation", "test")
        )

    def student_fit(self, model: Model, labels: str, seed: int, settings: FitSettings) -> FitRecipe:
        return self.fit(model, labels, seed, settings, "student_half", ("validation", "test"))

    def fit(
        self,
        model: Model,
        labels: str,
        seed: int,
        settings: FitSettings,
        train_on: Any,
        predicts: Any,
    ) -> FitRecipe:
        return FitRecipe(
            split=self.plan.inputs.splits[self.task.name].fingerprint,
            train_on=train_on,
            model=self.plan.inputs.models[model.label].identity,
            labels=labels,
            training=settings.training,
            loss=settings.loss,
            early_stopping=settings.early_stopping,
            seed=seed,
            predicts=predicts,
        )

    def add_fit(
        self,
        recipe: FitRecipe,
        model: Model,
        role: Role,
        *,
        counted: bool = True,
        weak: str | None = None,
        method: str | None = None,
    ) -> str:
        run_id = recipe.run_id
        if counted:
            self.plan.uses[role] += 1
        known = self.plan.fits.get(run_id)
        had = known.roles if known else ()
        self.plan.fits[run_id] = PlannedFit(
            id=run_id,
            recipe=recipe,
            source=self.plan.inputs.models[model.label],
            execution=self.sweep.execution_of(model),
            task=self.task.name,
            roles=tuple(r for r in ROLES if r == role or r in had),
            weak=weak,
            methods=tuple(
                dict.fromkeys((*(known.methods if known else ()), *([method] if method else ())))
            ),
        )
        return run_id


def _trials(recipe: StudyRecipe) -> int:
    """Trials that the study will have: a grid has no more than its points."""
    if recipe.sampler != "grid":
        return recipe.trials
    points = 1
    for distribution in recipe.space.values():
        points *= len(distribution.grid() or ())
    return min(points, recipe.trials)
