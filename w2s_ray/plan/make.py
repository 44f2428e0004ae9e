"""Makes the graph of a sweep: the fits and studies that its cells need.

Owns the iteration over tasks, seeds, pairs and methods, and the recipe of each run. A run that
several cells need is added once. It schedules no runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from w2s_ray.config import (
    BoostingStage,
    Completions,
    CoSupervisedStage,
    Distribution,
    EnsembleStage,
    FitRecipe,
    FitSettings,
    GenerativeStage,
    Labels,
    Link,
    Method,
    Model,
    Pair,
    Part,
    SelfConsistencyStage,
    Stage,
    StudyRecipe,
    Sweep,
    TaskPair,
    XentLoss,
    chain,
    grid_size,
)
from w2s_ray.data.inputs import Inputs
from w2s_ray.errors import InputError
from w2s_ray.methods.transforms import Transform
from w2s_ray.plan.builder import GraphBuilder, Outcomes
from w2s_ray.plan.graph import (
    ROLES,
    Plan,
    PlannedCell,
    PlannedStudy,
    Role,
)
from w2s_ray.plan.known_rows import check_known_rows
from w2s_ray.plan.tuned import check_models

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
    check_known_rows(plan)
    return plan


class _GroundTruthFit(NamedTuple):
    """A supervisor or ceiling in the plan."""

    run: str
    """Its id."""
    study: str | None
    """The study that chooses its settings; None without a search."""


Generative = tuple[str, Pair]
"""A method with a generative stage, and the pair whose ceiling starts from its language model."""


class _Planner:
    """Adds the cells of a sweep and the runs that they need to a plan."""

    def __init__(self, plan: Plan, outcomes: dict[str, Mapping[str, Any]]) -> None:
        self.plan = plan
        self.sweep = plan.sweep
        self.graph = GraphBuilder(plan, outcomes)
        self.studies: dict[Hashable, str] = {}
        """What a study chooses settings for -> its id."""

    def add_task(self, task: str) -> None:
        methods = self.sweep.methods_on(task)
        for seed in self.sweep.seeds:
            for pair in self.sweep.cells():
                weak, strong = (self.sweep.model(label) for label in pair)
                supervisor = self.add_ground_truth_fit(task, weak, seed, "supervisor")
                ceiling = None
                if not all(_has_generative_stage(method) for method in methods.values()):
                    ceiling = self.add_ground_truth_fit(task, strong, seed, "ceiling")
                for name, method in methods.items():
                    self.add_cell(task, name, method, pair, seed, supervisor, ceiling)

    def add_cell(
        self,
        task: str,
        name: str,
        method: Method,
        pair: Pair,
        seed: int,
        supervisor: _GroundTruthFit,
        ceiling: _GroundTruthFit | None,
    ) -> None:
        study = self.study_of(name, TaskPair(task=task, pair=pair)) if method.search else None
        if _has_generative_stage(method):
            strong = self.sweep.model(pair[1])
            ceiling = self.add_ground_truth_fit(
                task, strong, seed, "ceiling", generative=(name, pair)
            )
        assert ceiling is not None
        student = self.add_chain(task, name, pair, seed, study)
        self.plan.cells.append(
            PlannedCell(
                task=task,
                weak=pair[0],
                strong=pair[1],
                method=name,
                seed=seed,
                objective=self.sweep.search.objective if study else "none",
                searched=study is not None and self.is_searched(task, pair),
                study=self.graph.known(study),
                supervisor_study=supervisor.study,
                ceiling_study=ceiling.study,
                supervisor=self.graph.known(supervisor.run),
                ceiling=self.graph.known(ceiling.run),
                student=self.graph.known(student),
                control=self.sweep.is_control(name),
            )
        )

    def add_chain(self, task: str, name: str, pair: Pair, seed: int, study: str | None) -> str:
        """Plan a cell's student and its chain; returns the student's id."""
        strong, between = self.sweep.model(pair[1]), self.sweep.between(name, pair)
        links, student = self.chain(task, name, pair, seed, self.graph.chosen(study)), ""
        for link in links:
            model = strong if link.rung is None else between[link.rung]
            role = "student" if link is links[-1] else "step"
            student = self.graph.add_fit(
                link.recipe,
                model,
                role,
                task=task,
                weak=pair[0],
                method=name,
                study=study,
                note=link.note,
            )
        return student

    def chain(
        self, task: str, name: str, pair: Pair, seed: int, chosen: dict[str, Any]
    ) -> tuple[Link, ...]:
        """The fits of a cell after its supervisors, with the settings `chosen`."""
        strong = self.sweep.model(pair[1])
        stages = self.sweep.student_settings(name, strong, chosen).stages
        supervisors = self.supervisors(task, name, pair, seed, stages)
        student, *between = (
            self.student_fit(
                task, model, supervisors, seed, self.sweep.student_settings(name, model, chosen)
            )
            for model in (strong, *self.sweep.between(name, pair))
        )
        return chain(student, between=between, stages=stages)

    def supervisors(
        self, task: str, name: str, pair: Pair, seed: int, stages: Iterable[Stage]
    ) -> tuple[str, ...]:
        """Plan the supervisors of a cell; returns their ids, the pair's own supervisor first.

        Raises:
            InputError: the stage `ensemble` repeats a supervisor, so that a layer of the stage
                `cosupervised` has too few.
        """
        weak = self.sweep.model(pair[0])
        labellers, needed, completions = [(weak, seed)], 0, None
        for stage in stages:
            match stage:
                case EnsembleStage():
                    labellers += [(self.sweep.model(label), seed) for label in stage.supervisors]
                    labellers += [(weak, other) for other in stage.seeds]
                case BoostingStage(rounds=rounds) if rounds > 1:
                    return self.boosted_supervisors(task, weak, seed, rounds)
                case CoSupervisedStage(layers=layers):
                    needed = sum(layers)
                case SelfConsistencyStage(samples=samples, temperature=temperature):
                    completions = Completions(samples=samples, temperature=temperature)
                case _:
                    pass
        distinct = dict.fromkeys((model.label, seed) for model, seed in labellers)
        if len(distinct) < needed:
            raise InputError(
                f"methods.{name}.stages: the layers of cosupervised need {needed} supervisors, and "
                f"pair [{', '.join(pair)}] has {len(distinct)} with seed {seed}, because ensemble "
                "repeats one, or the pair's own; name another"
            )
        ids = []
        for label, its_seed in distinct:
            model = self.sweep.model(label)
            fit = self.add_ground_truth_fit(
                task, model, its_seed, "supervisor", counted=False, completions=completions
            )
            ids.append(fit.run)
        return tuple(ids)

    def boosted_supervisors(
        self, task: str, weak: Model, seed: int, rounds: int
    ) -> tuple[str, ...]:
        """Plan a boosted series of supervisors; returns their ids, the first round first."""
        ids: tuple[str, ...] = ()
        for number in range(1, rounds + 1):
            fit = self.add_ground_truth_fit(
                task,
                weak,
                seed,
                "supervisor",
                counted=False,
                boosted_after=ids,
                note=f"round {number} of {rounds}",
            )
            ids += (fit.run,)
        return ids

    def add_ground_truth_fit(
        self,
        task: str,
        model: Model,
        seed: int,
        role: Role,
        *,
        generative: Generative | None = None,
        counted: bool = True,
        boosted_after: tuple[str, ...] | None = None,
        completions: Completions | None = None,
        note: str = "",
    ) -> _GroundTruthFit:
        """Plan `model` as a supervisor or ceiling, and the study of its settings if it has one.

        The ceiling of a method with a generative stage starts from the student's language model.
        `boosted_after` are the earlier rounds of a boosted series of which it is one. A supervisor
        with `completions` is a step: the same training, with other completions.
        """
        study = None
        if self.sweep.ground_truth.search:
            study = self.ground_truth_study(task, model, role, generative)
        recipe = self.ground_truth_fit(task, model, seed, role, self.graph.chosen(study))
        if generative is not None:
            recipe = recipe.model_copy(
                update={"model": self.language_model(task, generative, seed, counted=counted)}
            )
        if boosted_after is not None:
            predicts = ("supervisor_half", *recipe.predicts)
            update = {"boosted_after": boosted_after, "predicts": predicts}
            recipe = recipe.model_copy(update=update)
        if completions is not None:
            recipe, role = recipe.model_copy(update={"completions": completions}), "step"
        run = self.graph.add_fit(
            recipe, model, role, task=task, study=study, counted=counted, note=note
        )
        return _GroundTruthFit(run, study)

    def language_model(
        self, task: str, generative: Generative, seed: int, *, counted: bool = True
    ) -> str:
        """Plan the language model that a method's student starts from; returns its identity."""
        name, pair = generative
        links = self.chain(task, name, pair, seed, {})
        recipe = next(k.recipe for k in links if k.rung is None and not k.recipe.has_labels)
        strong = self.sweep.model(pair[1])
        return f"run:{self.graph.add_fit(recipe, strong, 'step', task=task, counted=counted)}"

    def ground_truth_study(
        self, task: str, model: Model, role: Role, generative: Generative | None
    ) -> str:
        """Plan the study that chooses the settings of `model` as `role`; returns its id.

        Its trials predict validation rows alone.
        """
        together = self.sweep.ground_truth.tasks == "together"
        tasks = tuple(each.name for each in self.sweep.tasks) if together else (task,)
        key = (tasks, model.label, self.half(role), generative and generative[0])
        if key not in self.studies:
            seed, first = self.sweep.search.seed, self.sweep.seeds[0]
            cells = []
            for where in tasks:
                update: dict[str, Any] = {"predicts": ("validation",)}
                if generative is not None:
                    update["model"] = self.language_model(where, generative, first, counted=False)
                cell = self.ground_truth_fit(where, model, seed, role, {})
                cells.append(cell.model_copy(update=update))
            recipe = self.study_recipe(
                cells=tuple(cells),
                space=self.sweep.ground_truth.search,
                objective="ground_truth",
                trials=self.sweep.ground_truth.trials or self.sweep.search.trials,
            )
            study = PlannedStudy(
                id=recipe.run_id,
                recipe=recipe,
                method=None,
                tasks=tasks,
                pairs=(),
                sources=(self.plan.inputs.models[model.label],) * len(cells),
                executions=(self.sweep.execution_of(model),) * len(cells),
                roles=(),
                sealed=self.sweep.seal,
            )
            self.studies[key] = self.graph.add_study(study)
        study = self.plan.studies[self.studies[key]]
        roles = tuple(r for r in ROLES if r == role or r in study.roles)
        self.plan.studies[study.id] = replace(study, roles=roles)
        return study.id

    def is_searched(self, task: str, pair: Pair) -> bool:
        searched = self.sweep.searched_cells(task)
        cell = TaskPair(task=task, pair=pair)
        return self.sweep.search.objective == "transfer" and cell in searched

    def study_of(self, name: str, cell: TaskPair) -> str:
        """Id of the study that chooses the settings of the method `name` for `cell`."""
        if (name, cell) not in self.studies:
            self.studies[name, cell] = self.add_method_study(name, cell)
        return self.studies[name, cell]

    def add_method_study(self, name: str, cell: TaskPair) -> str:
        """Plan the study of a method for `cell`, and the runs that it needs; returns its id."""
        transfer = self.sweep.search.objective == "transfer"
        searched = self.sweep.searched_cells(cell.task) if transfer else (cell,)
        between = [self.sweep.between(name, where.pair) for where in searched]
        recipe = self.study_recipe(
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
        )
        strong = [self.sweep.model(where.pair[1]) for where in searched]
        reads = any(isinstance(s, Transform) and s.reads_supervisor for s in recipe.stages)
        return self.graph.add_study(
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
                teachers=tuple(
                    self.graph.teacher(cell.labels.runs if reads else ()) for cell in recipe.cells
                ),
            )
        )

    def study_recipe(self, **own: Any) -> StudyRecipe:
        """A study's recipe: its own fields, and the others as in the section `search`."""
        declared = self.sweep.search.model_dump(
            exclude={"on", "warm_start", "of_methods", "shared"}
        )
        recipe = StudyRecipe(**{**declared, **own})
        return recipe.model_copy(update={"trials": _trials(recipe)})

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
        stages = self._with_most_rounds(name)
        supervisors = self.supervisors(where.task, name, where.pair, self.sweep.seeds[0], stages)
        settings = self.sweep.student_settings(name, model)
        if (stopping := settings.early_stopping) is not None:
            stopping = stopping.model_copy(update={"finish_schedule": False})
            settings = settings.model_copy(update={"early_stopping": stopping})
        return self.student_fit(where.task, model, supervisors, self.sweep.search.seed, settings)

    def _with_most_rounds(self, name: str) -> tuple[Stage, ...]:
        """A method's stages, with as many rounds of boosting as any trial of its search may use."""
        method = self.sweep.methods_and_controls[name]
        tried = method.search.get("stages.boosting.rounds")
        if not isinstance(tried, Distribution):
            return method.stages
        most = max(tried.examples())
        return tuple(
            stage.model_copy(update={"rounds": most}) if isinstance(stage, BoostingStage) else stage
            for stage in method.stages
        )

    def half(self, role: Role) -> Part:
        """The half whose ground truth trains a supervisor or ceiling."""
        return self.sweep.ceiling_on if role == "ceiling" else "supervisor_half"

    def ground_truth_fit(
        self, task: str, model: Model, seed: int, role: Role, chosen: dict[str, Any]
    ) -> FitRecipe:
        train_on = self.half(role)
        weak_labels = ("student_half",) if train_on == "supervisor_half" else ()
        settings = self.sweep.ground_truth_settings(model, chosen)
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
            extract=next(each.extract for each in self.sweep.tasks if each.name == task),
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
        run = self.graph.add_fit(recipe, source, "step", task=pretrain.corpus.name, counted=False)
        return f"run:{run}" if step is None else f"run:{run}@{step}"

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
