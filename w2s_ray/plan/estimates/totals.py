"""A plan's estimate: what each kind of run takes, and all of it.

Owns the sums over a plan's fits, the trials that its studies may train and the refits that are not
planned yet, by what they are and which model they train. Trials and refits count with the settings
that the sweep declares. It knows no prices and no terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from w2s_ray.config import FORMS, Execution, FitRecipe, Labels, ModelSource
from w2s_ray.config.accelerators import Accelerator
from w2s_ray.data.lengths import How
from w2s_ray.data.shapes import Shapes
from w2s_ray.errors import InputError
from w2s_ray.plan.estimates.fits import FitEstimate, estimate_fit
from w2s_ray.plan.estimates.memory import Memory
from w2s_ray.plan.estimates.placing import Smallest, fits, gpu_fraction, smallest
from w2s_ray.plan.estimates.work import Flops
from w2s_ray.plan.graph import Plan, PlannedCell


@dataclass(frozen=True)
class Device:
    """What a fit is to run on, and how well it uses it."""

    name: str
    accelerator: Accelerator
    utilisation: float
    """Share of the peak that fits reach."""

    def seconds(self, flops: float, *, precision: str) -> float:
        """Device seconds of so many operations.

        Raises:
            InputError: the device doesn't have the precision.
        """
        peak = self.accelerator.flops("bf16" if precision == "bf16" else "fp32")
        if peak is None:
            raise InputError(
                f"accelerator {self.name} has no bf16, and training.precision is bf16; choose "
                "another accelerator, or set precision: fp32"
            )
        return flops / (peak * self.utilisation)


@dataclass(frozen=True)
class Kind:
    """Runs of one kind: of one role and one model, carried out alike."""

    what: str
    """Role, or `trial` or `refit`, with the method."""
    model: str
    runs: int
    left: int
    """Of them, those that the store doesn't hold."""
    flops: Flops
    """Of all runs."""
    flops_left: float
    tokens: float
    """Of all runs."""
    each: FitEstimate | None
    """The largest of them; None where it can't be estimated."""
    execution: Execution
    precision: str
    device_seconds: float | None = None
    """Of all runs; None without a device."""
    seconds_left: float | None = None
    fits: bool | None = None
    smallest: Smallest | None = None
    """The least sharding that fits; None without a device, or if nothing does."""
    fraction: float | None = None
    """Share of a GPU that a one-device fit needs."""
    why: str = ""
    """Why there is no estimate."""

    @property
    def memory(self) -> Memory | None:
        """On each device."""
        return None if self.each is None else self.each.memory


@dataclass(frozen=True)
class PlanEstimate:
    """What a plan takes."""

    kinds: tuple[Kind, ...]
    how: dict[How, int] = field(default_factory=dict)
    """Fits by where the lengths of their rows are from."""

    @property
    def flops(self) -> Flops:
        """Of all runs."""
        total = Flops()
        for kind in self.kinds:
            total = total + kind.flops
        return total

    @property
    def flops_left(self) -> float:
        """Of the runs that the store doesn't hold."""
        return sum(kind.flops_left for kind in self.kinds)

    @property
    def device_seconds(self) -> float:
        """Of all runs."""
        return sum(kind.device_seconds or 0.0 for kind in self.kinds)

    @property
    def seconds_left(self) -> float:
        """Device seconds of the runs that the store doesn't hold."""
        return sum(kind.seconds_left or 0.0 for kind in self.kinds)

    @property
    def unknown(self) -> dict[str, str]:
        """Model -> why its runs aren't estimated."""
        return {kind.model: kind.why for kind in self.kinds if kind.why}


@dataclass(frozen=True)
class _Run:
    what: str
    recipe: FitRecipe
    source: ModelSource
    execution: Execution
    count: int
    done: int
    passes: float = 0.0
    """Operations of the passes over frozen models that it is the first run of the plan to need."""
    passes_left: float = 0.0
    """Those of them whose activations no run that is done has left in the store."""


class Estimator:
    """Estimates of fits, each kind of them made once."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes
        self._known: dict[tuple[FitRecipe, str, Execution], FitEstimate | str] = {}

    def fit(
        self, recipe: FitRecipe, source: ModelSource, execution: Execution
    ) -> FitEstimate | str:
        """A fit's estimate, or why there is none."""
        alike = recipe.model_copy(
            update={"seed": 0, "labels": _alike(recipe.labels), "model": source.identity}
        )
        key = (alike, source.identity, execution)
        if key not in self._known:
            self._known[key] = self._made(recipe, source, execution)
        return self._known[key]

    def _made(
        self, recipe: FitRecipe, source: ModelSource, execution: Execution
    ) -> FitEstimate | str:
        not_estimated = FORMS[recipe.form].not_estimated
        if not_estimated is not None:
            return not_estimated
        model = self._shapes.model(source)
        if isinstance(model, str):
            return model
        most = recipe.training.max_tokens
        return estimate_fit(
            recipe,
            execution,
            model=model,
            lengths=lambda part: self._shapes.lengths(recipe.split, part, source, max_tokens=most),
        )


def estimate_plan(
    plan: Plan, shapes: Shapes, *, done: Collection[str] = (), device: Device | None = None
) -> PlanEstimate:
    """What `plan` takes, of which the store has what is `done`.

    Raises:
        InputError: a precision that the device doesn't have.
    """
    estimator = Estimator(shapes)
    grouped: dict[tuple[str, str, Execution, str], list[tuple[_Run, FitEstimate | str]]] = {}
    every = [
        (run, estimator.fit(run.recipe, run.source, run.execution)) for run in _runs(plan, done)
    ]
    for run, made in _with_passes(every):
        precision = run.recipe.training.precision
        key = (run.what, run.source.name, run.execution, precision)
        grouped.setdefault(key, []).append((run, made))
    how: Counter[How] = Counter()
    for members in grouped.values():
        for run, made in members:
            if not isinstance(made, str):
                how[made.how] += run.count
    kinds = tuple(_kind(members, shapes=shapes, device=device) for members in grouped.values())
    return PlanEstimate(kinds, dict(how))


def _with_passes(
    runs: list[tuple[_Run, FitEstimate | str]],
) -> Iterator[tuple[_Run, FitEstimate | str]]:
    """The runs, each with the passes over frozen models that no run before it has needed."""

    def passes(run: _Run, made: FitEstimate | str) -> dict[tuple[object, ...], float]:
        recipe, training = run.recipe, run.recipe.training
        key = (recipe.split, recipe.form, recipe.model, training.max_tokens, training.precision)
        stored = {} if isinstance(made, str) else made.stored
        return {(*key, part): operations for part, operations in stored.items()}

    there = {key for run, made in runs if run.done for key in passes(run, made)}
    seen: set[tuple[object, ...]] = set()
    for run, made in runs:
        new = {key: each for key, each in passes(run, made).items() if key not in seen}
        seen |= new.keys()
        left = sum(each for key, each in new.items() if key not in there)
        yield replace(run, passes=sum(new.values()), passes_left=left), made


def _kind(
    members: list[tuple[_Run, FitEstimate | str]], *, shapes: Shapes, device: Device | None
) -> Kind:
    run = members[0][0]
    precision = run.recipe.training.precision
    known = [(r, made) for r, made in members if not isinstance(made, str)]
    flops, left, tokens = Flops(), 0.0, 0.0
    for r, made in known:
        flops += made.flops.times(r.count) + Flops(evaluation=r.passes)
        left += made.flops.total * (r.count - r.done) + r.passes_left
        tokens += made.tokens * r.count
    largest = max(known, key=lambda found: found[1].memory.total, default=None)
    whys = [made for _, made in members if isinstance(made, str)]
    kind = Kind(
        what=run.what,
        model=run.source.name,
        runs=sum(r.count for r, _ in members),
        left=sum(r.count - r.done for r, _ in members),
        flops=flops,
        flops_left=left,
        tokens=tokens,
        each=largest[1] if largest else None,
        execution=run.execution,
        precision=precision,
        why=whys[0] if whys else "",
    )
    if device is None or largest is None:
        return kind
    return _on(kind, largest[0], shapes=shapes, device=device)


def _on(kind: Kind, run: _Run, *, shapes: Shapes, device: Device) -> Kind:
    """The same on a device."""
    model = shapes.model(run.source)
    assert not isinstance(model, str)
    assert kind.each is not None
    room, recipe = device.accelerator.bytes, run.recipe
    parts = (recipe.train_on, "validation", *recipe.predicts)
    most = recipe.training.max_tokens
    found = [shapes.lengths(recipe.split, p, run.source, max_tokens=most) for p in parts]
    least = smallest(
        model,
        training=recipe.training,
        execution=run.execution,
        longest=max(each.at(1.0) for each in found),
        device_bytes=room,
    )
    return Kind(
        **{
            **vars(kind),
            "device_seconds": device.seconds(kind.flops.total, precision=kind.precision),
            "seconds_left": device.seconds(kind.flops_left, precision=kind.precision),
            "fits": fits(kind.each.memory, room),
            "smallest": least,
            "fraction": gpu_fraction(kind.each.memory, room)
            if run.execution.workers == 1
            else None,
        }
    )


def _runs(plan: Plan, done: Collection[str]) -> Iterator[_Run]:
    """Every fit that the plan has, may have as a trial, or will have as a refit."""
    for fit in plan.fits.values():
        yield _Run(fit.what, fit.recipe, fit.source, fit.execution, 1, int(fit.id in done))
    for study in plan.studies.values():
        trials = study.recipe.trials
        ended = trials if study.id in done else 0
        cells = zip(study.recipe.cells, study.sources, study.executions, strict=True)
        for recipe, source, execution in cells:
            yield _Run(f"trial {study.method}", recipe, source, execution, trials, ended)
    for cell in {_refit(cell): cell for cell in plan.cells if cell.student is None}.values():
        model = plan.sweep.model(cell.strong)
        yield _Run(
            f"refit {cell.method}",
            _declared(plan, cell),
            plan.inputs.models[model.label],
            plan.sweep.execution_of(model),
            1,
            0,
        )


def _refit(cell: PlannedCell) -> tuple[str | None, str, str, str, int]:
    return (cell.study, cell.task, cell.weak, cell.strong, cell.seed)


def _declared(plan: Plan, cell: PlannedCell) -> FitRecipe:
    """The refit of a cell, with the settings that the sweep declares."""
    model = plan.sweep.model(cell.strong)
    settings = plan.sweep.student_settings(cell.method, model)
    return (
        plan.fits[cell.ceiling]
        .recipe.with_settings(settings)
        .model_copy(
            update={
                "train_on": "student_half",
                "labels": Labels(source=(cell.supervisor,)),
                "predicts": ("validation", "test"),
            }
        )
    )


def _alike(labels: Labels) -> Labels:
    """Labels that cost the same."""
    return Labels(source=("run",)) if labels.runs else labels
