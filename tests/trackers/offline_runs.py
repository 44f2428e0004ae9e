"""Reading an offline run of Weights & Biases back, without a server.

Owns the framing of its records: LevelDB's log format (blocks of 32 KiB; checksum, length, type)
after a header of 7 bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, HEADER, FULL, LAST = 32768, 7, 1, 4


@dataclass
class OfflineRun:
    """What one file holds of a run."""

    project: str = ""
    group: str = ""
    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    """Step -> name -> value."""
    exit_code: int | None = None


def read_wandb(path: Path) -> OfflineRun:
    """The run in a file `run-ID.wandb`."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = OfflineRun()
    for data in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        match record.WhichOneof("record_type"):
            case "run":
                run = record.run
                found.project, found.group, found.name = (
                    run.project,
                    run.run_group,
                    run.display_name,
                )
                found.config |= {
                    item.key: json.loads(item.value_json) for item in run.config.update
                }
            case "history":
                items = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                step = items["_step"]
                assert step not in found.metrics, step
                found.metrics[step] = {k: v for k, v in items.items() if not k.startswith("_")}
            case "exit":
                found.exit_code = record.exit.exit_code
    return found


def _records(data: bytes) -> Iterator[bytes]:
    at, parts = HEADER, []
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # a block's end too short for a header is padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts.append(data[at + HEADER : at + HEADER + length])
        at += HEADER + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []
