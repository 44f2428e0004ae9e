"""Makes the graph of a sweep: the fits and studies that its cells need.

Owns the iteration over tasks, seeds, pairs and methods, and the recipe of each run. A run that
several cells need is added once. It schedules no runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_ray.config import (
    EnsembleStage,
    FitRecipe,
    FitSettings,
    GenerativeStage,
    Labels,
    Link,
    Method,
    Model,
    Pair,
    StudyRecipe,
    Sweep,
    TaskPair,
    XentLoss,
    chain,
    grid_size,
)
from w2s_ray.data.inputs import Inputs
from w2s_ray.plan.graph import (
    ROLES,
    Plan,
    PlannedCell,
    PlannedFit,
    PlannedStudy,
    Role,
    with_kept_weights,
)
from w2s_ray.plan.tuned import check_models

Outcomes = Mapping[str, Mapping[str, Any]]
"""Study id -> the dotted settings that it chose."""

WARM_SHARE = 4
"""At most one trial in this many tries the settings of a smaller pair's study, but at least one."""


def make_plan(sweep: Sweep, inputs: Inputs, *, outcomes: Outcomes | None = None) -> Plan:
    """The graph of `sweep`; `outcomes` are the settings that finished studies chose.

    Raises:
        InputError: a search whose settings contradict the sweep's, or a fit with settings that its
            model doesn't support.
    """
    plan = Plan(sweep=sweep, inputs=inputs)
    planner = _Planner(plan, dict(outcomes or {}))
    for task in sweep.tasks:
        planner.add_task(task.name)
    check_models(plan)
    return plan


class _Planner:
    """Adds the cells of a sweep and the runs that they need to a plan."""

    def __init__(self, plan: Plan, outcomes: dict[str, Mapping[str, Any]]) -> None:
        self.plan = plan
        self.sweep = plan.sweep
        self.outcomes = outcomes
        self.studies: dict[tuple[str, TaskPair], str] = {}
        """(method, cell) -> id of its study."""

    def add_task(self, task: str) -> None:
        for seed in self.sweep.seeds:
            for pair in self.sweep.cells():
                supervisor, ceiling = self.supervisor_and_ceiling(task, pair, seed)
                for name, method in self.sweep.methods_and_controls.items():
                    self.add_cell(task, name, method, pair, seed, supervisor, ceiling)

    def supervisor_and_ceiling(self, task: str, pair: Pair, seed: int) -> tuple[str, str]:
        """Ids of the pair's supervisor and ceiling."""
        weak, strong = (self.sweep.model(label) for label in pair)
        supervisor = self.ground_truth_fit(task, weak, seed, "supervisor_half")
        ceiling = self.ground_truth_fit(task, strong, seed, self.sweep.ceiling_on)
        supervisor_id = self.add_fit(supervisor, weak, "supervisor", task=task)
        if all(
            _has_generative_stage(method) for method in self.sweep.methods_and_controls.values()
        ):
            return supervisor_id, ceiling.run_id
        return supervisor_id, self.add_fit(ceiling, strong, "ceiling", task=task)

    def add_cell(
        self,
        task: str,
        name: str,
        method: Method,
        pair: Pair,
        seed: int,
        supervisor: str,
        ceiling: str,
    ) -> None:
        study = self.study_of(name, TaskPair(task=task, pair=pair)) if method.search else None
        if _has_generative_stage(method):
            ceiling = self.generative_ceiling(task, name, pair, seed)
        student = None
        if study is None or study in self.outcomes:
            chosen = dict(self.outcomes[study]) if study is not None else {}
            student = self.add_chain(task, name, pair, seed, chosen)
        self.plan.cells.append(
            PlannedCell(
                task=task,
                weak=pair[0],
                strong=pair[1],
                method=name,
                seed=seed,
                objective=self.sweep.search.objective if study else "none",
                searched=study is not None and self.is_searched(task, pair),
                study=study,
                supervisor=supervisor,
                ceiling=ceiling,
                student=student,
                control=self.sweep.is_control(name),
            )
        )

    def add_chain(self, task: str, name: str, pair: Pair, seed: int, chosen: dict[str, Any]) -> str:
        """Plan a cell's student and its chain; returns the student's id."""
        strong, between = self.sweep.model(pair[1]), self.sweep.between(name, pair)
        links = self.chain(task, name, pair, seed, chosen)
        for link in links:
            model = strong if link.rung is None else between[link.rung]
            role = "student" if link is links[-1] else "step"
            self.add_fit(link.recipe, model, role, task=task, weak=pair[0], method=name)
        return links[-1].recipe.run_id

    def chain(
        self, task: str, name: str, pair: Pair, seed: int, chosen: dict[str, Any]
    ) -> tuple[Link, ...]:
        """The fits of a cell after its supervisors, with the settings `chosen`."""
        supervisors = self.supervisors(task, name, pair, seed)
        strong = self.sweep.model(pair[1])
        student, *between = (
            self.student_fit(
                task, model, supervisors, seed, self.sweep.student_settings(name, model, chosen)
            )
            for model in (strong, *self.sweep.between(name, pair))
        )
        stages = self.sweep.student_settings(name, strong, chosen).stages
        return chain(student, between=between, stages=stages)

    def supervisors(self, task: str, name: str, pair: Pair, seed: int) -> tuple[str, ...]:
        """Plan the supervisors of a cell; returns their ids, the pair's own supervisor first."""
        weak = self.sweep.model(pair[0])
        labellers = [(weak, seed)]
        for stage in self.sweep.methods_and_controls[name].stages:
            if isinstance(stage, EnsembleStage):
                labellers += [(self.sweep.model(label), seed) for label in stage.supervisors]
                labellers += [(weak, other) for other in stage.seeds]
        ids = []
        for label, its_seed in dict.fromkeys((model.label, seed) for model, seed in labellers):
            model = self.sweep.model(label)
            recipe = self.ground_truth_fit(task, model, its_seed, "supervisor_half")
            ids.append(self.add_fit(recipe, model, "supervisor", task=task, counted=False))
        return tuple(ids)

    def generative_ceiling(self, task: str, name: str, pair: Pair, seed: int) -> str:
        """Plan the ceiling that starts from the same weights as the method's student."""
        strong = self.sweep.model(pair[1])
        links = self.chain(task, name, pair, seed, {})
        language_model = next(k.recipe for k in links if k.rung is None and not k.recipe.has_labels)
        self.add_fit(language_model, strong, "step", task=task)
        ceiling = self.ground_truth_fit(task, strong, seed, self.sweep.ceiling_on)
        ceiling = ceiling.model_copy(update={"model": f"run:{language_model.run_id}"})
        return self.add_fit(ceiling, strong, "ceiling", task=task)

    def is_searched(self, task: str, pair: Pair) -> bool:
        searched = self.sweep.searched_cells(task)
        cell = TaskPair(task=task, pair=pair)
        return self.sweep.search.objective == "transfer" and cell in searched

    def study_of(self, name: str, cell: TaskPair) -> str:
        """Id of the study that chooses the settings of the method `name` for `cell`."""
        if (name, cell) not in self.studies:
            self.studies[name, cell] = self.add_study(name, cell)
        return self.studies[name, cell]

    def add_study(self, name: str, cell: TaskPair) -> str:
        """Plan the study for `cell`, and the runs that it needs; returns its id."""
        search = self.sweep.search
        transfer = search.objective == "transfer"
        searched = self.sweep.searched_cells(cell.task) if transfer else (cell,)
        between = [self.sweep.between(name, where.pair) for where in searched]
        recipe = StudyRecipe(
            cells=tuple(self.searched_fit(name, where, where.pair[1]) for where in searched),
            between=tuple(
                tuple(self.searched_fit(name, where, model.label) for model in models)
                for where, models in zip(searched, between, strict=True)
            )
            if any(between)
            else (),
            stages=self.sweep.methods_and_controls[name].stages,
            space=self.sweep.methods_and_controls[name].search,
            warm_start=self.add_predecessors(name, cell),
            **search.model_dump(exclude={"on", "warm_start", "of_methods", "shared"}),
        )
        recipe = recipe.model_copy(update={"trials": _trials(recipe)})
        strong = [self.sweep.model(where.pair[1]) for where in searched]
        self.plan.studies.setdefault(
            recipe.run_id,
            PlannedStudy(
                id=recipe.run_id,
                recipe=recipe,
                method=name,
                tasks=tuple(where.task for where in searched),
                pairs=tuple(where.pair for where in searched),
                sources=tuple(self.plan.inputs.models[m.label] for m in strong),
                executions=tuple(self.sweep.execution_of(m) for m in strong),
                between=tuple(
                    tuple(
                        (self.plan.inputs.models[m.label], self.sweep.execution_of(m))
                        for m in models
                    )
                    for models in between
                ),
                sealed=self.sweep.seal,
            ),
        )
        return recipe.run_id

    def add_predecessors(self, name: str, cell: TaskPair) -> tuple[str, ...]:
        """Ids of the studies whose settings the study of `cell` tries first, nearest pair first."""
        search = self.sweep.search
        if search.warm_start == "none":
            return ()
        most = max(1, search.trials // WARM_SHARE)
        smaller = sorted(
            (pair for pair in self.sweep.cells() if self._is_smaller(pair, cell.pair)),
            key=lambda pair: [self._position(label) for label in reversed(pair)],
            reverse=True,
        )
        nearest = [TaskPair(task=cell.task, pair=pair) for pair in smaller[:most]]
        return tuple(dict.fromkeys(self.study_of(name, where) for where in nearest))

    def searched_fit(self, name: str, where: TaskPair, label: str) -> FitRecipe:
        """The recipe of `label` as a student in a trial, before stages and the trial's settings.

        Its supervisors are those of the first seed.
        """
        model = self.sweep.model(label)
        supervisors = self.supervisors(where.task, name, where.pair, self.sweep.seeds[0])
        settings = self.sweep.student_settings(name, model)
        if (stopping := settings.early_stopping) is not None:
            stopping = stopping.model_copy(update={"finish_schedule": False})
            settings = settings.model_copy(update={"early_stopping": stopping})
        return self.student_fit(where.task, model, supervisors, self.sweep.search.seed, settings)

    def ground_truth_fit(self, task: str, model: Model, seed: int, train_on: Any) -> FitRecipe:
        weak_labels = ("student_half",) if train_on == "supervisor_half" else ()
        settings = self.sweep.ground_truth_settings(model)
        predicts = (*weak_labels, "validation", "test")
        labels = Labels(source="ground_truth")
        return self.fit(task, model, labels, seed, settings, train_on, predicts)

    def student_fit(
        self,
        task: str,
        model: Model,
        supervisors: tuple[str, ...],
        seed: int,
        settings: FitSettings,
    ) -> FitRecipe:
        labels = Labels(source=supervisors)
        return self.fit(task, model, labels, seed, settings, "student_half", ("validation", "test"))

    def fit(
        self,
        task: str,
        model: Model,
        labels: Labels,
        seed: int,
        settings: FitSettings,
        train_on: Any,
        predicts: Any,
    ) -> FitRecipe:
        return FitRecipe(
            split=self.plan.inputs.splits[task].fingerprint,
            form=self.plan.inputs.splits[task].form,
            train_on=train_on,
            model=self.initial_model(model, task),
            labels=labels,
            training=settings.training,
            loss=settings.loss,
            early_stopping=settings.early_stopping,
            seed=seed,
            predicts=predicts,
        )

    def initial_model(self, model: Model, task: str) -> str:
        """The identity of the model's initial weights; a pretraining of them is planned.

        For chat messages it includes the digest of the model's chat template.
        """
        pretraining, inputs = self.sweep.pretraining_of(model), self.plan.inputs
        if pretraining is None:
            identity = inputs.models[model.label].identity
            template = inputs.templates.get(model.label) if inputs.splits[task].chat else None
            return identity if template is None else f"{identity} chat:{template}"
        source, step = pretraining
        pretrain = source.pretrain
        assert pretrain is not None
        recipe = FitRecipe(
            split=self.plan.inputs.corpora[source.label].fingerprint,
            form="text",
            train_on="supervisor_half",
            model="new",
            architecture=pretrain.architecture,
            checkpoints=pretrain.checkpoints,
            labels=Labels(source="none"),
            training=pretrain.training,
            loss=XentLoss(),
            seed=pretrain.seed,
            predicts=("test",),
        )
        run = self.add_fit(recipe, source, "step", task=pretrain.corpus.name, counted=False)
        return f"run:{run}" if step is None else f"run:{run}@{step}"

    def add_fit(
        self,
        recipe: FitRecipe,
        model: Model,
        role: Role,
        *,
        task: str,
        counted: bool = True,
        weak: str | None = None,
        method: str | None = None,
    ) -> str:
        run_id = recipe.run_id
        if counted:
            self.plan.uses[role] += 1
        known = self.plan.fits.get(run_id)
        roles = known.roles if known else ()
        self.plan.fits[run_id] = PlannedFit(
            id=run_id,
            recipe=recipe,
            source=self.plan.inputs.models[model.label],
            execution=with_kept_weights(self.sweep.execution_of(model), recipe),
            task=task,
            roles=tuple(r for r in ROLES if r == role or r in roles),
            weak=weak or (known.weak if known else None),
            sealed=self.sweep.seal,
            methods=tuple(
                dict.fromkeys((*(known.methods if known else ()), *([method] if method else ())))
            ),
        )
        return run_id

    def _position(self, label: str) -> int:
        return [model.label for model in self.sweep.models].index(label)

    def _is_smaller(self, pair: Pair, than: Pair) -> bool:
        no_larger = all(
            self._position(a) <= self._position(b) for a, b in zip(pair, than, strict=True)
        )
        return no_larger and pair != than


def _has_generative_stage(method: Method) -> bool:
    return any(isinstance(stage, GenerativeStage) for stage in method.stages)


def _trials(recipe: StudyRecipe) -> int:
    """Number of trials of the study: at most the points of a grid."""
    if recipe.sampler != "grid":
        return recipe.trials
    return min(grid_size(recipe.space), recipe.trials)
