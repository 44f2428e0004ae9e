"""The folders within a folder of a store, and whether one has changed since it was last looked at.

Owns what a version promises. It lists nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Listing:
    """The folders within a folder, as they were at one moment."""

    versions: Mapping[str, int]
    """Name -> a number that is another one after a file directly in the folder came, went or was
    replaced. On a file system that is the time of the folder's last change, so files of its
    subfolders don't count there."""
    names: Callable[[str], frozenset[str]]
    """Name -> the finished files in it, at any depth, relative to it. It may look now."""
    unsettled: frozenset[str] = frozenset()
    """Folders that changed so recently that one more change might not show in the version."""
    version: int | None = None
    """The same of the folder itself, as folders come and go; None where that isn't known, or
    where it is unsettled."""
