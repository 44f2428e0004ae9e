"""Files of a store, on a local disk or behind any fsspec URI.

Owns the one thing that both must give: a file is there whole or not at all. Locally that is a
temporary name and a rename; on an object store it is a single put. Paths are relative to the
root, with `/`. It knows nothing of runs, of records or of what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pyarrow import fs as arrow_fs

TEMPORARY = ".tmp-"
"""Prefix of names that a writer has not finished with; readers never see them."""


@dataclass(frozen=True)
class LocalFiles:
    """Files under a folder of a POSIX file system, shared ones such as NFS included."""

    root: Path

    def locate(self, path: str) -> str:
        """The full name of `path`, for messages and for Arrow."""
        return str(self.root / path)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def read_many(self, paths: Sequence[str]) -> Iterator[bytes]:
        return (self.read(path) for path in paths)

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def find(self, folder: str) -> list[str]:
        """Every finished file under `folder`, at any depth, sorted; none if it isn't there."""
        found = []
        for parent, folders, names in os.walk(self.root / folder):
            folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
            relative = Path(parent).relative_to(self.root).as_posix()
            found += [f"{relative}/{name}" for name in names if not name.startswith(TEMPORARY)]
        return sorted(found)

    def write(self, path: str, data: bytes) -> None:
        """Put `data` at `path`, durably, replacing what is there in one step."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def write_folder(self, path: str, source: Path) -> None:
        """Copy the folder `source` to `path`, replacing a folder that is there."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        try:
            shutil.copytree(source, temporary)
            _replace_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def arrow(self) -> arrow_fs.FileSystem:
        """The file system that `locate` speaks of, for Arrow's readers."""
        from pyarrow import fs

        return fs.LocalFileSystem()


@dataclass(frozen=True)
class RemoteFiles:
    """Files under an fsspec URI, taken for an object store: a put is whole or absent."""

    uri: str

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        system, root = fsspec.core.url_to_fs(self.uri)
        return system, root.rstrip("/")

    def locate(self, path: str) -> str:
        return f"{self._opened[1]}/{path}"

    def read(self, path: str) -> bytes:
        return self._opened[0].cat_file(self.locate(path))

    def read_many(self, paths: Sequence[str]) -> Iterator[bytes]:
        """The files' contents in order, fetched concurrently."""
        full = [self.locate(path) for path in paths]
        contents = self._opened[0].cat(full) if full else {}
        return (contents[path] for path in full)

    def exists(self, path: str) -> bool:
        system, _ = self._opened
        system.invalidate_cache()
        return system.exists(self.locate(path))

    def find(self, folder: str) -> list[str]:
        system, root = self._opened
        system.invalidate_cache()
        try:
            found = system.find(self.locate(folder))
        except FileNotFoundError:
            return []
        return sorted(path[len(root) + 1 :] for path in found)

    def write(self, path: str, data: bytes) -> None:
        system, full = self._opened[0], self.locate(path)
        try:
            system.pipe_file(full, data)
        except FileNotFoundError:
            system.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
            system.pipe_file(full, data)

    def write_folder(self, path: str, source: Path) -> None:
        """Upload the folder's files one by one; they are not whole together until all are there."""
        for file in sorted(source.rglob("*")):
            if file.is_file():
                target = self.locate(f"{path}/{file.relative_to(source).as_posix()}")
                self._opened[0].put_file(str(file), target)

    def remove(self, path: str) -> None:
        self._opened[0].rm_file(self.locate(path))

    def arrow(self) -> arrow_fs.FileSystem:
        from pyarrow import fs

        return fs.PyFileSystem(fs.FSSpecHandler(self._opened[0]))


Files = LocalFiles | RemoteFiles


def absolute(uri: str) -> str:
    """`uri` so that it means the same from any working directory."""
    if uri.startswith("file:"):
        uri = unquote(urlsplit(uri).path)
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def open_files(uri: str) -> Files:
    """The files under `uri`: a folder, or an fsspec URI such as `s3://bucket/results`."""
    return RemoteFiles(uri) if "://" in uri else LocalFiles(Path(uri))


def _temporary(target: Path) -> Path:
    return target.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:12]}-{target.name}")


def _replace_folder(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; a folder can't replace a full one, so that moves away first."""
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
