"""`w2s compact`."""

from __future__ import annotations

from w2s_ray.cli.inputs import open_snapshot, optional_sweep, output_console
from w2s_ray.cli.options import OptionalSweepFile, Overrides, StoreOption


def compact(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
) -> None:
    """Copy a store's runs to few large files, from which queries and tables read them faster."""
    from w2s_ray.store import compaction, layout

    results = open_snapshot(store, optional_sweep(sweep_file, overrides))
    done = compaction.compact(results.files)
    rest = f"; {done.not_copied} running or just ended are read from their own files"
    if not done.not_copied:
        rest = ""
    size = results.activations.size()
    if size:
        rest += (
            f"; {size / 1e6:.1f} MB of activations in {layout.ACTIVATIONS}, which may be deleted"
        )
    output_console().print(
        f"{results.uri}: {_count(done.added, 'run')} added, {done.runs} in the catalog "
        f"({_count(done.segments, 'segment')}, {done.bytes / 1e6:.1f} MB){rest}",
        soft_wrap=True,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
