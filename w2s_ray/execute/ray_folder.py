"""The folder of the sockets, logs and temporary files of a Ray on this machine.

Owns its place, its permissions (this user only), and its removal: at the end, or, where its process
was killed, by the next one. The paths of Unix sockets are limited, so it is below the system's
temporary folder where that path is short enough, else below `/tmp`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from w2s_ray.data.cache import cache_folder
from w2s_ray.errors import InputError

PREFIX, NAME, TEMPORARY = "w2sray-", "r", "tmp"
SOCKET_BYTES = 107 if sys.platform.startswith("linux") else 103
"""Longest path of a Unix socket."""
LONGEST = "/session_2026-01-31_12-00-00_000000_4194304/sockets/plasma_store"
"""What Ray appends to its folder."""
BASE_BYTES = SOCKET_BYTES - len(f"/{PREFIX}12345678/{NAME}") - len(LONGEST)
"""Longest path of the parent folder."""
FREE_BYTES = 64 * 2**20
"""With less space for logs Ray's processes end at their start."""
NEW_S = 60.0
"""A folder younger than this may not be locked yet."""


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """A folder for Ray's files, of mode 700, within the context.

    A folder for temporary files is removed with it, also those of killed processes
    (`temporary_variables`).

    Raises:
        InputError: no folder with a short path can be written; the message names the remedy.
    """
    base = _base()
    with contextlib.ExitStack() as context:
        try:
            free = shutil.disk_usage(base).free
            folder = context.enter_context(_locked_folder(base))
        except OSError as error:
            raise InputError(_refusal(base, error.strerror or str(error))) from error
        if free < FREE_BYTES:
            raise InputError(_refusal(base, f"{free >> 20} MiB are free there"))
        temporary, system = folder / TEMPORARY, _system_folder()
        if base == system:
            temporary.mkdir(mode=0o700)
        else:  # `TMPDIR` may have more space
            temporary.symlink_to(context.enter_context(_locked_folder(system)))
        yield folder / NAME  # Ray makes its own folder public; its parent stays private


def temporary_variables(folder: Path) -> dict[str, str]:
    """Environment of Ray's processes: their temporary files are beside `folder` of `ray_folder`.

    Caches, which outlive these processes, stay where they are in this process.
    """
    caches = {
        "W2S_CACHE": str(cache_folder()),
        "TORCHINDUCTOR_CACHE_DIR": str(cache_folder() / "compiled"),
    }
    kept = {name: os.environ.get(name) or path for name, path in caches.items()}
    return {"TMPDIR": str(folder.with_name(TEMPORARY)), **kept}


@contextlib.contextmanager
def _locked_folder(base: Path) -> Iterator[Path]:
    """A new folder in `base` within the context, which its lock marks as in use."""
    _remove_abandoned(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    lock = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _base() -> Path:
    """The parent folder: `RAY_TMPDIR`, else the system's temporary folder, else `/tmp`."""
    if named := os.environ.get("RAY_TMPDIR"):
        base = Path(named).absolute()
        if not _is_short(base):
            raise InputError(_refusal(base, f"its path is longer than {BASE_BYTES} bytes"))
        return base
    system = _system_folder()
    return system if _is_short(system) else Path("/tmp")


def _system_folder() -> Path:
    try:
        return Path(tempfile.gettempdir()).absolute()
    except FileNotFoundError as error:
        raise InputError(
            "there is no temporary folder that can be written; set TMPDIR to one"
        ) from error


def _is_short(base: Path) -> bool:
    return len(os.fsencode(base)) <= BASE_BYTES


def _refusal(base: Path, why: str) -> str:
    return (
        f"{base} can't hold the files of Ray ({why}); set RAY_TMPDIR to a folder that can be "
        f"written, with a path of at most {BASE_BYTES} bytes"
    )


def _remove_abandoned(base: Path) -> None:
    """Remove such folders of killed processes: those that are not locked."""
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, in use, or just removed
            if time.time() - folder.stat().st_mtime < NEW_S:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)
