"""Whether a store can be written to as we need, proved by trying.

Owns the one probe and the words in which its failure is told. It knows nothing of what is stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files


def check_writable(files: Files, *, mark: Callable[[], None], uri: str) -> None:
    """Have `mark` create the store, then write a file twice and remove it.

    Raises:
        StoreError: that fails, or the second write was not refused; the remedy is named.
    """
    try:
        mark()
        probe = f"probe-{uuid.uuid4().hex}.json"
        files.create(probe, b"{}")
        overwritten = files.create(probe, b"{}")
        files.remove(probe)
    except Exception as error:  # each object store raises its own kind
        raise StoreError(
            f"can't write to the store {uri} ({type(error).__name__}: {error}); "
            "free or permit it, or name another folder or URI as the sweep's `store`"
        ) from error
    if overwritten:
        raise StoreError(
            f"the store {uri} ignores conditional writes (If-None-Match), so two writers "
            "would overwrite each other; use a folder, or an object store that has them"
        )
