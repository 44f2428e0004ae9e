"""The graph of runs: fits, studies and cells, with their dependencies.

Owns which runs are ready, which runs a failure blocks, and the totals. `make` makes the graph. It
reads no results and starts no runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from w2s_ray.config import Execution, FitRecipe, Link, ModelSource, Pair, StudyRecipe, Sweep
from w2s_ray.data.inputs import Inputs
from w2s_ray.short_table import ShortTable, ShownAsTable

Role = Literal["supervisor", "step", "ceiling", "student"]
"""The role of a fit in a cell. A step is any other fit of a chain: an intermediate model, an
earlier student, or the language modelling before the student or the ceiling."""
ROLES: tuple[Role, ...] = ("supervisor", "step", "ceiling", "student")


@dataclass(frozen=True, repr=False)
class PlannedFit:
    """A fit with everything that is needed to run it."""

    id: str
    recipe: FitRecipe
    source: ModelSource
    execution: Execution
    task: str
    """The task's name in tables."""
    roles: tuple[Role, ...] = ()
    """Its roles; several if cells share it."""
    weak: str | None = None
    """For students: the supervisor's model, by its name in tables."""
    methods: tuple[str, ...] = ()
    """For students: the methods; several if their settings are the same."""
    sealed: bool = False
    """Whether it gets no test labels. This is no part of its recipe, since training is the same."""
    teacher: PlannedFit | None = field(default=None, repr=False)
    """The fit whose labels it learns, where a transform reads that fit's hidden states."""
    notes: tuple[str, ...] = ()
    """What it is in a series of fits: `layer 2 of 3`; several if methods share it."""

    def __repr__(self) -> str:
        return f"<fit {self.id}: {self.description}>"

    @property
    def role_and_method(self) -> str:
        """Its roles, and a student's methods: `student naive`."""
        return " and ".join(self.roles) + (f" {'/'.join(self.methods)}" if self.methods else "")

    @property
    def subject(self) -> str:
        """A student's methods, or else its roles, as in `PlannedStudy.subject`."""
        return "/".join(self.methods) or " and ".join(self.roles)

    @property
    def description(self) -> str:
        """Its description on a terminal."""
        has_teacher = self.recipe.labels.runs and self.recipe.trained
        by = f" taught by {self.weak}" if self.weak and has_teacher else ""
        taught = f"{by}, {'/'.join(self.methods)}" if self.weak else ""
        model, seed = self.source.name, self.recipe.seed
        text = f"{'/'.join(self.roles)} {model}{taught} on {self.task}, seed {seed}"
        return f"{text}, {' and '.join(self.notes)}" if self.notes else text

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the fits that it starts from or whose predictions it uses."""
        return self.recipe.parents


def with_kept_weights(execution: Execution, recipe: FitRecipe, *, read: bool = False) -> Execution:
    """`execution`, with `keep` set for fits whose weights other fits need.

    `read`: whether a transform of another fit reads its hidden states.
    """
    if not (recipe.keeps_weights or read):
        return execution
    keep = "last" if recipe.early_stopping is None else "best"
    if recipe.training.tuning.kind == "probe" and execution.keep == "none":
        keep = "head"  # its model is there already
    return execution.model_copy(update={"keep": keep})


@dataclass(frozen=True, repr=False)
class PlannedStudy:
    """A study with everything that is needed to run it."""

    id: str
    recipe: StudyRecipe
    method: str | None
    """The method of its students; None for a study of a supervisor or ceiling."""
    tasks: tuple[str, ...]
    """Names of the tasks in tables, one for each of the recipe's cells."""
    pairs: tuple[Pair, ...]
    """One for each of the recipe's cells; none for a study of a supervisor or ceiling."""
    sources: tuple[ModelSource, ...]
    """One for each of the recipe's cells."""
    executions: tuple[Execution, ...]
    """One for each of the recipe's cells."""
    between: tuple[tuple[tuple[ModelSource, Execution], ...], ...] = ()
    """For each of the recipe's cells its intermediate models and how they run."""
    sealed: bool = False
    """Whether its fits get no test labels."""
    roles: tuple[Role, ...] = ("student",)
    """The roles of the fits whose settings it chooses."""
    teachers: tuple[PlannedFit | None, ...] = ()
    """For each of the recipe's cells its supervisor, where a transform reads its hidden states."""

    def __repr__(self) -> str:
        return f"<study {self.id}: {self.description}>"

    @property
    def subject(self) -> str:
        """The method, or else the roles, whose settings it chooses."""
        return self.method or " and ".join(self.roles)

    @property
    def task(self) -> str:
        """The names of its tasks."""
        return "/".join(dict.fromkeys(self.tasks))

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the fits that its cells depend on, and of studies whose settings are tried first.

        A failed predecessor blocks the study, because its trials must depend only on its recipe.
        """
        fits = (*self.recipe.cells, *(fit for fits in self.recipe.between for fit in fits))
        parents = dict.fromkeys(parent for fit in fits for parent in fit.parents)
        return (*parents, *self.recipe.warm_start)

    def trial_chains(self, settings: dict[str, Any]) -> tuple[tuple[PlannedFit, ...], ...]:
        """Each cell's fits of the trial with `settings` (dotted), the searched one last."""
        chains = self.recipe.trial_chains(settings)
        return tuple(self._planned(cell, links) for cell, links in enumerate(chains))

    def trial_fits(self, settings: dict[str, Any]) -> tuple[PlannedFit, ...]:
        """All fits of the trial with `settings` (dotted), cell after cell."""
        return tuple(fit for fits in self.trial_chains(settings) for fit in fits)

    @cached_property
    def trial_models(self) -> tuple[str, ...]:
        """The models of the fits of one trial, with the stages as in the sweep file."""
        return tuple(fit.source.name for fit in self.trial_fits({}))

    def _planned(self, cell: int, links: tuple[Link, ...]) -> tuple[PlannedFit, ...]:
        fits = list[PlannedFit]()
        read = {run for link in links for run in link.recipe.read_runs}
        known = {fit.id: fit for fit in self.teachers if fit is not None}
        for link in links:
            source, execution = self.sources[cell], self.executions[cell]
            if link.rung is not None:
                source, execution = self.between[cell][link.rung]
            fits.append(
                PlannedFit(
                    id=link.recipe.run_id,
                    recipe=link.recipe,
                    source=source,
                    execution=with_kept_weights(
                        execution, link.recipe, read=link.recipe.run_id in read
                    ),
                    task=self.tasks[cell],
                    roles=self.roles if link is links[-1] else ("step",),
                    weak=self.pairs[cell][0] if self.pairs else None,
                    methods=(self.method,) if self.method is not None else (),
                    sealed=self.sealed,
                    teacher=next((known[run] for run in link.recipe.read_runs), None),
                    notes=(link.note,) if link.note else (),
                )
            )
            known[fits[-1].id] = fits[-1]
        return tuple(fits)

    @property
    def description(self) -> str:
        """Its description on a terminal."""
        model = "" if self.method is not None else f" {self.sources[0].name}"
        return f"study of {self.subject}{model} on {self.cells}"

    @property
    def cells(self) -> str:
        """Its cells in words: each task, with its pairs if it has any."""
        if not self.pairs:
            return ", ".join(self.tasks)
        by_task: dict[str, list[str]] = {}
        for task, (weak, strong) in zip(self.tasks, self.pairs, strict=True):
            by_task.setdefault(task, []).append(f"{weak} → {strong}")
        return "; ".join(f"{task} ({', '.join(pairs)})" for task, pairs in by_task.items())


Run_co = TypeVar("Run_co", bound=PlannedFit | PlannedStudy, covariant=True)


@dataclass(frozen=True)
class Later(Generic[Run_co]):
    """A run that can't start before a study has ended, which chooses its settings or those of a run
    that it depends on. It is then planned again.
    """

    run: Run_co
    """The run as if the study chose the settings that the sweep file declares. Its id is
    provisional."""
    study: str
    """Id of the planned study."""
    searched: bool = False
    """Whether a study chooses its own settings."""


@dataclass(frozen=True)
class PlannedCell:
    """One replicate of (task, pair, method), for which a PGR is computed."""

    task: str
    weak: str
    strong: str
    method: str
    seed: int
    objective: str
    """`none` for a method without search, else the objective of its study."""
    searched: bool
    """Whether a transfer study used the ground truth of this cell (its task and pair)."""
    study: str | None
    """The study that chooses the student's settings; None also until it is planned."""
    supervisor_study: str | None
    """The study that chooses the supervisor's settings; None without a search."""
    ceiling_study: str | None
    """The study that chooses the ceiling's settings; None without a search."""
    supervisor: str | None
    """None until its settings are chosen, like the ceiling and the student."""
    ceiling: str | None
    student: str | None
    control: bool
    """Whether the method is a control."""

    @property
    def studies(self) -> tuple[str, ...]:
        """Ids of the studies that choose settings of its fits."""
        studies = (self.study, self.supervisor_study, self.ceiling_study)
        return tuple(dict.fromkeys(study for study in studies if study is not None))


@dataclass(repr=False)
class Plan(ShownAsTable):
    """The graph. Keys are run ids; their order is a possible order of execution."""

    sweep: Sweep
    inputs: Inputs
    fits: dict[str, PlannedFit] = field(default_factory=dict)
    studies: dict[str, PlannedStudy] = field(default_factory=dict)
    later_fits: dict[str, Later[PlannedFit]] = field(default_factory=dict)
    later_studies: dict[str, Later[PlannedStudy]] = field(default_factory=dict)
    cells: list[PlannedCell] = field(default_factory=list)
    uses: Counter[Role] = field(default_factory=Counter)
    """Number of fits of each role if cells didn't share fits."""

    def summary(self) -> ShortTable:
        """The plan's size and its fits of each kind."""
        from w2s_ray.plan.summary import summary

        return summary(self)

    @property
    def waiting(self) -> int:
        """Number of fits whose recipes are not known yet, because a study isn't done."""
        return len(self.later_fits)

    @property
    def every_study(self) -> tuple[PlannedStudy, ...]:
        """The studies, later ones included."""
        return (*self.studies.values(), *(later.run for later in self.later_studies.values()))

    @property
    def trials(self) -> int:
        """Largest number of fits that the studies train, later ones included."""
        return sum(study.recipe.trials * len(study.trial_models) for study in self.every_study)

    def ready(self, *, done: Set[str], excluded: Set[str]) -> Iterator[str]:
        """Ids of runs that are neither done nor excluded and whose parents are all done."""
        for run in (*self.fits.values(), *self.studies.values()):
            if run.id not in done and run.id not in excluded and done >= set(run.parents):
                yield run.id

    def blocked_by(self, failed: Collection[str]) -> dict[str, str]:
        """Run id -> the failed run that it depends on."""
        blocked: dict[str, str] = {}
        for run in (*self.fits.values(), *self.studies.values()):
            cause = next((p for p in run.parents if p in failed or p in blocked), None)
            if cause is not None and run.id not in failed:
                blocked[run.id] = blocked.get(cause, cause)
        return blocked
