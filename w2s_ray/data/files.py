"""Files of a task: a file, a folder or an archive (zip, tar), as a list of named members.

Owns opening members (plain, .gz, in an archive), finding members by pattern, the errors for
unreadable files, and the stamp (path, size, modification time) that caches use to detect changes.
It parses no contents.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

from w2s_ray.errors import InputError
from w2s_ray.printable import one_line

Stamp = tuple[str, int, int]
"""Absolute path, size in bytes, modification time in ns."""


@dataclass(frozen=True)
class Member:
    """One file of a task's data."""

    name: str
    """Its path in the folder or archive, with `/`."""
    path: Path
    """The file on disk; for a member of an archive, the archive."""
    inside: str | None = None
    """Its name in the archive at `path`; None for a plain file."""

    @property
    def kind(self) -> str:
        """The extension without `.gz`, in lower case: `.csv`."""
        return Path(_plain(self.name)).suffix.lower()

    @property
    def stem(self) -> str:
        """The name without extensions: `train` for `train.csv.gz`."""
        plain = _plain(self.name)
        return plain[: len(plain) - len(Path(plain).suffix)]

    def __str__(self) -> str:
        return f"{self.path}:{self.inside}" if self.inside else str(self.path)

    def open(self) -> IO[bytes]:
        """The uncompressed content."""
        zipped = self.name.lower().endswith(".gz")
        if self.inside is None:
            return cast("IO[bytes]", gzip.open(self.path)) if zipped else self.path.open("rb")
        content = _archive(stamp(self.path)).read(self.inside)
        return io.BytesIO(gzip.decompress(content) if zipped else content)

    def text(self, *, encoding: str = "utf-8-sig") -> io.TextIOWrapper:
        """The content as text, with its line ends unchanged."""
        return io.TextIOWrapper(self.open(), encoding=encoding, newline="")


_DAMAGED = (
    *(EOFError, zlib.error, lzma.LZMAError),
    *(gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError),
)
"""Exceptions of the standard library for damaged or wrong compressed files."""
_LONGEST_REASON = 200


@contextlib.contextmanager
def reading(where: object) -> Iterator[None]:
    """Context in which errors of reading or unpacking become an `InputError` with `where`."""
    try:
        yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 ({error.reason}); convert the file") from None
    except _DAMAGED as error:
        raise InputError(
            f"{where}: damaged, truncated or not of its extension's format ({reason(error)}); "
            "download or write the file again"
        ) from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply; write plain rows") from None
    except (OSError, RuntimeError, MemoryError) as error:  # access, encryption, compression method
        raise InputError(f"{where}: can't be read ({reason(error)}); correct the file") from None


@contextlib.contextmanager
def reading_arrow(member: object, *, format: str) -> Iterator[None]:
    """Context in which errors of Arrow's readers of a format become an `InputError`."""
    import pyarrow as pa

    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"{member}: not a complete {format} file, or it has unreadable values "
            f"({reason(error)}); write or download it again"
        ) from None


def reason(error: BaseException) -> str:
    """A library's error message as one short line."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return one_line(message or type(error).__name__, most=_LONGEST_REASON)


class MissingFile(InputError):
    """A file or folder that the sweep names doesn't exist on this machine."""


def local(path: str, *, where: str, or_hub: bool = True) -> Path:
    """`path` as an absolute path of a file or folder that exists, in place of one on the hub.

    Raises:
        MissingFile: the path doesn't exist.
        InputError: it is neither a file nor a folder.
    """
    shown = one_line(path, most=_LONGEST_REASON)
    try:
        absolute = Path(path).expanduser().absolute()
        exists, plain = absolute.exists(), absolute.is_file() or absolute.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{where}: {shown} is not a valid path ({reason(error)}); correct `path`"
        ) from None
    if not exists:
        full_path = one_line(str(absolute), most=_LONGEST_REASON)
        raise MissingFile(
            f"{where}: no such file or folder: {shown} ({full_path}); "
            f"correct `path`{', or remove it to read from the Hugging Face hub' if or_hub else ''}"
        )
    if not plain:
        raise InputError(
            f"{where}: {shown} is a pipe, a socket or a device; give a file or folder as `path`"
        )
    return absolute


def members(path: Path) -> tuple[Member, ...]:
    """The files at `path`: the file itself, or the files of the archive or folder (two levels)."""
    if path.is_dir():
        files = sorted(p for p in (*path.glob("*"), *path.glob("*/*")) if p.is_file())
        return tuple(Member(p.relative_to(path).as_posix(), p) for p in files)
    if not is_archive(path):
        return (Member(path.name, path),)
    with reading(path):
        names = sorted(n for n in _archive(stamp(path)).names() if not n.startswith("__MACOSX/"))
    tops = {name.partition("/")[0] for name in names}
    shared = len(tops) == 1 and all("/" in name for name in names)
    return tuple(Member(n.partition("/")[2] if shared else n, path, n) for n in names)


def matching(
    found: tuple[Member, ...], patterns: tuple[str, ...], *, where: str
) -> tuple[Member, ...]:
    """The members whose stem matches the first of `patterns` that has a match.

    Raises:
        InputError: two files for a pattern without wildcard (`train.csv` and `train.csv.gz`).
    """
    for pattern in patterns:
        matches = tuple(
            m
            for m in found
            if fnmatchcase(m.stem, pattern) and pattern.count("/") == m.stem.count("/")
        )
        if len(matches) > 1 and "*" not in pattern:
            names = ", ".join(m.name for m in matches)
            raise InputError(f"{where}: more than one file for {pattern!r}: {names}; keep one")
        if matches:
            return matches
    return ()


def stamps(path: Path) -> list[Stamp]:
    """The stamps of all files at `path`. If they are unchanged, so is the content."""
    return [stamp(p) for p in sorted({member.path for member in members(path)} or {path})]


def stamp(path: Path) -> Stamp:
    """The stamp of one file."""
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


class _Archive:
    """An archive that stays open, because it may have thousands of members to read."""

    def __init__(self, path: str) -> None:
        zipped = path.lower().endswith(".zip")
        self._zip = zipfile.ZipFile(path) if zipped else None
        self._tar = None if zipped else tarfile.open(path)  # noqa: SIM115 - it stays open

    def names(self) -> list[str]:
        """The files' names."""
        if self._tar is not None:
            return [member.name for member in self._tar.getmembers() if member.isfile()]
        assert self._zip is not None
        return [name for name in self._zip.namelist() if not name.endswith("/")]

    def read(self, name: str) -> bytes:
        """A file's content."""
        if self._zip is not None:
            return self._zip.read(name)
        assert self._tar is not None
        file = self._tar.extractfile(name)
        assert file is not None
        with file:
            return file.read()


@lru_cache(maxsize=1)
def _archive(stamp: Stamp) -> _Archive:
    return _Archive(stamp[0])


def is_archive(path: Path) -> bool:
    """Whether the file at `path` is an archive, by its extension."""
    return path.name.lower().endswith((".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2"))


def _plain(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") else name
