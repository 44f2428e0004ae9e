"""Files of a task on disk: a file, a folder or a zip archive, each seen as named members.

Owns opening (plain, .gz, inside .zip), finding a member by pattern, and the stamp (path, size,
modification time) by which caches know that nothing changed. It knows no format and no task.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, cast

Stamp = tuple[str, int, int]
"""Absolute path, size in bytes, modification time in ns."""


@dataclass(frozen=True)
class Member:
    """One file of a task's data."""

    name: str
    """Its path inside the folder or archive, with `/`."""
    path: Path
    """The file on disk; the archive for a member of one."""
    inside: str | None = None
    """The name within the archive at `path`."""

    @property
    def kind(self) -> str:
        """The extension below a `.gz`, in lower case: `.csv`."""
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
        with zipfile.ZipFile(self.path) as archive:
            content = archive.read(self.inside)
        return io.BytesIO(gzip.decompress(content) if zipped else content)

    def text(self, *, encoding: str = "utf-8-sig") -> io.TextIOWrapper:
        """The content as text; line ends as they are."""
        return io.TextIOWrapper(self.open(), encoding=encoding, newline="")


def local(path: str, *, where: str) -> Path:
    """`path` as an absolute path that exists.

    Raises:
        ValueError: nothing is there.
    """
    found = Path(path).expanduser().absolute()
    if not found.exists():
        raise ValueError(
            f"{where}: no such file or folder: {path} (looked at {found}); "
            "correct `path`, or leave it out to read from the Hugging Face hub"
        )
    return found


def members(path: Path) -> tuple[Member, ...]:
    """The files at `path`: itself, a zip archive's, or a folder's down to its subfolders."""
    if path.is_dir():
        files = sorted(p for p in (*path.glob("*"), *path.glob("*/*")) if p.is_file())
        return tuple(Member(p.relative_to(path).as_posix(), p) for p in files)
    if path.suffix.lower() != ".zip":
        return (Member(path.name, path),)
    with zipfile.ZipFile(path) as archive:
        names = sorted(
            n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")
        )
    tops = {name.partition("/")[0] for name in names}
    shared = len(tops) == 1 and all("/" in name for name in names)
    return tuple(Member(n.partition("/")[2] if shared else n, path, n) for n in names)


def matching(
    found: tuple[Member, ...], patterns: tuple[str, ...], *, where: str
) -> tuple[Member, ...]:
    """The members whose stem fits the first of `patterns` that any fits.

    Raises:
        ValueError: two files for a pattern that names one (`train.csv` and `train.csv.gz`).
    """
    for pattern in patterns:
        hits = tuple(
            m
            for m in found
            if fnmatchcase(m.stem, pattern) and pattern.count("/") == m.stem.count("/")
        )
        if len(hits) > 1 and "*" not in pattern:
            names = ", ".join(m.name for m in hits)
            raise ValueError(f"{where}: more than one file for {pattern!r}: {names}; keep one")
        if hits:
            return hits
    return ()


def stamps(path: Path) -> list[Stamp]:
    """What must be unchanged for the content at `path` to be taken as unchanged."""
    return [stamp(p) for p in sorted({member.path for member in members(path)} or {path})]


def stamp(path: Path) -> Stamp:
    """The stamp of one file."""
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _plain(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") else name
