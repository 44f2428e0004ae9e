"""Small JSON notes that make planning a second time instant.

Owns where they lie (`W2S_CACHE`, else `~/.cache/w2s_ray`; a private folder for temporary files
where that can't be written) and that they are written whole or not at all. A note that is broken or
can't be written is as good as none: the work is done again. It knows nothing of what the notes say.
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
    """The folder of all notes, which can be written."""
    try:
        named = os.environ.get("W2S_CACHE")
        folder = Path(named).expanduser() if named else Path.home() / ".cache" / "w2s_ray"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or one that can't be written
        return _temporary_folder()
    return folder if os.access(folder, os.W_OK | os.X_OK) else _temporary_folder()


@cache
def _temporary_folder() -> Path:
    """A folder of this user's below the one for temporary files."""
    folder = Path(tempfile.gettempdir()) / f"w2s-cache-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if private and status.st_uid == os.getuid():
        return folder
    return Path(tempfile.mkdtemp(prefix="w2s-cache-"))  # somebody else's: one for this process


def read_note(kind: str, *, key: Any) -> dict[str, Any] | None:
    """The note of `kind` for `key`, or None where there is none that can be read."""
    try:
        note = json.loads(_file(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def write_note(kind: str, *, key: Any, note: dict[str, Any]) -> None:
    """Keep `note` for `key`, atomically."""
    path = _file(kind, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    except OSError:
        return  # a cache that can't be written costs time, never a result
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(note, file)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def _file(kind: str, key: Any) -> Path:
    return cache_folder() / kind / f"{digest(key)[:40]}.json"
