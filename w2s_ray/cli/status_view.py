"""What `w2s status` prints: runs by state, and why failed ones failed. It decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from w2s_ray.plan import Plan
from w2s_ray.store import Record, Store

KINDS = {"fit": "fits", "study": "studies"}


def render_status(store: Store, *, plan: Plan | None, console: Console) -> None:
    """Print how far the store is, or how far `plan` is in it."""
    latest = {record.id: record for record in store.latest()}
    if plan is None:
        _print_store(store, latest, console)
        return
    wanted = [*plan.fits, *plan.studies]
    states = Counter(_state(latest.get(run)) for run in wanted)
    said = ", ".join(f"{count} {state}" for state, count in states.most_common())
    console.print(
        f"[bold]{plan.sweep.name}[/bold] in {store.uri}: {said or 'nothing planned'}",
        highlight=False,
        soft_wrap=True,
    )
    for study in plan.studies.values():
        trials = Counter(trial["state"] for trial in store.trials(study.id))
        told = ", ".join(f"{n} {state}" for state, n in trials.items()) or "none yet"
        console.print(
            f"study {study.id[:8]} of {study.method}: {told} of {study.recipe.trials} trials",
            highlight=False,
        )
    if plan.waiting:
        console.print(f"{plan.waiting} refits wait for their study")
    failed = [latest[run] for run in wanted if run in latest and latest[run].status == "failed"]
    _print_failed(failed, console)
    _print_retries([latest[run] for run in wanted if run in latest], console)
    blocked = plan.blocked_by({record.id for record in failed})
    if blocked:
        console.print(f"{len(blocked)} runs are blocked by those that failed")


def _print_store(store: Store, latest: dict[str, Record], console: Console) -> None:
    states = Counter(f"{KINDS[record.kind]} {record.status}" for record in latest.values())
    said = ", ".join(f"{count} {state}" for state, count in states.most_common())
    console.print(f"{store.uri}: {said or 'no runs'}", highlight=False, soft_wrap=True)
    for name in store.sweep_names():
        cells = store.latest_manifest(name).cells
        whole = sum(
            cell.student is not None
            and all(
                run in latest and latest[run].status == "done"
                for run in (cell.supervisor, cell.ceiling, cell.student)
            )
            for cell in cells
        )
        console.print(f"sweep {name}: {whole} of {len(cells)} cells complete", highlight=False)
    _print_failed([r for r in latest.values() if r.status == "failed"], console)
    _print_retries(latest.values(), console)


def _print_failed(records: list[Record], console: Console) -> None:
    if not records:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("failed run", "task", "model", "attempts", "reason"):
        table.add_column(name)
    for record in records:
        table.add_row(
            record.id,
            str(record.about.get("task", "")),
            str(record.about.get("model", "")),
            str(record.attempts),
            record.reason,
        )
    console.print(table)


def _print_retries(records: Iterable[Record], console: Console) -> None:
    """What runs were tried again for, and how often."""
    causes = sum((Counter(record.retries) for record in records), Counter[str]())
    if causes:
        said = ", ".join(f"{cause} {count}" for cause, count in causes.most_common())
        console.print(f"tried again: {said}", highlight=False)


def _state(record: Record | None) -> str:
    return "to do" if record is None or record.status in ("pruned", "stopped") else record.status
