"""What `w2s report` does: one HTML page from a store. It decides nothing that the page shows."""

from __future__ import annotations

import os
from pathlib import Path

from w2s_ray.errors import InputError
from w2s_ray.plain_console import PlainConsole
from w2s_ray.report.page import page_content, to_html
from w2s_ray.report.results import Results
from w2s_ray.store import Store


def write_report(
    store: Store, *, sweep: str | None, sweep_file: Path | None, out: Path, console: PlainConsole
) -> None:
    """Write the page of one sweep, or of all in the store, to `out`, and say what was written.

    The page shows a sweep as it was last started. Where `sweep_file` says something else by now,
    that is told.

    Raises:
        StoreError: no such sweep in the store.
        InputError: `out` can't be written.
    """
    if os.path.isdir(out) or not os.path.isdir(out.parent):
        raise InputError(f"--out {out} is no file in a folder that exists; name one")
    content = page_content(Results(store), None if sweep is None else [sweep])
    page = to_html(content).encode()
    try:
        out.write_bytes(page)
    except OSError as error:
        raise InputError(f"--out {out} can't be written ({error.strerror}); name a file") from error
    started_as = content["sweeps"][0]["text"]
    if sweep_file is not None and started_as != sweep_file.read_text(encoding="utf-8"):
        console.print(
            f"{sweep_file} has changed since the sweep was started; the page shows it as it was",
            soft_wrap=True,
        )
    runs = len(content["runs"])
    console.print(f"{out}: {runs} runs, {len(page) / 1e6:.1f} MB", soft_wrap=True)
