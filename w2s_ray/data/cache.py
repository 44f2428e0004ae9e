"""A cache of small JSON notes that makes repeated planning fast.

Owns the cache folder (`W2S_CACHE`, else `~/.cache/w2s_ray`, else a private temporary folder) and
atomic writing. A note that is damaged or can't be written counts as missing, and its content is
computed again. It interprets no notes.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from w2s_ray.identity import digest


def cache_folder() -> Path:
    """The folder of all notes; it is writable."""
    try:
        named = os.environ.get("W2S_CACHE")
        folder = Path(named).expanduser() if named else Path.home() / ".cache" / "w2s_ray"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home folder, or it is not writable
        return _temporary_folder()
    return folder if os.access(folder, os.W_OK | os.X_OK) else _temporary_folder()


@cache
def _temporary_folder() -> Path:
    """A private folder of this user in the folder for temporary files."""
    folder = Path(tempfile.gettempdir()) / f"w2s-cache-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if private and status.st_uid == os.getuid():
        return folder
    return Path(tempfile.mkdtemp(prefix="w2s-cache-"))  # another user owns it


def read_note(kind: str, *, key: Any) -> dict[str, Any] | None:
    """The note of `kind` for `key`; None if it is missing or damaged."""
    try:
        note = json.loads(_file(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def write_note(kind: str, *, key: Any, note: dict[str, Any]) -> None:
    """Write `note` for `key`, atomically."""
    path = _file(kind, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    except OSError:
        return  # without a cache, planning is slower
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(note, file)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def _file(kind: str, key: Any) -> Path:
    return cache_folder() / kind / f"{digest(key)[:40]}.json"
