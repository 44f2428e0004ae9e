"""How settings are searched: objective, cells, sampler, scheduler.

Owns the `search` section of a sweep file and the checks that need nothing but that section. What
is tried stands with each method; how trials run is no business of this room.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from w2s_ray.config.names import Name, Seed
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen

Pair = tuple[Name, Name]
"""(weak, strong): names of the supervisor's and the student's model."""


class TaskPair(Frozen):
    """A pair of models on one task of the sweep."""

    task: Name
    pair: Pair


def _tag(value: Any) -> str:
    return "(task)" if isinstance(value, dict | TaskPair) else "(pair)"


Searched = Annotated[
    Annotated[Pair, Tag("(pair)")] | Annotated[TaskPair, Tag("(task)")], Discriminator(_tag)
]


class Search(Frozen):
    """How settings are searched, for every method that has a `search`."""

    trials: int = Field(default=16, ge=1, le=100_000)
    """Settings tried in each study (grid: at most; the grid's size if that is less)."""
    objective: Literal["transfer", "weak_validation", "oracle"] = "transfer"
    """What a study may look at. transfer: ground truth of other cells (`on`). weak_validation: weak
    labels of the cell itself. oracle: ground truth of the cell itself, an upper bound."""
    on: tuple[Searched, ...] | None = None
    """What a transfer study trains; its figure is the mean over them. Pairs (`[small, medium]`):
    each task has a study of its own, on these pairs. Tasks and pairs
    (`{task: sciq, pair: [small, medium]}`): one study for all tasks. null = the first pair."""
    metric: Literal["accuracy", "log_loss"] = "accuracy"
    """Measured on validation, and maximized or minimized."""
    cost: bool = False
    """A second objective: the fewer training FLOPs the better. The best `metric` is still what is
    refitted (of equals, the cheapest); the study's record holds the whole Pareto front. Needs
    `scheduler: none`."""
    sampler: Literal["tpe", "random", "grid", "gp", "nsga2"] = "tpe"
    """tpe: Parzen estimators. gp: a Gaussian process, for few and costly trials. nsga2: a genetic
    algorithm, for two objectives and many trials. grid: every combination of choices, shuffled."""
    scheduler: Literal["none", "asha", "median"] = "none"
    """Stop unpromising trials early. asha: successive halving over evaluations. median: a trial
    whose best value so far is worse than the median of what others had on average by then."""
    grace_evaluations: int = Field(default=2, ge=1, le=1_000_000)
    """Evaluations that asha and median let every trial have."""
    reduction_factor: float = Field(default=3.0, gt=1, le=1000)
    """asha keeps one in this many at each rung."""
    seed: Seed = 1000
    """Seeds the sampler and the trials' fits; not among `seeds`, so that refits are fresh."""
    concurrent_trials: int = Field(default=4, ge=1, le=10_000)
    """Trials of a study that may run at once. Part of identity: trial n is proposed and pruned by
    what trials up to n - concurrent_trials have shown, so a study gives the same result whatever
    finishes first."""
    warm_start: Literal["none", "same_task"] = "none"
    """same_task: a cell's study first tries what studies of smaller pairs (neither model larger)
    of its task chose, the nearest first, with at most a quarter of its trials. It waits for them.
    For objectives that have a study for each cell: weak_validation and oracle."""

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_list(cls, value: Any) -> Any:
        on = value.get("on") if isinstance(value, dict) else None
        if isinstance(on, list) and any(isinstance(entry, str) for entry in on):
            raise InputError(f"on: {on} is no list of pairs; write [[small, medium]]")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Search:
        if self.cost and self.scheduler != "none":
            raise InputError(
                f"scheduler is {self.scheduler}, but cost: true asks for two objectives, and a "
                "trial can't be stopped early by one of them; set scheduler: none or cost: false"
            )
        if self.sampler == "nsga2" and not self.cost:
            raise InputError(
                "sampler nsga2 weighs two objectives, and there is one; add cost: true, or set "
                "sampler: tpe"
            )
        if self.warm_start != "none" and self.objective == "transfer":
            raise InputError(
                f"warm_start: {self.warm_start} is for a study of each cell, but objective is "
                "transfer; set objective: weak_validation or oracle, or warm_start: none"
            )
        with_task = [isinstance(entry, TaskPair) for entry in self.on or ()]
        if any(with_task) and not all(with_task):
            raise InputError(
                "on has pairs with a task and pairs without; give each a task, or none of them"
            )
        return self

    @property
    def across_tasks(self) -> bool:
        """Whether a transfer study serves all tasks, not one."""
        return any(isinstance(entry, TaskPair) for entry in self.on or ())
