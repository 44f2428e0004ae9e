"""Data files as bytes, whole or damaged: builders for the tests of malformed input."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def table(rows: list[dict[str, Any]] | None = None, **changed: Any) -> list[dict[str, Any]]:
    """Rows of a task; `changed` replaces cells of the third row."""
    made = rows or [{"text": f"text number {i}", "label": i % 2} for i in range(60)]
    return [{**row, **changed} if i == 2 else row for i, row in enumerate(made)]


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows: list[dict[str, Any]], *, delimiter: str = ",") -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def parquet(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    return file.getvalue()


def arrow(rows: list[dict[str, Any]], *, stream: bool = True) -> bytes:
    made, file = pa.Table.from_pylist(rows), io.BytesIO()
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(file, made.schema) as writer:
        writer.write_table(made)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(**files: str | bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()


def tarred(name: str, content: str, mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content.encode()))
    return file.getvalue()


def flipped(content: bytes, needle: bytes) -> bytes:
    """`content` with a changed byte where `needle` begins."""
    at = content.index(needle)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def locked(content: bytes) -> bytes:
    """A zip archive whose member says that it is encrypted."""
    at = content.index(b"PK\x01\x02")
    changed = bytearray(content)
    changed[6] |= 1
    changed[at + 8] |= 1
    return bytes(changed)
