"""The file `store.json`, which makes a folder a store, and the check that it can be written to."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator

from w2s_ray.store import layout
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files


def ensure_marker(files: Files) -> None:
    """Write `store.json` where it is missing; every write to a store begins with it."""
    if not files.exists("store.json"):
        marker = {"format": layout.FORMAT, "written_by": "w2s_ray"}
        files.write("store.json", json.dumps(marker).encode())


def check_writable(files: Files, *, uri: str) -> None:
    """Create the store where it doesn't exist, and check its writes.

    Raises:
        StoreError: as for `check_conditional_writes`.
    """
    with _explained(uri):
        ensure_marker(files)
    check_conditional_writes(files, uri=uri)


def check_conditional_writes(files: Files, *, uri: str) -> None:
    """Write a probe file twice and remove it.

    Raises:
        StoreError: a write failed, or the second one was not refused; the message has the remedy.
    """
    with _explained(uri):
        probe = f"probe-{uuid.uuid4().hex}.json"
        files.create(probe, b"{}")
        overwritten = files.create(probe, b"{}")
        files.remove(probe)
    if overwritten:
        raise StoreError(
            f"the store {uri} ignores conditional writes (If-None-Match), so two writers would "
            "overwrite each other's files; use a folder, or an object store that supports them"
        )


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Context in which a failed write to the store at `uri` is an error with a remedy."""
    try:
        yield
    except Exception as error:  # each object store raises its own types
        raise StoreError(
            f"can't write to the store {uri} ({type(error).__name__}: {error}); "
            "free or permit it, or name another folder or URI as the sweep's `store`"
        ) from error
