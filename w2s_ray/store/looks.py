"""Looks at the test figures of sealed sweeps: one small file for each, so that none is lost.

Owns the files under `looks/`. Concurrent looks write different files.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from w2s_ray.store import layout
from w2s_ray.store.files import Files
from w2s_ray.store.records import utc_now


@dataclass(frozen=True)
class Looks:
    """The looks in a store."""

    files: Files

    def add(self, sweep: str, *, command: str) -> None:
        """Note one look at a sweep's test figures."""
        look = {"at": utc_now(), "command": command}
        path = f"looks/{layout.checked_name(sweep)}/{uuid.uuid4().hex}.json"
        self.files.write(path, json.dumps(look).encode())

    def count(self, sweep: str) -> int:
        """Number of looks at a sweep's test figures."""
        return len(self.files.find(f"looks/{layout.checked_name(sweep)}"))
