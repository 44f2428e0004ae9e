"""The overrides that a sweep file ran with, where a command has others and finds less or nothing.

Owns the search among the manifests of a store, and the line with the command to copy. A run is
offered only if the file still gives a sweep of its name with its overrides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from w2s_ray.cli.next_steps import RunArguments
from w2s_ray.errors import InputError
from w2s_ray.plain_console import PlainConsole

if TYPE_CHECKING:
    from w2s_ray.config import Sweep
    from w2s_ray.store import Manifest, Store


def print_other_overrides(
    call: RunArguments, store: Store, sweep: Sweep, *, command: str, done: int, total: int
) -> None:
    """Print with which overrides more runs are done than the `done` of `total` of this sweep."""
    if done == total:
        return
    for manifest, overrides in _ran_with(call, store, sweep.name):
        runs = {run for cell in manifest.cells for run in (*cell.runs, *cell.studies)}
        runs |= set(manifest.steps or ())
        others = len(store.done(runs))
        if others > done and _gives(call, overrides, manifest.name):
            PlainConsole(stderr=True, soft_wrap=True).print(
                f"{done} of {total} runs of this sweep are in {store.uri}, and {others} of "
                f"{len(runs)} of {_offer(call, overrides, command)}"
            )
            return


def check_ran(call: RunArguments, store: Store, sweep: Sweep, *, command: str) -> None:
    """Refuse a sweep that the store doesn't have.

    Raises:
        InputError: it is not there; the message says with which overrides its file ran.
    """
    from w2s_ray.store import StoreError

    try:
        store.manifests.latest(sweep.name)
    except StoreError as error:
        for manifest, overrides in _ran_with(call, store, sweep.name):
            if not _gives(call, overrides, manifest.name):
                continue
            raise InputError(f"{error}; {_offer(call, overrides, command)}") from None
        raise


def _offer(call: RunArguments, overrides: tuple[str, ...], command: str) -> str:
    ran = "with other overrides" if overrides else "without overrides"
    other = RunArguments(call.sweep_file, overrides, call.store)
    return f"{call.sweep_file.name} as it ran {ran}: {other.command(command)}"


def _ran_with(
    call: RunArguments, store: Store, name: str
) -> Iterator[tuple[Manifest, tuple[str, ...]]]:
    """The newest manifest of the file or name for each other list of overrides, newest first."""
    from w2s_ray.config import overrides_in

    seen = {frozenset(call.overrides)}
    for manifest in reversed(store.manifests.all()):
        file, overrides = overrides_in(manifest.sweep_text)
        is_same = manifest.name == name or file == call.sweep_file.name
        if is_same and frozenset(overrides) not in seen:
            seen.add(frozenset(overrides))
            yield manifest, overrides


def _gives(call: RunArguments, overrides: tuple[str, ...], name: str) -> bool:
    """Whether the file gives a sweep of this name with these overrides."""
    from w2s_ray.config import read_sweep

    try:
        return read_sweep(call.sweep_file, overrides=overrides).sweep.name == name
    except InputError:
        return False
