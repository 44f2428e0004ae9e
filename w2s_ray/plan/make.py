"""From a sweep to its graph: which fits and studies its cells need.

Owns the walk over seeds, pairs, methods and tasks, and the recipe of each run. A run that several
cells need is added once. It decides nothing about when or where a run runs.
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
    keeping,
)
from w2s_ray.plan.tuned import check_models

Outcomes = Mapping[str, Mapping[str, Any]]
"""Study id -> the dotted settings that it chose."""

WARM_SHARE = 4
"""One trial in so many may be given to what smaller pairs chose; at least one is."""


def make_plan(sweep: Sweep, inputs: Inputs, *, outcomes: Outcomes | None = None) -> Plan:
    """The graph of `sweep`; `outcomes` are the settings that ended studies chose.

    Raises:
        InputError: a search whose settings contradict the sweep's, or a fit that its model can't be
            trained for.
    """
    plan = Plan(sweep=sweep, inputs=inputs)
    planner = _Planner(plan, dict(outcomes or {}))
    for task in sweep.tasks:
        planner.add_task(task.name)
    check_models(plan)
    return plan


class _Planner:
    """Adds to a graph what its cells need."""

    def __init__(self, plan: Plan, outcomes: dict[str, Mapping[str, Any]]) -> None:
        self.plan = plan
        self.sweep = plan.sweep
        self.outcomes = outcomes
        self.known: dict[tuple[str, TaskPair], str] = {}

    def add_task(self, task: str) -> None:
        for seed in self.sweep.seeds:
            for pair in self.sweep.cells():
                supervisor, ceiling = self.anchors(task, pair, seed)
                for name, method in self.sweep.methods.items():
                    self.add_cell(task, name, method, pair, seed, supervisor, ceiling)

    def anchors(self, task: str, pair: Pair, seed: int) -> tuple[str, str]:
        """Ids of the pair's supervisor and ceiling."""
        weak, strong = (self.sweep.model(label) for label in pair)
        supervisor = self.ground_truth_fit(task, weak, seed, "supervisor_half")
        ceiling = self.ground_truth_fit(task, strong, seed, self.sweep.ceiling_on)
        first = self.add_fit(supervisor, weak, "supervisor", task=task)
        if all(_generates(method) for method in self.sweep.methods.values()):
            return first, ceiling.run_id
        return first, self.add_fit(ceiling, strong, "ceiling", task=task)

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
        if _generates(method):
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
            )
        )

    def add_chain(self, task: str, name: str, pair: Pair, seed: int, chosen: dict[str, Any]) -> str:
        """Plan a cell's student and the steps to it; the student's id."""
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
        """The fits of a cell, after its supervisors, under the settings `chosen`."""
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
        """Ids of the supervisors that label for a cell, which are planned: its own first."""
        weak = self.sweep.model(pair[0])
        found = [(weak, seed)]
        for stage in self.sweep.methods[name].stages:
            if isinstance(stage, EnsembleStage):
                found += [(self.sweep.model(label), seed) for label in stage.supervisors]
                found += [(weak, other) for other in stage.seeds]
        ids = []
        for model, its_seed in dict.fromkeys((model.label, seed) for model, seed in found):
            declared = self.sweep.model(model)
            recipe = self.ground_truth_fit(task, declared, its_seed, "supervisor_half")
            ids.append(self.add_fit(recipe, declared, "supervisor", task=task, counted=False))
        return tuple(ids)

    def generative_ceiling(self, task: str, name: str, pair: Pair, seed: int) -> str:
        """Plan the ceiling that begins with the weights that the method's student begins with."""
        strong = self.sweep.model(pair[1])
        links = self.chain(task, name, pair, seed, {})
        read = next(k.recipe for k in links if k.rung is None and not k.recipe.has_labels)
        self.add_fit(read, strong, "step", task=task)
        ceiling = self.ground_truth_fit(task, strong, seed, self.sweep.ceiling_on)
        begun = ceiling.model_copy(update={"model": f"run:{read.run_id}"})
        return self.add_fit(begun, strong, "ceiling", task=task)

    def is_searched(self, task: str, pair: Pair) -> bool:
        searched = self.sweep.searched_cells(task)
        here = TaskPair(task=task, pair=pair)
        return self.sweep.search.objective == "transfer" and here in searched

    def study_of(self, name: str, cell: TaskPair) -> str:
        """The study that finds `name`'s settings for `cell`."""
        if (name, cell) not in self.known:
            self.known[name, cell] = self.add_study(name, cell)
        return self.known[name, cell]

    def add_study(self, name: str, cell: TaskPair) -> str:
        """Plan the study that finds `name`'s settings for `cell`, after what it waits for."""
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
            stages=self.sweep.methods[name].stages,
            space=self.sweep.methods[name].search,
            warm_start=self.add_predecessors(name, cell),
            **search.model_dump(exclude={"on", "warm_start"}),
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
            ),
        )
        return recipe.run_id

    def add_predecessors(self, name: str, cell: TaskPair) -> tuple[str, ...]:
        """The studies whose winners the study of `cell` tries first, the nearest pair first."""
        search = self.sweep.search
        if search.warm_start == "none":
            return ()
        most = max(1, search.trials // WARM_SHARE)
        smaller = sorted(
            (pair for pair in self.sweep.cells() if self._is_smaller(pair, cell.pair)),
            key=lambda pair: [self._rank(label) for label in reversed(pair)],
            reverse=True,
        )
        nearest = [TaskPair(task=cell.task, pair=pair) for pair in smaller[:most]]
        return tuple(dict.fromkeys(self.study_of(name, where) for where in nearest))

    def searched_fit(self, name: str, where: TaskPair, label: str) -> FitRecipe:
        """What a trial begins with on one cell for the model `label`, before stages.

        Its supervisors are those of the first seed.
        """
        model = self.sweep.model(label)
        supervisors = self.supervisors(where.task, name, where.pair, self.sweep.seeds[0])
        settings = self.sweep.student_settings(name, model)
        return self.student_fit(where.task, model, supervisors, self.sweep.search.seed, settings)

    def ground_truth_fit(self, task: str, model: Model, seed: int, train_on: Any) -> FitRecipe:
        labelled = ("student_half",) if train_on == "supervisor_half" else ()
        settings = self.sweep.ground_truth_settings(model)
        predicts = (*labelled, "validation", "test")
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
            model=self.begins_with(model, task),
            labels=labels,
            training=settings.training,
            loss=settings.loss,
            early_stopping=settings.early_stopping,
            seed=seed,
            predicts=predicts,
        )

    def begins_with(self, model: Model, task: str) -> str:
        """The identity of the model's first weights; a pretraining that makes them is planned.

        For chat messages it names the model's chat template, too.
        """
        found, inputs = self.sweep.pretrained(model), self.plan.inputs
        if found is None:
            identity = inputs.models[model.label].identity
            template = inputs.templates.get(model.label) if inputs.splits[task].chat else None
            return identity if template is None else f"{identity} chat:{template}"
        source, step = found
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
        had = known.roles if known else ()
        self.plan.fits[run_id] = PlannedFit(
            id=run_id,
            recipe=recipe,
            source=self.plan.inputs.models[model.label],
            execution=keeping(self.sweep.execution_of(model), recipe),
            task=task,
            roles=tuple(r for r in ROLES if r == role or r in had),
            weak=weak or (known.weak if known else None),
            methods=tuple(
                dict.fromkeys((*(known.methods if known else ()), *([method] if method else ())))
            ),
        )
        return run_id

    def _rank(self, label: str) -> int:
        return [model.label for model in self.sweep.models].index(label)

    def _is_smaller(self, pair: Pair, than: Pair) -> bool:
        no_larger = all(self._rank(a) <= self._rank(b) for a, b in zip(pair, than, strict=True))
        return no_larger and pair != than


def _generates(method: Method) -> bool:
    return any(isinstance(stage, GenerativeStage) for stage in method.stages)


def _trials(recipe: StudyRecipe) -> int:
    """Trials that the study will have: a grid has no more than its points."""
    if recipe.sampler != "grid":
        return recipe.trials
    return min(grid_size(recipe.space), recipe.trials)
