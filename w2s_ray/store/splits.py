"""The splits of tasks: the rows of each, stored once for all sweeps.

Owns the files under `splits/`; `about.json` is written last, so that its presence means a complete
split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from w2s_ray.store import layout
from w2s_ray.store.damage import RESTORE, Damaged, none_if_damaged
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.marker import ensure_marker

if TYPE_CHECKING:
    import pyarrow as pa


SEALED = "sealed.parquet"
"""The rows without test labels, which fits of sealed sweeps read."""


@dataclass(frozen=True)
class Splits:
    """The splits in a store, by fingerprint."""

    files: Files
    uri: str

    def write(self, fingerprint: str, rows: pa.Table, about: dict[str, Any]) -> None:
        """Write the rows of a split, once; `about` has the task, its source and its options.

        Damaged rows are replaced.
        """
        from w2s_ray.store import tables

        if self.intact_rows(fingerprint) is not None:
            return
        columns = tables.CHAT_ROWS if "chat" in rows.column_names else tables.SPLIT_ROWS
        rows = tables.conform(rows, columns, what=f"split {fingerprint}")
        content = json.dumps(about, indent=1, allow_nan=False).encode()
        ensure_marker(self.files)
        folder = layout.split(fingerprint)
        self.files.write(f"{folder}/rows.parquet", tables.to_parquet(rows))
        self.files.write(f"{folder}/about.json", content)

    def write_sealed(self, fingerprint: str, rows: pa.Table) -> None:
        """Write the rows once more without test labels, unless the same ones are there."""
        from w2s_ray.store import tables

        sealed = tables.to_parquet(_without_test_labels(rows))
        path = f"{layout.split(fingerprint)}/{SEALED}"
        if not self.files.exists(path) or self.files.read(path) != sealed:
            self.files.write(path, sealed)

    def exists(self, fingerprint: str) -> bool:
        """Whether the split was written completely."""
        return self.files.exists(f"{layout.split(fingerprint)}/about.json")

    def rows(self, fingerprint: str, *, sealed: bool = False) -> pa.Table:
        """The rows of a split, with the columns of `tables.SPLIT_ROWS`.

        If `sealed`, they are read from a file without test labels.

        Raises:
            StoreError: there is no such split.
            Damaged: its rows can't be read.
        """
        from w2s_ray.store import tables

        self._check_exists(fingerprint)
        path = f"{layout.split(fingerprint)}/{SEALED if sealed else 'rows.parquet'}"
        try:
            data = self.files.read(path)
        except FileNotFoundError as error:
            raise self._damaged(path, "it is missing") from error
        schemas = (tables.SPLIT_ROWS, tables.CHAT_ROWS)
        return tables.read(data, *schemas, where=self.files.locate(path), **_costs(fingerprint))

    def intact_rows(self, fingerprint: str) -> pa.Table | None:
        """The rows of a split; None where it is missing or damaged."""
        if not self.exists(fingerprint):
            return None
        if none_if_damaged(lambda: self.about(fingerprint)) is None:
            return None
        return none_if_damaged(lambda: self.rows(fingerprint))

    def about(self, fingerprint: str) -> dict[str, Any]:
        """The stored `about` of a split; raises the same errors as `rows`."""
        self._check_exists(fingerprint)
        path = f"{layout.split(fingerprint)}/about.json"
        try:
            about = json.loads(self.files.read(path))
        except (ValueError, RecursionError) as error:
            raise self._damaged(path, error) from error
        if not isinstance(about, dict):
            raise self._damaged(path, f"a {type(about).__name__}")
        return about

    def fingerprints(self) -> list[str]:
        """Every complete split."""
        paths = self.files.find("splits")
        found = (path.split("/") for path in paths if path.endswith("/about.json"))
        return [parts[1] for parts in found if len(parts) == 3 and layout.is_name(parts[1])]

    def _check_exists(self, fingerprint: str) -> None:
        if not self.exists(fingerprint):
            raise StoreError(f"split {fingerprint} is not in {self.uri}; `w2s run` its sweep")

    def _damaged(self, path: str, why: object) -> Damaged:
        return Damaged(self.files.locate(path), why, **_costs(path.split("/")[1]))


def _costs(fingerprint: str) -> dict[str, str]:
    return {
        "costs": f"no fit can be trained or measured on split {fingerprint}",
        "remedy": f"{RESTORE}; `w2s run` of its sweep writes it again from the task's data",
    }


def _without_test_labels(rows: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_test = pc.call_function("equal", [rows["part"], pa.scalar("test")])
    for name in ("label", "answer", "extracted"):
        column = rows[name]
        nothing = pa.scalar(None, column.type)
        hidden = pc.call_function("if_else", [is_test, nothing, column])
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), hidden)
    return rows
