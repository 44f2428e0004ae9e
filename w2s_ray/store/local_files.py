"""Files of a store under a folder of a POSIX file system.

Owns atomic writes of local files: a write under a temporary name, then a rename or a hard link.
Conditional writes hold a lock of the folder, which also works between machines that share the
folder. The content of the files is not interpreted here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_ray.store.layout import checked_path
from w2s_ray.store.listing import Listing

if TYPE_CHECKING:
    from pyarrow import fs as arrow_fs

TEMPORARY = ".tmp-"
"""Prefix of unfinished files and folders, which readers leave out."""

SETTLED_S = 2.0
"""Coarsest resolution of the time of a change among file systems."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)


@dataclass(frozen=True)
class LocalFiles:
    """Files under a folder of a POSIX file system, which may be shared (NFS)."""

    root: Path

    def locate(self, path: str) -> str:
        """The full name of `path`, for messages and for Arrow."""
        return str(self._at(path) if path else self.root)

    def read(self, path: str) -> bytes:
        return self._at(path).read_bytes()

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """The content of `path`, and its version for `replace_if` and `remove_if`."""
        data = self.read(path)
        return data, _version(data)

    def read_many(self, paths: Sequence[str]) -> Iterator[bytes]:
        return (self.read(path) for path in paths)

    def exists(self, path: str) -> bool:
        return self._at(path).exists()

    def find(self, folder: str) -> list[str]:
        """Every finished file under `folder`, at any depth, sorted; none if it does not exist."""
        found, root = [], len(str(self.root)) + 1
        for parent, folders, names in os.walk(self._at(folder)):
            folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
            relative = parent[root:]
            found += [f"{relative}/{name}" for name in names if not name.startswith(TEMPORARY)]
        return sorted(found)

    def version(self, folder: str) -> int | None:
        """The time of a folder's last change, as in a `Listing`; None if it does not exist."""
        try:
            return os.stat(self._at(folder)).st_mtime_ns
        except FileNotFoundError:
            return None

    def subfolders(self, folder: str) -> Listing:
        """The folders directly in `folder`; none if it does not exist."""
        full, settled = f"{self._at(folder)}/", time.time_ns() - int(SETTLED_S * 1e9)
        version, versions = self.version(folder), dict[str, int]()
        with contextlib.suppress(FileNotFoundError), os.scandir(full) as entries:
            for name in [
                e.name for e in entries if e.is_dir() and not e.name.startswith(TEMPORARY)
            ]:
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    versions[name] = os.stat(full + name).st_mtime_ns

        def names(name: str) -> frozenset[str]:
            prefix = len(f"{folder}/{name}/")
            return frozenset(path[prefix:] for path in self.find(f"{folder}/{name}"))

        unsettled = frozenset(name for name, changed in versions.items() if changed > settled)
        is_settled = version is not None and version <= settled
        return Listing(versions, names, unsettled, version if is_settled else None)

    def sizes(self, folder: str) -> dict[str, int]:
        """Path -> bytes of every finished file under `folder`."""
        found = {}
        for path in self.find(folder):
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                found[path] = self._at(path).stat().st_size
        return found

    def write(self, path: str, data: bytes) -> None:
        """Write `data` to `path`, durably and in one step; an existing file is replaced."""
        target = self._at(path)
        with _beside(target, lambda temporary: _write_durably(temporary, data)) as temporary:
            temporary.replace(target)

    def create(self, path: str, data: bytes) -> bool:
        """Write `data` to `path` if it does not exist; False, without a change, if it does."""
        target = self._at(path)
        with _beside(target, lambda temporary: _write_durably(temporary, data)) as temporary:
            try:
                os.link(temporary, target)
                return True
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
            with _locked(target.parent):
                if target.exists():
                    return False
                temporary.replace(target)
                return True

    def replace_if(self, path: str, data: bytes, *, version: str) -> bool:
        """Write `data` to `path` if its version is still `version`; False if it is not."""
        return self._changed_if(path, version, lambda: self.write(path, data))

    def remove_if(self, path: str, *, version: str) -> bool:
        """Remove `path` if its version is still `version`; False if it is not."""
        return self._changed_if(path, version, lambda: self.remove(path))

    def put_file(self, path: str, source: Path) -> None:
        """Copy the local file `source` to `path` in one step; an existing file is replaced."""
        target = self._at(path)
        with _beside(target, lambda temporary: _copy_durably(source, temporary)) as temporary:
            temporary.replace(target)

    def get_file(self, path: str, target: Path) -> None:
        """Copy `path` to the local file `target`, whose folder exists."""
        with _naming(target):
            shutil.copyfile(self._at(path), target)

    def write_folder(self, path: str, source: Path) -> None:
        """Copy the folder `source` to `path`; an existing folder is replaced."""
        target = self._at(path)
        with _beside(target, lambda temporary: _copy_folder(source, temporary)) as temporary:
            _replace_folder(temporary, target)

    def remove(self, path: str) -> None:
        """Remove the file `path`.

        Raises:
            FileNotFoundError: it does not exist.
        """
        self._at(path).unlink()

    def remove_folder(self, folder: str) -> None:
        """Remove `folder` with its content, if it exists."""
        target = self._at(folder)
        while target.exists():  # a writer may add to it meanwhile
            shutil.rmtree(target, ignore_errors=True)
            if target.exists():
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(target)

    def arrow(self) -> arrow_fs.FileSystem:
        """The file system of the paths that `locate` returns, for Arrow's readers."""
        from pyarrow import fs

        return fs.LocalFileSystem()

    def _at(self, path: str) -> Path:
        return self.root / checked_path(path)

    def _changed_if(self, path: str, version: str, change: Callable[[], None]) -> bool:
        with _locked(self._at(path).parent):
            try:
                if _version(self.read(path)) != version:
                    return False
            except FileNotFoundError:
                return False
            change()
            return True


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which excludes other processes and other threads."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{TEMPORARY}lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _beside(target: Path, fill: Callable[[Path], None]) -> Iterator[Path]:
    """A filled temporary file or folder beside `target`, which is removed afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        with _naming(target):
            fill(temporary)
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Add the name of `target` to an OSError without a file name, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and error.errno != errno.ENOSPC:
            raise
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"can't write: {reason}", str(target)) from error


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _copy_durably(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _copy_folder(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
        else:
            _copy_durably(path, copy)


def _temporary(target: Path) -> Path:
    return target.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:12]}-{target.name}")


def _replace_folder(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; a non-empty folder there is renamed first, then removed."""
    while True:
        try:
            folder.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = _temporary(target)
        try:
            target.rename(old)
        except FileNotFoundError:
            continue
        shutil.rmtree(old, ignore_errors=True)
