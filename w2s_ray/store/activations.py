"""Activations of frozen models: computed once, and read by every fit that needs them.

Owns the files under `catalog/activations/NAME/`: a file of arrays, named by its content, and
`about.json`, written last, with its checksum. A missing or damaged file counts as missing and is
computed again. What the arrays mean, and which process computes them, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_ray.store import layout
from w2s_ray.store.checksums import with_checksum, without_checksum
from w2s_ray.store.files import Files
from w2s_ray.store.local_files import LocalFiles
from w2s_ray.store.marker import ensure_marker

_log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredArrays:
    """A file of arrays on this machine, as it was written, and what was noted about it."""

    path: Path
    about: dict[str, Any]


@dataclass(frozen=True)
class ActivationFiles:
    """The activations in a store, by name."""

    files: Files

    def fetch(self, name: str, folder: Path) -> StoredArrays | None:
        """The file of this name, checked: where it lies, or a copy in the local `folder`.

        None where it is missing, or, with a warning, damaged.
        """
        about = self._about(name)
        if about is None:
            return None
        path, sha256 = layout.activations_file(name, about["sha256"]), about["sha256"]
        try:
            local = self._local(path, folder, sha256)
        except FileNotFoundError:
            local = None
        if local is None:
            self._warn(path, "it is gone or has other content")
            return None
        return StoredArrays(local, about)

    def add(self, name: str, file: Path, about: dict[str, Any]) -> None:
        """Keep `file` under `name`. The first whole file stays; a damaged one is replaced."""
        sha256 = _digest(file)
        content = json.dumps({**about, "sha256": sha256}, indent=1, allow_nan=False).encode()
        path = layout.activations_about(name)
        ensure_marker(self.files)
        self.files.put_file(layout.activations_file(name, sha256), file)
        if not self.files.create(path, with_checksum(content)) and not self._is_whole(name):
            self.files.write(path, with_checksum(content))

    def size(self) -> int:
        """Bytes of all of them."""
        return sum(self.files.sizes(layout.ACTIVATIONS).values())

    def _is_whole(self, name: str) -> bool:
        with tempfile.TemporaryDirectory(prefix="w2s-activations-") as folder:
            return self.fetch(name, Path(folder)) is not None

    def _about(self, name: str) -> dict[str, Any] | None:
        path = layout.activations_about(name)
        try:
            about = json.loads(without_checksum(self.files.read(path)))
            if not _SHA256.fullmatch(about["sha256"]):
                raise ValueError(f"sha256 is {about['sha256']!r}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._warn(path, error)
            return None
        return about

    def _local(self, path: str, folder: Path, sha256: str) -> Path | None:
        """A local file with the content `sha256`; None where the stored one has another."""
        if isinstance(self.files, LocalFiles):
            lies = Path(self.files.locate(path))
            return lies if _digest(lies) == sha256 else None
        copy = folder / f"{sha256}.safetensors"
        if copy.exists() and _digest(copy) == sha256:
            return copy
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        os.close(handle)
        try:
            self.files.get_file(path, Path(temporary))
            if _digest(Path(temporary)) != sha256:
                return None
            os.replace(temporary, copy)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return copy

    def _warn(self, path: str, why: object) -> None:
        where = self.files.locate(path)
        _log.warning("%s is damaged and is computed anew (%s)", where, why)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
