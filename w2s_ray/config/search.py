"""The sections `search` and `ground_truth` of a sweep file: objective, cells, sampler, scheduler.

Owns these sections, the checks of each alone, and the settings that all methods search. Settings of
one method are in the methods (`declared`). It runs no trials.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from w2s_ray.config.names import Name, Seed
from w2s_ray.config.space import Choices
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen

Pair = tuple[Name, Name]
"""(weak, strong): names of the supervisor's and the student's model."""


class TaskPair(Frozen):
    """A pair of models on one task of the sweep: an entry of `search.on`."""

    task: Name
    """The task's name."""
    pair: Pair
    """The weak and the strong model."""


SHARED = ("training", "early_stopping")
"""Sections with settings that every method has."""


def _tag(value: Any) -> str:
    return "(task)" if isinstance(value, dict | TaskPair) else "(pair)"


Searched = Annotated[
    Annotated[Pair, Tag("(pair)")] | Annotated[TaskPair, Tag("(task)")], Discriminator(_tag)
]


TrialCount = Annotated[int, Field(ge=1, le=100_000)]


class Search(Frozen):
    """How settings are searched. It holds for every method that has a `search`, or for all, and for
    `ground_truth`, where `for`, `shared`, `objective`, `on` and `warm_start` have no effect.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    of_methods: Literal["own", "all"] = Field(default="own", alias="for")
    """own: only methods with a `search` are searched. all: every method, naive included, is
    searched over `shared` and over its own `search`, with the same number of trials, so that no
    method has a larger budget than another. Methods that prompt train nothing and are not
    searched."""
    shared: dict[Name, Choices] = {}
    """With `for: all`: the settings of `training` and `early_stopping` that every method searches.
    A searched `training.lr` holds for every student, also for models with a rate of their own."""
    trials: TrialCount = 16
    """Number of trials of each study. With `sampler: grid` at most the size of the grid."""
    objective: Literal["transfer", "weak_validation", "oracle"] = "transfer"
    """Which labels a study may use. transfer: ground truth of the pairs in `on` only.
    weak_validation: weak labels of the reported pair itself. oracle: ground truth of the reported
    pair itself, an upper bound."""
    on: tuple[Searched, ...] | None = None
    """What each trial of a transfer study trains; its objective is the mean over all of it. Pairs
    (`[small, medium]`): one study for each task, on these pairs. Tasks with pairs
    (`{task: sciq, pair: [small, medium]}`): one study for all tasks. null = the first pair."""
    metric: Literal["accuracy", "log_loss"] = "accuracy"
    """The metric on validation rows: accuracy is maximized, log_loss minimized."""
    cost: bool = False
    """Add a second objective: few training FLOPs. The trial with the best `metric` is still the one
    that is refitted (among equals the cheapest). The study's record holds the Pareto front. Needs
    `scheduler: none`."""
    sampler: Literal["tpe", "random", "grid", "gp", "nsga2"] = "tpe"
    """tpe: tree-structured Parzen estimator. gp: a Gaussian process, for few and costly trials.
    nsga2: a genetic algorithm, for two objectives and many trials. grid: every combination of
    choices in random order."""
    scheduler: Literal["none", "asha", "median"] = "none"
    """Stop unpromising trials early. asha: successive halving over evaluations. median: stop a
    trial whose best value so far is worse than the median of the other trials' mean values up to
    then."""
    grace_evaluations: int = Field(default=2, ge=1, le=1_000_000)
    """Evaluations before asha or median may stop a trial."""
    reduction_factor: float = Field(default=3.0, gt=1, le=1000)
    """asha keeps one in this many trials at each rung."""
    seed: Seed = 1000
    """Seed of the sampler and of the trials' fits. It must not be one of `seeds`, so that the
    refits are independent of the search."""
    concurrent_trials: int = Field(default=4, ge=1, le=10_000)
    """Trials of a study that run at the same time, at most. It is part of the study's id: trial n
    is proposed and pruned from the results of the trials up to n - concurrent_trials, so that the
    order in which trials finish changes nothing."""
    warm_start: Literal["none", "same_task"] = "none"
    """same_task: a pair's study waits for the studies of smaller pairs of its task (neither model
    larger) and tries their winners first, the nearest pair first, with at most a quarter of its
    trials. For weak_validation and oracle, which have a study for each pair."""

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_list(cls, value: Any) -> Any:
        on = value.get("on") if isinstance(value, dict) else None
        if isinstance(on, list) and any(isinstance(entry, str) for entry in on):
            raise InputError(f"on: {on} is not a list of pairs; write [[small, medium]]")
        return value

    @model_validator(mode="after")
    def _shared_by_all(self) -> Search:
        if self.of_methods == "all" and not self.shared:
            raise InputError(
                "for: all needs the settings that all methods search; add shared, such as "
                "{early_stopping.patience: {choice: [1, 2, 4]}}"
            )
        if self.shared and self.of_methods != "all":
            raise InputError("shared is for all methods; add for: all, or remove shared")
        for path in self.shared:
            if path.partition(".")[0] not in SHARED:
                raise InputError(
                    f"shared.{path} is not a setting of every method (only training and "
                    "early_stopping are); move it to methods.NAME.search"
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Search:
        if self.cost and self.scheduler != "none":
            raise InputError(
                f"scheduler is {self.scheduler}, but cost: true adds a second objective, and "
                "schedulers stop trials by one objective; set scheduler: none or cost: false"
            )
        if self.sampler == "nsga2" and not self.cost:
            raise InputError(
                "sampler nsga2 needs two objectives, and there is one; add cost: true, or set "
                "sampler: tpe"
            )
        if self.warm_start != "none" and self.objective == "transfer":
            raise InputError(
                f"warm_start: {self.warm_start} needs a study for each cell, but objective: "
                "transfer has none; set objective: weak_validation or oracle, or warm_start: none"
            )
        with_task = [isinstance(entry, TaskPair) for entry in self.on or ()]
        if any(with_task) and not all(with_task):
            raise InputError(
                "on has pairs with a task and pairs without; give each a task, or none of them"
            )
        return self

    @property
    def across_tasks(self) -> bool:
        """Whether one transfer study is for all tasks, instead of one study for each task."""
        return any(isinstance(entry, TaskPair) for entry in self.on or ())


class GroundTruth(Frozen):
    """How the settings of supervisors and ceilings are chosen. Their labels are ground truth, and
    so are the labels of the validation rows that their trials are compared on.
    """

    search: dict[Name, Choices] = {}
    """What to search for each model, as in `methods.search`: settings of `training` and
    `early_stopping`. The supervisor's study trains on the supervisor's half of the rows, the
    ceiling's on `ceiling_on`. All pairs share a model's studies. No trial predicts test rows or the
    other half."""
    tasks: Literal["separate", "together"] = "separate"
    """separate: a study for each task. together: one study for all tasks; a trial trains on each of
    them, and its objective is the mean over them."""
    trials: TrialCount | None = None
    """Number of trials of each study; null = `search.trials`."""

    @model_validator(mode="after")
    def _searches_settings_of_ground_truth_fits(self) -> GroundTruth:
        for path in self.search:
            if path.partition(".")[0] not in ("training", "early_stopping"):
                raise InputError(
                    f"search.{path}: supervisors and ceilings have no other settings than "
                    "training and early_stopping; search a setting of these"
                )
        return self


def with_shared_searches(methods: Any, search: Any) -> Any:
    """The raw `methods`, each with the settings of the raw `search.shared` in its own search.

    Values that aren't mappings are left as they are; validation refuses them.

    Raises:
        InputError: a method searches a shared setting over other values.
    """
    shared = search.get("shared") if isinstance(search, dict) else None
    if not (isinstance(shared, dict) and shared and isinstance(methods, dict)):
        return methods
    return {
        name: _with_shared(f"methods.{name}.search", method, shared)
        for name, method in methods.items()
    }


def _with_shared(where: str, method: Any, shared: dict[Any, Any]) -> Any:
    own = method.get("search", {}) if isinstance(method, dict) else None
    if not isinstance(own, dict) or _prompts(method):
        return method
    for path in own.keys() & shared.keys():
        if own[path] != shared[path]:
            raise InputError(
                f"{where}.{path} is also in search.shared, and all methods search the same values "
                "there; remove it"
            )
    return {**method, "search": {**shared, **own}}


def _prompts(method: dict[str, Any]) -> bool:
    """Whether the method's student is prompted and not trained."""
    stages = method.get("stages")
    listed = stages if isinstance(stages, list | tuple) else ()
    return any(isinstance(stage, dict) and stage.get("kind") == "prompt" for stage in listed)
