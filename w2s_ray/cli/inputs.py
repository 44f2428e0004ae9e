"""Sweep, store, plan and cells from a command's arguments, and the console of standard output.

Every import of a heavy package happens inside a function, so that commands start fast.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_ray.cli.next_steps import RunArguments
from w2s_ray.cli.other_overrides import print_other_overrides
from w2s_ray.errors import InputError
from w2s_ray.paths import checked_folder_or_uri
from w2s_ray.plain_console import PlainConsole

if TYPE_CHECKING:
    from w2s_ray.config import Sweep
    from w2s_ray.plan import Plan
    from w2s_ray.store import Cell, Store


def output_console() -> PlainConsole:
    """Standard output; 200 columns wide where it is not a terminal."""
    return PlainConsole(width=None if sys.stdout.isatty() else 200)


def load_sweep(path: Path, overrides: Sequence[str] | None) -> Sweep:
    """The sweep in a file, with overrides."""
    from w2s_ray import config

    return config.load_sweep(path, overrides=overrides or ())


def optional_sweep(path: Path | None, overrides: Sequence[str] | None) -> Sweep | None:
    """The sweep in a file, with overrides, if a file is given."""
    return None if path is None else load_sweep(path, overrides)


def open_store(uri: str | None, sweep: Sweep) -> Store:
    """The store at `uri`, by default that of the sweep; it need not exist yet."""
    from w2s_ray.store import Store

    return Store.open(checked_folder_or_uri(uri or sweep.store))


def open_snapshot(uri: str | None, sweep: Sweep | None) -> Store:
    """A snapshot of the store at `uri`, by default that of the sweep, or else `results`.

    Raises:
        StoreError: there is no store.
    """
    from w2s_ray.store import Store

    # A command that only reads keeps nearly all of its objects: collecting garbage at Python's
    # usual rate would traverse 100,000 records again and again.
    gc.set_threshold(200_000)
    store = Store.open(
        checked_folder_or_uri(uri or (sweep.store if sweep is not None else "results"))
    )
    store.check_readable()
    return store.snapshot()


def check_output(out: Path, store: Store, *, sweep_file: Path | None) -> None:
    """Check a path to write results to, before they are computed.

    Raises:
        InputError: it is in a folder of the store's own, its `store.json`, or the sweep file.
    """
    from w2s_ray.store.layout import TOP

    target, root = out.resolve(), Path(store.uri).resolve()
    if sweep_file is not None and target == sweep_file.resolve():
        raise InputError(f"--out {out} is the sweep file; name another file")
    if any(target.is_relative_to(root / name) for name in TOP):
        raise InputError(f"--out {out} is among the files of the store {store.uri}; name another")


def plan_of(sweep: Sweep, store: Store) -> Plan:
    """The sweep's plan, with what the store has recorded of its studies."""
    from w2s_ray.prepare import plan_sweep

    return plan_sweep(sweep, store=store)


def cells_of(store: Store, plan: Plan | None) -> dict[str, Sequence[Cell]]:
    """Sweep name -> its cells: of the plan, or else of every sweep in the store."""
    if plan is None:
        return {name: store.manifests.latest(name).cells for name in store.manifests.sweeps()}
    from w2s_ray import prepare

    return {plan.sweep.name: prepare.cells_of(plan)}


def results_and_plan(
    path: Path | None, overrides: Sequence[str] | None, uri: str | None, *, command: str
) -> tuple[Store, Plan | None]:
    """A snapshot of results and the plan of the sweep in a file, if one is given, for a command.

    The command's look at sealed test figures is counted.
    """
    sweep = optional_sweep(path, overrides)
    results = open_snapshot(uri, sweep)
    plan = None if sweep is None else plan_of(sweep, results)
    print_looks(results, sweep, command=command)
    if path is not None and plan is not None:
        call = RunArguments(path, overrides or (), uri)
        note_other_overrides(call, results, plan, command=command)
    return results, plan


def note_other_overrides(call: RunArguments, store: Store, plan: Plan, *, command: str) -> None:
    """Print with which overrides the sweep file ran, if those have more results."""
    runs = {*plan.fits, *plan.studies}
    total = len(runs) + plan.waiting
    print_other_overrides(
        call, store, plan.sweep, command=command, done=len(store.done(runs)), total=total
    )


def print_looks(store: Store, sweep: Sweep | None, *, command: str) -> None:
    """Count a look at the test figures of sealed sweeps, and print the numbers to standard error.

    The sweeps are those of the store, or the given one.

    Raises:
        InputError: the look can't be counted.
    """
    from w2s_ray.report.sealed import count_look

    names = store.manifests.sweeps() if sweep is None else [sweep.name]
    console = PlainConsole(stderr=True, soft_wrap=True)
    for line in count_look(store, names, command=command):
        console.print(line)
