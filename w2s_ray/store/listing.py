"""The folders within a folder of a store, and a version of each, to detect changes.

Owns the guarantee of a version. It lists no folders itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Listing:
    """The folders within a folder at one moment."""

    versions: Mapping[str, int]
    """Name -> a number that changes when a file directly in the folder is added, removed or
    replaced. On a file system it is the time of the folder's last change, and changes of files in
    subfolders don't affect it."""
    names: Callable[[str], frozenset[str]]
    """Name -> the finished files in it, at any depth, relative to it. It may list the folder when
    it is called."""
    unsettled: frozenset[str] = frozenset()
    """Folders that changed so recently that another change might leave the version as it is."""
    version: int | None = None
    """The version of the parent folder, which changes when a folder is added or removed; None if it
    is unknown or unsettled."""
