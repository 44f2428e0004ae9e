"""The manifests of sweeps: their cells, and the text of the sweep file.

Owns the files under `sweeps/`. A manifest equal to the latest one is not written again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

from w2s_ray.identity import digest
from w2s_ray.store import layout
from w2s_ray.store.damage import Damaged, none_if_damaged
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.marker import ensure_marker
from w2s_ray.store.records import Manifest, time_order


@dataclass(frozen=True)
class Manifests:
    """The manifests in a store."""

    files: Files
    uri: str

    def write(self, manifest: Manifest) -> None:
        """Write a sweep's manifest unless the latest one differs at most in its time."""
        ensure_marker(self.files)
        content = manifest.model_dump(mode="json", exclude={"created_at"})
        earlier = self.all(manifest.name)
        if earlier and earlier[-1].model_dump(mode="json", exclude={"created_at"}) == content:
            return
        name = digest(manifest.model_dump(mode="json"))[:20]
        self.files.write(
            f"sweeps/{layout.checked_name(manifest.name)}/{name}.json", manifest.to_json()
        )

    def all(self, sweep: str | None = None) -> list[Manifest]:
        """Manifests of one sweep or of all, oldest first; damaged ones give a warning."""
        paths = self.files.find(
            "sweeps" if sweep is None else f"sweeps/{layout.checked_name(sweep)}"
        )
        found = (
            none_if_damaged(partial(_parsed, path, data, self.files.locate(path)))
            for path, data in zip(paths, self.files.read_many(paths), strict=True)
        )
        return sorted((one for one in found if one), key=lambda one: time_order(one.created_at))

    def latest(self, sweep: str) -> Manifest:
        """The newest manifest of a sweep.

        Raises:
            StoreError: no such sweep; the message lists the existing ones.
        """
        found = self.all(sweep)
        if not found:
            known = ", ".join(self.sweeps()) or "none"
            raise StoreError(f"no sweep {sweep!r} in {self.uri}; its sweeps are: {known}")
        return found[-1]

    def sweeps(self) -> list[str]:
        """Names of the sweeps with a readable manifest, sorted."""
        return sorted({manifest.name for manifest in self.all()})


@lru_cache(maxsize=256)
def _parsed(path: str, data: bytes, where: str) -> Manifest:
    """A manifest; cached, since a command reads large ones several times."""
    _, sweep, *rest = path.split("/")
    costs, remedy = f"a manifest of sweep {sweep} is left out", "`w2s run` of that sweep writes one"
    if len(rest) != 1 or not path.endswith(".json"):
        raise Damaged(
            where,
            "not a manifest; manifests are files sweeps/NAME/DIGEST.json",
            costs="it is left out, and no result is lost",
            remedy="move it out of the store",
        )
    manifest = layout.parse(Manifest, data, where=where, costs=costs, remedy=remedy)
    if manifest.name != sweep:
        raise Damaged(where, f"its sweep is {manifest.name}", costs=costs, remedy=remedy)
    return manifest
