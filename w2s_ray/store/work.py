"""The folders in which running fits store checkpoints and labels, to resume from them."""

from __future__ import annotations

from dataclasses import dataclass

from w2s_ray.store import layout
from w2s_ray.store.files import Files


@dataclass(frozen=True)
class WorkFolders:
    """The folders `work/FIT`."""

    files: Files

    def size(self, fit_id: str) -> int:
        """Bytes in a fit's folder."""
        return sum(self.files.sizes(layout.work(fit_id)).values())

    def clear(self, fit_id: str) -> None:
        """Remove a fit's folder."""
        self.files.remove_folder(layout.work(fit_id))

    def fit_ids(self) -> set[str]:
        """Ids of the fits that have a folder."""
        names = {path.split("/")[1] for path in self.files.find("work")}
        return names - {layout.CLAIMS, layout.LIVE}
