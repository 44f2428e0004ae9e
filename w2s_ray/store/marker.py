"""The file `store.json`, which makes a folder a store, and the check that it can be written to."""

from __future__ import annotations

import json
import uuid

from w2s_ray.store import layout
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files


def ensure_marker(files: Files) -> None:
    """Write `store.json` where it is missing; every write to a store begins with it."""
    if not files.exists("store.json"):
        marker = {"format": layout.FORMAT, "written_by": "w2s_ray"}
        files.write("store.json", json.dumps(marker).encode())


def check_writable(files: Files, *, uri: str) -> None:
    """Create the store where it doesn't exist, then write a probe file twice and remove it.

    Raises:
        StoreError: a write failed, or the second one was not refused; the message has the remedy.
    """
    try:
        ensure_marker(files)
        probe = f"probe-{uuid.uuid4().hex}.json"
        files.create(probe, b"{}")
        overwritten = files.create(probe, b"{}")
        files.remove(probe)
    except Exception as error:  # each object store raises its own types
        raise StoreError(
            f"can't write to the store {uri} ({type(error).__name__}: {error}); "
            "free or permit it, or name another folder or URI as the sweep's `store`"
        ) from error
    if overwritten:
        raise StoreError(
            f"the store {uri} ignores conditional writes (If-None-Match), so two writers would "
            "overwrite each other's files; use a folder, or an object store that supports them"
        )
