"""The status of a sweep for a terminal or a notebook.

Owns the texts and the length of lists. It reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from w2s_ray.printable import clock
from w2s_ray.status.values import Driver, Remaining, Status, StudySeen, Waiting

MAX_ROWS = 12
"""Rows of a list; further ones are counted."""
MAX_NAMES = 3
"""Names of runs in one row of the waiting list."""


def status_layout(status: Status) -> RenderableType:
    """A status as text with tables."""
    parts: list[RenderableType] = [
        _headline(status),
        *(_driver(driver) for driver in status.drivers),
        *_next_step(status),
        *([_remaining(status.left)] if status.left else []),
        *(_study(study) for study in status.studies),
    ]
    for title, table in (
        ("running", _running(status)),
        ("waiting for", _waiting(status)),
        ("failed", _failed(status)),
        ("blocked by", _blocked(status)),
    ):
        if table.row_count:
            parts += [Text(f"\n{title}", style="bold"), table]
    if status.low_contrast:
        remark = f"weak labels lie close together: {'; '.join(status.low_contrast)}"
        parts.append(Text(remark, style="yellow"))
    if status.retried:
        parts.append(Text(f"tried again: {_counts(status.retried)}"))
    return Group(*parts)


def _headline(status: Status) -> Text:
    of = f" of {status.total} runs"
    counts = [
        (f"{status.done} done", "green"),
        (_count(_running_count(status), "running"), "cyan"),
        (_count(len(status.waiting), "waiting"), ""),
        (_count(len(status.failed), "failed"), "red"),
        (_count(len(status.blocked), "blocked"), "yellow"),
    ]
    text = Text.assemble((status.sweep, "bold"), f" in {status.store}: ", counts[0], of)
    for count, style in counts[1:]:
        if count:
            text.append(", ").append(count, style=style)
    return text


def _running_count(status: Status) -> int:
    """Fits and studies of the plan that are running; fits of trials count in their study."""
    fits = sum(fit.study is None for fit in status.running)
    return fits + sum(study.state == "running" for study in status.studies)


def _driver(driver: Driver) -> Text:
    name = f"driver on {driver.host}, process {driver.pid}"
    if not driver.alive:
        return Text(f"{name}: gone, no heartbeat for {clock(driver.said_s)}", style="yellow")
    phase = f", {driver.phase}" if driver.phase != "running" else ""
    text = Text(f"{name}: running for {clock(driver.running_s)}{phase}")
    if driver.budget is not None:
        text.append(f"; {driver.budget}")
    if driver.nodes is not None:
        waits = f"\n  waiting for {driver.nodes}, for {clock(driver.nodes_s or 0)}"
        text.append(waits, style="yellow")
    return text


def _next_step(status: Status) -> list[Text]:
    """How to continue the sweep if no driver is running."""
    match status.state:
        case "untouched":
            return [Text("nothing has run yet; `w2s run` with this sweep file starts it")]
        case "unfinished":
            return [Text("no driver is running; `w2s run` resumes the sweep", style="yellow")]
        case "failed":
            return [Text("no driver is running; `w2s run` tries the failed runs again")]
        case _:
            return []


def _remaining(left: Remaining) -> Text:
    time_left = f"about {clock(left.seconds)}, " if left.seconds is not None else ""
    text = (
        f"left: {time_left}{left.device_seconds:.0f} device seconds and {left.flops:.2g} training "
        f"FLOPs for at most {_fits(left.fits)}; estimated from {left.from_fits} finished "
        f"fit{'s' * (left.from_fits != 1)}"
    )
    if left.guessed:
        text += f", by the overall mean for {_fits(left.guessed)} of models without a finished fit"
    return Text(text, style="dim")


def _study(study: StudySeen) -> Text:
    states = (
        (study.complete, "complete"),
        (study.pruned, "pruned"),
        (study.failed, "failed"),
        (study.running, "running"),
    )
    counts = ", ".join(f"{n} {state}" for n, state in states if n) or "none yet"
    if study.repeats:
        counts += f" ({study.repeats} repeated others)"
    best = f"; best {study.metric} {study.best:.4g}" if study.best is not None else ""
    return Text(f"{study.description}: {study.state}; {counts} of {study.trials} trials{best}")


def _running(status: Status) -> Table:
    table = _table("run", "what", "step", "for", "on")
    for fit in status.running[:MAX_ROWS]:
        step = f"{fit.step}/{fit.steps}" if fit.step else fit.fetched or "-"
        table.add_row(fit.run[:8], fit.description, step, clock(fit.for_s), fit.place)
    return _with_remainder(table, len(status.running))


def _waiting(status: Status) -> Table:
    """Reasons for waiting, and the runs that wait for each."""
    table = _table("what", "runs", "names")

    def reason(run: Waiting) -> tuple[str, str]:
        return run.why, run.reason

    groups = [
        (text, list(runs))
        for (_, text), runs in groupby(sorted(status.waiting, key=reason), key=reason)
    ]
    for text, runs in sorted(groups, key=lambda group: -len(group[1]))[:MAX_ROWS]:
        names = "; ".join(run.description for run in runs[:MAX_NAMES])
        more = "; ..." if len(runs) > MAX_NAMES else ""
        table.add_row(text, str(len(runs)), f"{names}{more}")
    return _with_remainder(table, len(groups))


def _failed(status: Status) -> Table:
    table = _table("run", "what", "cause", "tries", "reason")
    for run in status.failed[:MAX_ROWS]:
        earlier = f" (earlier: {_counts(run.retries)})" if run.retries else ""
        tries = f"{run.attempts}{earlier}"
        table.add_row(run.run, run.description, run.cause or "", tries, run.reason or "")
    return _with_remainder(table, len(status.failed))


def _blocked(status: Status) -> Table:
    table = _table("what", "runs")
    blockers = sorted(run.failed_run for run in status.blocked)
    groups = [(blocker, len(list(runs))) for blocker, runs in groupby(blockers)]
    for blocker, count in groups[:MAX_ROWS]:
        table.add_row(blocker, str(count))
    return _with_remainder(table, len(groups))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in ("runs", "for") else "left")
    return table


def _with_remainder(table: Table, count: int) -> Table:
    if count > MAX_ROWS:
        table.add_row(f"... {count - MAX_ROWS} more")
    return table


def _counts(counts: dict[str, int]) -> str:
    ordered: Iterable[tuple[str, int]] = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{cause} {count}" for cause, count in ordered)


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


def _fits(count: int) -> str:
    return f"{count} fit{'s' * (count != 1)}"
