"""The folder of the sockets and logs of a Ray on this machine.

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

from w2s_ray.errors import InputError

PREFIX, NAME = "w2sray-", "r"
SOCKET_BYTES = 107 if sys.platform.startswith("linux") else 103
"""Longest path of a Unix socket."""
LONGEST = "/session_2026-01-31_12-00-00_000000_4194304/sockets/plasma_store"
"""What Ray appends to its folder."""
BASE_BYTES = SOCKET_BYTES - len(f"/{PREFIX}12345678/{NAME}") - len(LONGEST)
"""Longest path of the parent folder."""
LISTENER = "/pymp-12345678/listener-12345678"
"""What Python's multiprocessing, which Ray's dashboard uses, appends to `TMPDIR`."""
FREE_BYTES = 64 * 2**20
"""With less space for logs Ray's processes end at their start."""
NEW_S = 60.0
"""A folder younger than this may not be locked yet."""


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """A folder for Ray's files, of mode 700, within the context.

    Where the path of `TMPDIR` is too long for sockets, processes that are started in the context
    get a short link to it.

    Raises:
        InputError: no folder with a short path can be written; the message names the remedy.
    """
    base = _base()
    _remove_abandoned(base)
    try:
        free = shutil.disk_usage(base).free
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    except OSError as error:
        raise InputError(_refusal(base, error.strerror or str(error))) from error
    lock = os.open(folder, os.O_RDONLY)
    try:
        if free < FREE_BYTES:
            raise InputError(_refusal(base, f"{free >> 20} MiB are free there"))
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with _short_tmpdir(folder / "tmp"):
            yield folder / NAME  # Ray makes its own folder public; its parent stays private
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


@contextlib.contextmanager
def _short_tmpdir(link: Path) -> Iterator[None]:
    """`TMPDIR` as a path that is short enough for sockets below it."""
    folder = _system_folder()
    if len(os.fsencode(folder)) + len(LISTENER) <= SOCKET_BYTES:
        yield
        return
    before = os.environ.get("TMPDIR")
    link.symlink_to(folder)
    os.environ["TMPDIR"] = str(link)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


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
