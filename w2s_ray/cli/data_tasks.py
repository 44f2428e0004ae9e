"""The overviews that `w2s data` prints: of the tasks' data, or else of the store's rows."""

from __future__ import annotations

from dataclasses import dataclass

from w2s_ray.config import FORMS, Task
from w2s_ray.data import load_split
from w2s_ray.data.inputs import together
from w2s_ray.data.overview import ModelUse, TaskOverview, TaskRows, make_overview
from w2s_ray.data.overview.reader import Readers
from w2s_ray.errors import InputError
from w2s_ray.plan import Plan
from w2s_ray.prepare import cells_of
from w2s_ray.report.sealed import is_sealed
from w2s_ray.report.task_data import positions_of, stored_rows, stored_tasks
from w2s_ray.report.weak_labels import WeakLabels, weak_labels
from w2s_ray.store import Cell, Store


@dataclass(frozen=True)
class DataRequest:
    """What to show."""

    tasks: tuple[str, ...]
    rows: int
    """Rows of each class."""
    tokens: bool
    model: str | None
    """The model in whose form rows are shown; None = the first."""


@dataclass(frozen=True)
class SweepData:
    """The data of a sweep's tasks."""

    sweep: str
    overviews: tuple[TaskOverview, ...]
    weak_labels: tuple[WeakLabels, ...]
    """Of supervisors in the store."""
    missing: tuple[tuple[str, str], ...]
    """Tasks whose rows are neither on this machine nor in the store, each with the reason."""


def sweep_data(plan: Plan, store: Store, request: DataRequest) -> SweepData:
    """The overviews of a plan's tasks.

    Raises:
        InputError: no rows of any of the tasks, or tokens of a model whose tokenizer is not on
            this machine as tokenizer.json.
    """
    sweep, exists = plan.sweep, store.exists()
    sealed = sweep.seal or (exists and is_sealed(store, sweep.name))
    models, readers = _uses(plan), Readers()
    if request.tokens:
        _check_tokens(plan, models, readers, request)
    cells = _cells(plan, store) if exists else ()
    stored = stored_tasks(cells, store)
    overviews, missing = [], []
    for name in request.tasks:
        planned = plan.inputs.splits[name]
        if not planned.provisional:
            rows = TaskRows.of_split(load_split(_task(plan, name), expected=planned.fingerprint))
        else:
            rows = stored_rows(store, name, stored[name].fingerprint) if name in stored else None
        if rows is None:
            missing.append((name, planned.note))
            continue
        overview = make_overview(
            rows,
            models=models,
            sealed=sealed,
            shown=request.rows,
            shown_to=request.model,
            tokens=request.tokens,
            readers=readers,
        )
        overviews.append(overview)
    if not overviews:
        reasons = dict.fromkeys(why for _, why in missing)
        names = {why: [f"task {name}" for name, of in missing if of == why] for why in reasons}
        raise InputError(*(f"not on this machine: {together(names[w])}: {w}" for w in reasons))
    weak = tuple(weak_labels((cell for cell in cells if cell.task in request.tasks), store))
    return SweepData(sweep.name, tuple(overviews), weak, tuple(missing))


def _cells(plan: Plan, store: Store) -> tuple[Cell, ...]:
    """The plan's cells; for tasks that are not on this machine, the cells of the last start."""
    absent = {name for name, split in plan.inputs.splits.items() if split.provisional}
    name, cells = plan.sweep.name, [cell for cell in cells_of(plan) if cell.task not in absent]
    if absent and name in store.manifests.sweeps():
        cells += [cell for cell in store.manifests.latest(name).cells if cell.task in absent]
    return tuple(cells)


def _task(plan: Plan, name: str) -> Task:
    return next(task for task in plan.sweep.tasks if task.name == name)


def _uses(plan: Plan) -> list[ModelUse]:
    """The sweep's models, as supervisors and ceilings read texts."""
    uses = []
    for model in plan.sweep.models:
        source = plan.inputs.models[model.label]
        training = plan.sweep.ground_truth_settings(model).training
        made = plan.inputs.architectures.get(source.identity)
        positions = positions_of(source) if made is None else made.most_tokens
        use = ModelUse(source, training.max_tokens, training.answer_tokens, positions)
        uses.append(use)
    return uses


def _check_tokens(
    plan: Plan, models: list[ModelUse], readers: Readers, request: DataRequest
) -> None:
    """Refuse tokens where no task has texts, or the model's tokenizer can't be read."""
    if not any(FORMS[plan.inputs.splits[name].form].has_texts for name in request.tasks):
        raise InputError(f"--tokens: {', '.join(request.tasks)} has no texts; remove --tokens")
    use = next(u for u in models if request.model in (None, u.source.name))
    if readers.of(use.source) is None:
        able = [u.source.name for u in models if readers.of(u.source) is not None]
        other = f"give --model {able[0]}, or " if able else ""
        raise InputError(
            f"--tokens: the tokenizer of {use.source.name} is not on this machine as "
            f"tokenizer.json; {other}remove --tokens"
        )
