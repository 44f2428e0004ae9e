"""Steps before a sweep runs: planning, checks of its inputs, and writing its rows to the store.

Owns planning with the results in the store, and what the driver writes to the store before and
between runs. It starts no runs, and imports neither Ray nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from w2s_ray.config import FORMS, Sweep, Task
from w2s_ray.data import Inputs, load_split, resolve
from w2s_ray.data.example import Example
from w2s_ray.data.inputs import SplitRef, errors_of_model, together
from w2s_ray.data.models import check_values
from w2s_ray.data.sources import form_of
from w2s_ray.data.split import groups_digest
from w2s_ray.errors import InputError
from w2s_ray.fits.stored_split import check_rows
from w2s_ray.plan import Plan, check_forms, make_plan
from w2s_ray.store import Cell, Manifest, Store, utc_now
from w2s_ray.store.damage import Damaged, warn

if TYPE_CHECKING:
    import pyarrow as pa


def plan_sweep(
    sweep: Sweep,
    *,
    store: Store | None = None,
    inputs: Inputs | None = None,
    progress: Callable[[str], None] = lambda part: None,
) -> Plan:
    """The plan of `sweep`, with the settings that studies chose which are done in the store.

    What a study chose may lead to other studies, which may be done too. `store` defaults to the
    sweep's own. `progress` is called with each model and task before it is read.

    Raises:
        InputError: a method that isn't possible for a task's form, or an invalid task or model.
    """
    check_forms(sweep, {task.name: form_of(task) for task in sweep.tasks})
    inputs = inputs if inputs is not None else resolve(sweep, progress=progress)
    store = store or Store.open(sweep.store)
    plan, outcomes = make_plan(sweep, inputs), dict[str, dict[str, Any]]()
    while ended := _outcomes(plan, store, known=outcomes):
        outcomes |= ended
        plan = make_plan(sweep, inputs, outcomes=outcomes)
    return plan


def cells_of(plan: Plan) -> tuple[Cell, ...]:
    """The plan's cells as records of the store."""
    return tuple(Cell(**vars(cell)) for cell in plan.cells)


def _outcomes(plan: Plan, store: Store, *, known: Collection[str]) -> dict[str, dict[str, Any]]:
    """Study id -> the settings that it chose, for the plan's finished studies but the `known`."""
    records = {study: store.find(study) for study in plan.studies if study not in known}
    return {study: record.about["settings"] for study, record in records.items() if record}


def refuse_provisional(plan: Plan) -> None:
    """Refuse inputs that are not on this machine and can't be downloaded."""
    unresolved = plan.inputs.unresolved
    if unresolved:
        raise InputError(
            *(f"not on this machine: {together(names)}: {r}" for r, names in unresolved.items())
        )


def refuse_values(plan: Plan) -> None:
    """Reject models whose weights on this machine have NaN or infinite values.

    The weights of hub models are read here once; planning has read the weights in local folders.
    """
    for label, source in plan.inputs.models.items():
        with errors_of_model(label):
            check_values(source)


def refuse_known_figures(plan: Plan, store: Store) -> None:
    """Refuse to seal the test of a sweep whose finished fits have test figures in their records.

    Raises:
        InputError: such fits were trained by a sweep without `seal`.
    """
    if not plan.sweep.seal:
        return
    done = store.records(store.done(plan.fits))
    count = sum("test_accuracy" in record.summary for record in done)
    if count:
        raise InputError(
            f"seal: {count} fits of this sweep are done in {store.uri} with test figures, by a "
            "sweep without seal; use another store, or remove seal"
        )


def materialize(plan: Plan, store: Store) -> None:
    """Write every split's rows to the store, from which workers and reports read them.

    Raises:
        InputError: rows in the store that differ from their fingerprint.
    """
    corpora = [
        (model.pretrain.corpus, plan.inputs.corpora[model.label])
        for model in plan.sweep.models
        if model.pretrain is not None
    ]
    tasks = [(task, plan.inputs.splits[task.name]) for task in plan.sweep.tasks]
    for task, planned in (*tasks, *corpora):
        _materialize(task, planned, store)
        if plan.sweep.seal:
            store.splits.write_sealed(planned.fingerprint, store.splits.rows(planned.fingerprint))


def _materialize(task: Task, planned: SplitRef, store: Store) -> None:
    import pyarrow as pa

    from w2s_ray.store.tables import CHAT_ROWS, SPLIT_ROWS

    fingerprint = planned.fingerprint
    present = store.splits.intact_rows(fingerprint)
    if present is not None:
        check_rows(present, store, fingerprint)
        _check_groups(present, planned, task=task.name, store=store)
        return
    split = load_split(task)
    if split.fingerprint != fingerprint:
        raise InputError(
            f"task {task.name} changed while it was read ({fingerprint} became "
            f"{split.fingerprint}); run again"
        )
    classes, copies = FORMS[split.form].has_two_classes, split.near_copies or {}
    rows = [
        {
            **e._asdict(),
            "example_id": e.id,
            "part": part,
            "label": e.label if classes else None,
            "near_copies": copies.get(e.id) if part == "test" else None,
        }
        for part, examples in split.parts.items()
        for e in examples
    ]
    about = {
        "task": task.name,
        "form": split.form,
        "declaration": task.model_dump(mode="json"),
        "near_copies": sum(map(bool, copies.values())) if copies else None,
        "dropped": dict(split.dropped),
        "unused": split.unused,
        "own_test": split.own_test,
    }
    columns = CHAT_ROWS if planned.chat else SPLIT_ROWS
    store.splits.write(fingerprint, pa.Table.from_pylist(rows, schema=columns), about)


def _check_groups(rows: pa.Table, planned: SplitRef, *, task: str, store: Store) -> None:
    """Refuse stored rows that are the planned ones in other groups, which intervals depend on."""
    ids, groups = rows.column("example_id").to_pylist(), rows.column("group").to_pylist()
    stored = groups_digest(
        Example(id_, "", 0, group or "") for id_, group in zip(ids, groups, strict=True)
    )
    if planned.groups and stored != planned.groups:
        raise InputError(
            f"task {task}: {store.uri} holds the same rows (split {planned.fingerprint}) in other "
            "groups; use another store for these groups"
        )


def withdraw_damaged(plan: Plan, store: Store) -> None:
    """Withdraw finished runs whose predictions are damaged and needed, so that they run again."""
    runs = [*plan.fits.values(), *plan.studies.values()]
    done = store.done(run.id for run in runs)
    needed = {parent for run in runs if run.id not in done for parent in run.parents}
    for record in store.records(needed & done & plan.fits.keys()):
        if "predictions.parquet" in record.bytes:
            try:
                store.predictions(record.id)
            except Damaged as damage:
                warn(damage)
                store.withdraw(record, damage)


def write_manifest(plan: Plan, store: Store, sweep_text: str) -> None:
    """Write the sweep's manifest: its text, the runs of each cell, and its other fits."""
    cells = cells_of(plan)
    in_cells = {run for cell in cells for run in cell.runs}
    store.manifests.write(
        Manifest(
            name=plan.sweep.name,
            sweep_text=sweep_text,
            created_at=utc_now(),
            cells=cells,
            steps=tuple(fit for fit in plan.fits if fit not in in_cells),
            sealed=plan.sweep.seal,
        )
    )
