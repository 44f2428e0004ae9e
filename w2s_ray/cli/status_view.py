"""What `w2s status` shows of a sweep, once or again and again. It decides nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterable
from itertools import groupby

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from w2s_ray.config import Sweep
from w2s_ray.plain_console import PlainConsole
from w2s_ray.printable import clock
from w2s_ray.status.values import Driver, Remaining, Status, StudySeen, Waiting
from w2s_ray.store import Store

SHOWN = 12
"""Rows of a list at most; the rest is counted."""
NAMED = 3
"""Runs that wait for the same thing and are named."""


def show_sweep(
    sweep: Sweep, store: Store, *, every_s: float | None, format: str, console: PlainConsole
) -> None:
    """Print how far `sweep` is, as `table` or `json`: once, or every so many seconds."""
    from w2s_ray.status.reader import StatusReader

    looker = StatusReader(sweep, store)
    if every_s is not None:
        watch(looker.look, every_s=every_s, format=format, console=console)
    elif format == "json":
        typer.echo(json.dumps(dataclasses.asdict(looker.look(patient=True)), indent=1))
    else:
        console.print(picture(looker.look(patient=True)))


def watch(
    look: Callable[[], Status], *, every_s: float, format: str, console: PlainConsole
) -> None:
    """Show what `look` finds until no driver is at work, or Ctrl-C; as `json`, a line a look."""
    with contextlib.suppress(KeyboardInterrupt):
        status = look()
        if format == "json":
            typer.echo(json.dumps(dataclasses.asdict(status)))
            while status.under_way:
                time.sleep(every_s)
                status = look()
                typer.echo(json.dumps(dataclasses.asdict(status)))
            return
        with Live(picture(status), console=console, auto_refresh=False) as live:
            while status.under_way:
                time.sleep(every_s)
                status = look()
                live.update(picture(status), refresh=True)


def picture(status: Status) -> RenderableType:
    """All there is to say, for a terminal."""
    parts: list[RenderableType] = [
        _head(status),
        *(_driver(driver) for driver in status.drivers),
        *_goes_on(status),
        *([_left(status.left)] if status.left else []),
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
    if status.retried:
        parts.append(Text(f"tried again: {_counts(status.retried)}"))
    return Group(*parts)


def _head(status: Status) -> Text:
    of = f" of {status.total} runs"
    counts = [
        (f"{status.done} done", "green"),
        (_some(_runs_under_way(status), "running"), "cyan"),
        (_some(len(status.waiting), "waiting"), ""),
        (_some(len(status.failed), "failed"), "red"),
        (_some(len(status.blocked), "blocked"), "yellow"),
    ]
    text = Text.assemble((status.sweep, "bold"), f" in {status.store}: ", counts[0], of)
    for said, style in counts[1:]:
        if said:
            text.append(", ").append(said, style=style)
    return text


def _runs_under_way(status: Status) -> int:
    """Fits and studies of the plan that run; trials' fits are in their study."""
    fits = sum(fit.study is None for fit in status.running)
    return fits + sum(study.state == "running" for study in status.studies)


def _driver(driver: Driver) -> Text:
    who = f"driver on {driver.host}, process {driver.pid}"
    if not driver.alive:
        return Text(f"{who}: gone, it said nothing for {clock(driver.said_s)}", style="yellow")
    doing = f", {driver.phase}" if driver.phase != "running" else ""
    text = Text(f"{who}: at work for {clock(driver.running_s)}{doing}")
    if driver.budget is not None:
        text.append(f"; {driver.budget}")
    if driver.nodes is not None:
        waits = f"\n  waiting for {driver.nodes}, for {clock(driver.nodes_s or 0)}"
        text.append(waits, style="yellow")
    return text


def _goes_on(status: Status) -> list[Text]:
    """How it goes on where nobody is at work."""
    match status.state:
        case "untouched":
            return [Text("nothing has run yet; `w2s run` with this sweep file starts it")]
        case "unfinished":
            return [Text("no driver is running; the same command goes on", style="yellow")]
        case "failed":
            return [Text("no driver is running; the same command tries failed runs again")]
        case _:
            return []


def _left(left: Remaining) -> Text:
    time_left = f"about {clock(left.seconds)}, " if left.seconds is not None else ""
    text = (
        f"left: {time_left}{left.device_seconds:.0f} device seconds and {left.flops:.2g} training "
        f"FLOPs for at most {_fits(left.fits)}; estimated from what {_fits(left.from_fits)} took"
    )
    if left.guessed:
        text += f", the average of all for {_fits(left.guessed)} of models that have none finished"
    return Text(text, style="dim")


def _study(study: StudySeen) -> Text:
    states = (
        (study.complete, "complete"),
        (study.pruned, "pruned"),
        (study.failed, "failed"),
        (study.running, "running"),
    )
    told = ", ".join(f"{n} {state}" for n, state in states if n) or "none yet"
    if study.repeats:
        told += f" ({study.repeats} repeated others)"
    best = f"; best {study.metric} {study.best:.4g}" if study.best is not None else ""
    return Text(f"{study.called}: {study.state}; {told} of {study.trials} trials{best}")


def _running(status: Status) -> Table:
    table = _table("run", "what", "step", "for", "on")
    for fit in status.running[:SHOWN]:
        step = f"{fit.step}/{fit.steps}" if fit.step else "-"
        table.add_row(fit.run[:8], fit.called, step, clock(fit.for_s), fit.place)
    return _rest(table, len(status.running))


def _waiting(status: Status) -> Table:
    """What is waited for, and by how many."""
    table = _table("what", "runs", "who")

    def for_what(run: Waiting) -> tuple[str, str]:
        return run.why, run.said

    groups = [
        (said, list(runs))
        for (_, said), runs in groupby(sorted(status.waiting, key=for_what), key=for_what)
    ]
    for said, runs in sorted(groups, key=lambda group: -len(group[1]))[:SHOWN]:
        names = "; ".join(run.called for run in runs[:NAMED])
        more = "; ..." if len(runs) > NAMED else ""
        table.add_row(said, str(len(runs)), f"{names}{more}")
    return _rest(table, len(groups))


def _failed(status: Status) -> Table:
    table = _table("run", "what", "cause", "tries", "reason")
    for run in status.failed[:SHOWN]:
        earlier = f" (earlier: {_counts(run.retries)})" if run.retries else ""
        tries = f"{run.attempts}{earlier}"
        table.add_row(run.run, run.called, run.cause or "", tries, run.reason or "")
    return _rest(table, len(status.failed))


def _blocked(status: Status) -> Table:
    table = _table("what", "runs")
    by = sorted(run.said for run in status.blocked)
    groups = [(said, len(list(runs))) for said, runs in groupby(by)]
    for said, count in groups[:SHOWN]:
        table.add_row(said, str(count))
    return _rest(table, len(groups))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in ("runs", "for") else "left")
    return table


def _rest(table: Table, count: int) -> Table:
    if count > SHOWN:
        table.add_row(f"... {count - SHOWN} more")
    return table


def _counts(counts: dict[str, int]) -> str:
    ordered: Iterable[tuple[str, int]] = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{cause} {count}" for cause, count in ordered)


def _some(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


def _fits(count: int) -> str:
    return f"{count} fit{'s' * (count != 1)}"
