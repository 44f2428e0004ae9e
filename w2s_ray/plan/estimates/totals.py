"""The estimate of a plan, in total and by group of runs.

Owns the sums over a plan's fits, the trials that its studies may train, and the fits that are
planned after a study, grouped by role and model. Trials and such fits count with the settings that
the sweep declares. It computes no prices and prints nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from w2s_ray.config import FORMS, Execution, FitRecipe, Labels, ModelSource
from w2s_ray.config.accelerators import Accelerator
from w2s_ray.config.settings import Precision
from w2s_ray.config.tuning import base_of
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.data.lengths import LengthSource
from w2s_ray.errors import InputError
from w2s_ray.plan.estimates.fits import FitEstimate, estimate_fit
from w2s_ray.plan.estimates.placement import (
    Sharding,
    fits_on_device,
    gpu_fraction,
    smallest_sharding,
)
from w2s_ray.plan.estimates.work import Flops
from w2s_ray.plan.graph import Plan


@dataclass(frozen=True)
class Device:
    """The device that fits run on, and the utilization that they reach."""

    name: str
    accelerator: Accelerator
    utilisation: float
    """Share of the peak that fits reach."""

    def seconds(self, flops: float, *, precision: Precision) -> float:
        """Device seconds of `flops`.

        Raises:
            InputError: the device doesn't have the precision.
        """
        peak = self.accelerator.flops(precision)
        if peak is None:
            raise InputError(
                f"accelerator {self.name} has no {precision}, and training.precision is "
                f"{precision}; choose another accelerator, or set precision: fp32"
            )
        return flops / (peak * self.utilisation)


@dataclass(frozen=True)
class GroupEstimate:
    """The estimate of the runs with the same role, model, execution and precision."""

    role: str
    """Role with the method, or `trial` or `refit` with the method or role."""
    model: str
    runs: int
    runs_left: int
    """Number of runs that are not in the store."""
    flops: Flops
    """The sum over all runs."""
    flops_left: float
    """The sum over the runs that are not in the store."""
    tokens: float
    """The sum over all runs."""
    largest: FitEstimate | None
    """The estimate of the run with the largest memory; None if none can be estimated."""
    execution: Execution
    precision: Precision
    device_seconds: float | None = None
    """The sum over all runs; None without a device."""
    seconds_left: float | None = None
    """Device seconds of the runs that are not in the store; None without a device."""
    fits: bool | None = None
    """Whether the largest run has room on the device; None without a device."""
    smallest: Sharding | None = None
    """The smallest sharding with room on the device; None without a device, or if there is none."""
    gpu_fraction: float | None = None
    """Share of a GPU that a one-device fit needs."""
    not_estimated: str = ""
    """Why there is no estimate; empty if there is one."""


@dataclass(frozen=True)
class PlanEstimate:
    """The estimate of a plan."""

    groups: tuple[GroupEstimate, ...]
    length_sources: dict[LengthSource, int] = field(default_factory=dict)
    """Number of fits by the source of their row lengths."""

    @property
    def flops(self) -> Flops:
        """The sum over all runs."""
        total = Flops()
        for group in self.groups:
            total = total + group.flops
        return total

    @property
    def flops_left(self) -> float:
        """The sum over the runs that are not in the store."""
        return sum(group.flops_left for group in self.groups)

    @property
    def device_seconds(self) -> float:
        """The sum over all runs."""
        return sum(group.device_seconds or 0.0 for group in self.groups)

    @property
    def seconds_left(self) -> float:
        """Device seconds of the runs that are not in the store."""
        return sum(group.seconds_left or 0.0 for group in self.groups)

    @property
    def not_estimated(self) -> dict[str, str]:
        """Model -> why its runs are not estimated."""
        return {group.model: group.not_estimated for group in self.groups if group.not_estimated}


@dataclass(frozen=True)
class _Runs:
    """Equal runs: one planned fit, or all trials or refits with one recipe."""

    role: str
    recipe: FitRecipe
    source: ModelSource
    execution: Execution
    count: int
    done: int
    passes: float = 0.0
    """Operations of the passes over frozen models that it is the first run of the plan to need."""
    passes_left: float = 0.0
    """Those of them whose activations no run that is done has left in the store."""


_Estimated = tuple[_Runs, FitEstimate | str]
"""Runs with the estimate of each, or the reason why there is none."""


class Estimator:
    """Estimates fits; recipes that differ only in values without influence share an estimate."""

    def __init__(self, sizes: InputSizes) -> None:
        self._sizes = sizes
        self._estimates: dict[tuple[FitRecipe, str, Execution], FitEstimate | str] = {}

    def fit(
        self, recipe: FitRecipe, source: ModelSource, execution: Execution
    ) -> FitEstimate | str:
        """A fit's estimate, or the reason why there is none."""
        normalized = recipe.model_copy(
            update={
                "seed": 0,
                "labels": _normalized(recipe.labels),
                "model": source.identity,
                "head": None,
                "boosted_after": (),
            }
        )
        key = (normalized, source.identity, execution)
        if key not in self._estimates:
            self._estimates[key] = self._estimate(recipe, source, execution)
        return self._estimates[key]

    def _estimate(
        self, recipe: FitRecipe, source: ModelSource, execution: Execution
    ) -> FitEstimate | str:
        not_estimated = FORMS[recipe.form].not_estimated
        if not_estimated is not None:
            return not_estimated
        model = self._sizes.architecture(source)
        if isinstance(model, str):
            return model
        most = recipe.training.max_tokens
        return estimate_fit(
            recipe,
            execution,
            model=model,
            lengths=lambda part: self._sizes.lengths(recipe.split, part, source, max_tokens=most),
        )


def estimate_plan(
    plan: Plan, sizes: InputSizes, *, done: Collection[str] = (), device: Device | None = None
) -> PlanEstimate:
    """The estimate of `plan`; `done` are the ids of runs in the store.

    Raises:
        InputError: a precision that the device doesn't have.
    """
    estimator = Estimator(sizes)
    groups: dict[tuple[str, str, Execution, str], list[_Estimated]] = {}
    estimated = [
        (runs, estimator.fit(runs.recipe, runs.source, runs.execution))
        for runs in _runs(plan, done)
    ]
    for runs, estimate in _with_passes(estimated):
        precision = runs.recipe.training.precision
        key = (runs.role, runs.source.name, runs.execution, precision)
        groups.setdefault(key, []).append((runs, estimate))
    length_sources: Counter[LengthSource] = Counter()
    for members in groups.values():
        for runs, estimate in members:
            if not isinstance(estimate, str):
                length_sources[estimate.length_source] += runs.count
    return PlanEstimate(
        tuple(_group(members, device=device) for members in groups.values()),
        dict(length_sources),
    )


def _with_passes(estimated: list[_Estimated]) -> Iterator[_Estimated]:
    """The runs, each with the passes over frozen models that no run before it needs."""

    def passes(runs: _Runs, estimate: FitEstimate | str) -> dict[tuple[object, ...], float]:
        recipe, training = runs.recipe, runs.recipe.training
        shared = (recipe.trained_form, recipe.model, training.max_tokens, training.precision)
        prompt = recipe.prompt and (recipe.prompt.question, recipe.prompt.words)
        key = (recipe.split, *shared, base_of(training.tuning), prompt)
        stored = {} if isinstance(estimate, str) else estimate.stored
        return {(*key, part): flops for part, flops in stored.items()}

    done = {key for runs, estimate in estimated if runs.done for key in passes(runs, estimate)}
    seen: set[tuple[object, ...]] = set()
    for runs, estimate in estimated:
        new = {key: f for key, f in passes(runs, estimate).items() if key not in seen}
        seen |= new.keys()
        left = sum(flops for key, flops in new.items() if key not in done)
        yield replace(runs, passes=sum(new.values()), passes_left=left), estimate


def _group(members: list[_Estimated], *, device: Device | None) -> GroupEstimate:
    first = members[0][0]
    estimated = [(runs, fit) for runs, fit in members if not isinstance(fit, str)]
    reasons = [fit for _, fit in members if isinstance(fit, str)]
    flops, flops_left, tokens = Flops(), 0.0, 0.0
    for runs, fit in estimated:
        flops += fit.flops.times(runs.count) + Flops(evaluation=runs.passes)
        flops_left += fit.flops.total * (runs.count - runs.done) + runs.passes_left
        tokens += fit.tokens * runs.count
    largest = max(estimated, key=lambda member: member[1].memory.total, default=None)
    group = GroupEstimate(
        role=first.role,
        model=first.source.name,
        runs=sum(runs.count for runs, _ in members),
        runs_left=sum(runs.count - runs.done for runs, _ in members),
        flops=flops,
        flops_left=flops_left,
        tokens=tokens,
        largest=largest[1] if largest else None,
        execution=first.execution,
        precision=first.recipe.training.precision,
        not_estimated=reasons[0] if reasons else "",
    )
    if device is None or largest is None:
        return group
    return _on_device(group, *largest, device=device)


def _on_device(
    group: GroupEstimate, runs: _Runs, fit: FitEstimate, *, device: Device
) -> GroupEstimate:
    """`group` with its times and its room on `device`; `runs` and `fit` are its largest."""
    device_bytes = device.accelerator.bytes
    return replace(
        group,
        device_seconds=device.seconds(group.flops.total, precision=group.precision),
        seconds_left=device.seconds(group.flops_left, precision=group.precision),
        fits=fits_on_device(fit.memory, device_bytes),
        smallest=smallest_sharding(
            fit.needs,
            training=runs.recipe.training,
            execution=runs.execution,
            device_bytes=device_bytes,
        ),
        gpu_fraction=gpu_fraction(fit.memory, device_bytes)
        if runs.execution.workers == 1
        else None,
    )


def _runs(plan: Plan, done: Collection[str]) -> Iterator[_Runs]:
    """The fits of the plan, of its studies' trials, and of what is planned later."""
    for fit in plan.fits.values():
        yield _Runs(
            fit.role_and_method, fit.recipe, fit.source, fit.execution, 1, int(fit.id in done)
        )
    for study in plan.every_study:
        trials = study.recipe.trials
        ended = trials if study.id in done else 0
        for fit in study.trial_fits({}):
            role = f"trial {study.subject}"
            yield _Runs(role, fit.recipe, fit.source, fit.execution, trials, ended)
    for later in plan.later_fits.values():
        fit = later.run
        role = f"refit {fit.subject}" if later.searched else fit.role_and_method
        yield _Runs(role, fit.recipe, fit.source, fit.execution, 1, 0)


def _normalized(labels: Labels) -> Labels:
    """A common value for all labels of equal cost."""
    return Labels(source=("run",)) if labels.runs else labels
