"""Files of a store behind an fsspec URI, which is treated as an object store.

Owns the translation to fsspec: a put is atomic, transient errors are retried, and the error for a
missing package names the installation command. The content of the files is not interpreted here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from w2s_ray.store.compare_and_swap import ABSENT, ConditionalWrites, conditional_writes, new_mark
from w2s_ray.store.errors import StoreError
from w2s_ray.store.layout import checked_path, is_relative_path
from w2s_ray.store.listing import Listing
from w2s_ray.store.retries import with_retries

if TYPE_CHECKING:
    from pyarrow import fs as arrow_fs

T = TypeVar("T")

_log = logging.getLogger(__name__)

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""Protocol -> the extra of this package that installs its file system."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"retries": {"total_max_attempts": 1}, "read_timeout": 30}}
}
"""Options by extra: botocore's own retries are off, since `with_retries` retries."""

_VERSION_KEYS = ("size", "ETag", "etag", "generation", "LastModified", "updated", "created")
"""Keys of an object's metadata that change with its content."""


@dataclass(frozen=True)
class RemoteFiles:
    """Files under an fsspec URI, which is treated as an object store: a put is atomic."""

    uri: str

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        extra = _EXTRAS.get(self.uri.partition("://")[0])
        try:
            system, root = fsspec.core.url_to_fs(self.uri, **_OPTIONS.get(extra or "", {}))
        except ImportError as error:
            if extra is None:
                raise
            raise StoreError(
                f'{self.uri} needs a package that is missing: pip install "w2s_ray[{extra}]"'
            ) from error
        if extra == "s3":
            system.retries = 1
        return system, root.rstrip("/")

    @property
    def _writes(self) -> ConditionalWrites:
        return conditional_writes(self._opened[0])

    def locate(self, path: str) -> str:
        return f"{self._opened[1]}/{checked_path(path) if path else path}"

    def read(self, path: str) -> bytes:
        system, full = self._opened[0], self.locate(path)
        return self._retried("read", path, lambda: system.cat_file(full))

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """The content of `path`, and its version for `replace_if` and `remove_if`."""
        full = self.locate(path)
        return self._retried("read", path, lambda: self._writes.read(full))

    def read_many(self, paths: Sequence[str]) -> Iterator[bytes]:
        """The files' contents in order, fetched concurrently; failed fetches are retried."""
        system, full = self._opened[0], [self.locate(path) for path in paths]
        found: dict[str, bytes] = {}

        def fetch() -> None:
            missing = [path for path in full if path not in found]
            results = system.cat(missing, on_error="return") if missing else {}
            errors = [result for result in results.values() if isinstance(result, Exception)]
            found.update((p, r) for p, r in results.items() if not isinstance(r, Exception))
            if errors:
                raise errors[0]

        self._retried("read files such as", paths[0] if paths else "", fetch)
        return (found[path] for path in full)

    def exists(self, path: str) -> bool:
        system, full = self._opened[0], self.locate(path)
        system.invalidate_cache()
        return self._retried("look for", path, lambda: system.exists(full))

    def find(self, folder: str) -> list[str]:
        """Every file under `folder`, at any depth, sorted; none if it does not exist."""
        return sorted(self.sizes(folder))

    def version(self, folder: str) -> int | None:
        """None: an object store has no folders with a time of change."""
        return None

    def subfolders(self, folder: str) -> Listing:
        """The folders directly in `folder`, by one listing of their whole content."""
        found: dict[str, dict[str, Any]] = {}
        for path, about in self._listed(folder).items():
            name, _, rest = path[len(folder) + 1 :].partition("/")
            if rest:
                found.setdefault(name, {})[rest] = [about.get(key) for key in _VERSION_KEYS]
        versions = {name: _version(files) for name, files in found.items()}
        return Listing(versions, lambda name: frozenset(found.get(name, ())))

    def sizes(self, folder: str) -> dict[str, int]:
        """Path -> bytes of every file under `folder`."""
        return {path: about["size"] for path, about in self._listed(folder).items()}

    def _listed(self, folder: str) -> dict[str, dict[str, Any]]:
        """Path -> metadata of every file under `folder`."""
        system, root = self._opened
        full = self.locate(folder)

        def listed() -> dict[str, Any]:
            system.invalidate_cache()
            try:
                return system.find(full, detail=True)
            except FileNotFoundError:
                return {}

        found = self._retried("list", folder, listed)
        paths = {
            path[len(root) + 1 :]: about
            for path, about in found.items()
            if path.startswith(f"{full}/")  # s3fs may list a new folder itself
        }
        return {path: about for path, about in paths.items() if self._is_file_path(path)}

    def _is_file_path(self, path: str) -> bool:
        """Whether a key can be a file's path; a key with `..` in it would reach other files."""
        if not is_relative_path(path):
            _log.warning(
                "the key %r in %s is not a path of a store's file: left out", path, self.uri
            )
        return is_relative_path(path)

    def write(self, path: str, data: bytes) -> None:
        """Write `data` to `path` in one step; an existing file is replaced."""
        system, full = self._opened[0], self.locate(path)

        def put() -> None:
            try:
                system.pipe_file(full, data)
            except FileNotFoundError:
                system.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
                system.pipe_file(full, data)

        self._retried("write", path, put)

    def create(self, path: str, data: bytes) -> bool:
        """Write `data` to `path` if it does not exist; False, without a change, if it does."""
        return self._put_if(path, data, version=ABSENT)

    def replace_if(self, path: str, data: bytes, *, version: str) -> bool:
        """Write `data` to `path` if its version is still `version`; False if it is not."""
        return self._put_if(path, data, version=version)

    def _put_if(self, path: str, data: bytes, *, version: str) -> bool:
        full, mark = self.locate(path), new_mark()
        return self._retried(
            "write",
            path,
            lambda: self._writes.put(full, data, version=version, mark=mark),
        )

    def remove_if(self, path: str, *, version: str) -> bool:
        """Remove `path` if its version is still `version`; False if it is not."""
        full = self.locate(path)
        return self._retried("remove", path, lambda: self._writes.delete(full, version=version))

    def put_file(self, path: str, source: Path) -> None:
        """Upload the local file `source` to `path`; an existing file is replaced."""
        system, full = self._opened[0], self.locate(path)
        self._retried("write", path, lambda: system.put_file(str(source), full))

    def get_file(self, path: str, target: Path) -> None:
        """Download `path` to the local file `target`, whose folder exists."""
        system, full = self._opened[0], self.locate(path)
        self._retried("read", path, lambda: system.get_file(full, str(target)))

    def write_folder(self, path: str, source: Path) -> None:
        """Upload the files of a folder one by one; the folder as a whole is not atomic."""
        for file in sorted(source.rglob("*")):
            if file.is_file():
                self.put_file(f"{path}/{file.relative_to(source).as_posix()}", file)

    def remove(self, path: str) -> None:
        """Remove the file `path`. Object stores don't report whether it existed."""
        system, full = self._opened[0], self.locate(path)
        self._retried("remove", path, lambda: system.rm_file(full))

    def remove_folder(self, folder: str) -> None:
        """Remove `folder` with its content, if it exists."""
        system, full = self._opened[0], self.locate(folder)

        def remove() -> None:
            system.invalidate_cache()
            try:
                system.rm(full, recursive=True)
            except FileNotFoundError:
                return

        self._retried("remove", folder, remove)

    def arrow(self) -> arrow_fs.FileSystem:
        """The file system of the paths that `locate` returns, for Arrow's readers.

        It is a separate instance in which the library's own retries are on, since Arrow does not
        read through `with_retries`.
        """
        import fsspec
        from pyarrow import fs

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.core.url_to_fs(self.uri)[0]))

    def _retried(self, verb: str, path: str, operation: Callable[[], T]) -> T:
        return with_retries(operation, what=f"{verb} {self.uri.rstrip('/')}/{path}")


def _version(files: dict[str, Any]) -> int:
    """A version of a folder: 63 bits of a hash of its files' metadata."""
    metadata = repr(sorted(files.items())).encode()
    return int.from_bytes(hashlib.sha256(metadata).digest()[:8]) >> 1
