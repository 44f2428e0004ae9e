"""What sweeps declare: their manifests, and the splits that their runs share.

Owns the files under `sweeps/` and `splits/`: a split is kept once, a manifest that says the same as
the latest is not kept again. It knows nothing of runs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from w2s_ray.identity import digest
from w2s_ray.store import layout
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
    """Manifests of one sweep or of all, oldest first; see `time_order`."""
    paths = files.find("sweeps" if name is None else f"sweeps/{layout.name(name)}")
    found = [
        layout.parse(Manifest, data, where=files.locate(path))
        for path, data in zip(paths, files.read_many(paths), strict=True)
    ]
    return sorted(found, key=lambda manifest: time_order(manifest.created_at))


def names(files: Files) -> list[str]:
    """Names of the sweeps that were started here."""
    return sorted({path.split("/")[1] for path in files.find("sweeps")})


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

    return tables.from_parquet(files.read(f"{layout.split(fingerprint)}/rows.parquet"))


def fingerprints(files: Files) -> list[str]:
    """Every split that is there whole."""
    return [p.split("/")[1] for p in files.find("splits") if p.endswith("/about.json")]


def check_split(files: Files, fingerprint: str, *, uri: str) -> None:
    """Raises StoreError where a split isn't there."""
    if not has_split(files, fingerprint):
        raise StoreError(f"split {fingerprint} is not in {uri}; its sweep makes it")
