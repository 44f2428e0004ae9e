"""What sweeps declare: their manifests, and the splits that their runs share.

Owns the files under `sweeps/` and `splits/`: a split is kept once, a manifest that says the same as
the latest is not kept again. It knows nothing of runs.
"""

from __future__ import annotations

import json
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from w2s_ray.identity import digest
from w2s_ray.store import layout
from w2s_ray.store.damage import RESTORE, Damaged, unless_damaged
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.records import Manifest, time_order

if TYPE_CHECKING:
    import pyarrow as pa


def write_manifest(files: Files, manifest: Manifest) -> None:
    """Keep a sweep's manifest; nothing is written where the latest one says the same."""
    said = manifest.model_dump(mode="json", exclude={"created_at"})
    earlier = manifests(files, manifest.name)
    if earlier and earlier[-1].model_dump(mode="json", exclude={"created_at"}) == said:
        return
    name = digest(manifest.model_dump(mode="json"))[:20]
    files.write(f"sweeps/{layout.name(manifest.name)}/{name}.json", manifest.to_json())


def manifests(files: Files, name: str | None) -> list[Manifest]:
    """Manifests of one sweep or of all, oldest first (`time_order`); damaged ones are noted."""
    paths = files.find("sweeps" if name is None else f"sweeps/{layout.name(name)}")
    found = (
        unless_damaged(partial(_parsed, path, data, files.locate(path)))
        for path, data in zip(paths, files.read_many(paths), strict=True)
    )
    return sorted((one for one in found if one), key=lambda one: time_order(one.created_at))


@lru_cache(maxsize=256)
def _parsed(path: str, data: bytes, where: str) -> Manifest:
    """A manifest; large ones are asked for several times by one command."""
    _, sweep, *rest = path.split("/")
    costs, remedy = f"a manifest of sweep {sweep} is left out", "`w2s run` of that sweep writes one"
    if len(rest) != 1 or not path.endswith(".json"):
        raise Damaged(
            where,
            "no manifest: they are sweeps/NAME/DIGEST.json",
            costs="it is left out, which costs nothing",
            remedy="move it out of the store, if it is yours",
        )
    manifest = layout.parse(Manifest, data, where=where, costs=costs, remedy=remedy)
    if manifest.name != sweep:
        raise Damaged(where, f"its sweep is {manifest.name}", costs=costs, remedy=remedy)
    return manifest


def names(files: Files) -> list[str]:
    """Names of the sweeps that were started here and have a manifest that can be read."""
    return sorted({manifest.name for manifest in manifests(files, None)})


def write_split(files: Files, fingerprint: str, rows: pa.Table, about: dict[str, Any]) -> None:
    """Keep the rows of a split; `about.json` comes last."""
    from w2s_ray.store import tables

    columns = tables.CHAT_ROWS if "chat" in rows.column_names else tables.SPLIT_ROWS
    rows = tables.conform(rows, columns, what=f"split {fingerprint}")
    files.write(f"{layout.split(fingerprint)}/rows.parquet", tables.to_parquet(rows))
    content = json.dumps(about, indent=1, allow_nan=False)
    files.write(f"{layout.split(fingerprint)}/about.json", content.encode())


def has_split(files: Files, fingerprint: str) -> bool:
    """Whether a split is there whole."""
    return files.exists(f"{layout.split(fingerprint)}/about.json")


def split_rows(files: Files, fingerprint: str) -> pa.Table:
    """The rows of a split that is there."""
    from w2s_ray.store import tables

    path = f"{layout.split(fingerprint)}/rows.parquet"
    try:
        data = files.read(path)
    except FileNotFoundError as error:
        raise _damaged(files, path, "it is gone") from error
    about = _costs(fingerprint)
    schemas = (tables.SPLIT_ROWS, tables.CHAT_ROWS)
    return tables.read(data, *schemas, where=files.locate(path), **about)


def split_about(files: Files, fingerprint: str) -> dict[str, Any]:
    """What was noted of a split that is there."""
    path = f"{layout.split(fingerprint)}/about.json"
    try:
        about = json.loads(files.read(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(files, path, error) from error
    if not isinstance(about, dict):
        raise _damaged(files, path, f"a {type(about).__name__}")
    return about


def _costs(fingerprint: str) -> dict[str, str]:
    return {
        "costs": f"nothing can be measured or trained on split {fingerprint}",
        "remedy": f"{RESTORE}; `w2s run` of its sweep writes it anew from the task's data",
    }


def _damaged(files: Files, path: str, why: object) -> Damaged:
    return Damaged(files.locate(path), why, **_costs(path.split("/")[1]))


def fingerprints(files: Files) -> list[str]:
    """Every split that is there whole."""
    found = (path.split("/") for path in files.find("splits") if path.endswith("/about.json"))
    return [parts[1] for parts in found if len(parts) == 3 and layout.is_name(parts[1])]


def check_split(files: Files, fingerprint: str, *, uri: str) -> None:
    """Raises StoreError where a split isn't there."""
    if not has_split(files, fingerprint):
        raise StoreError(f"split {fingerprint} is not in {uri}; its sweep makes it")
