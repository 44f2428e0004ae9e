"""Reading TensorBoard's event files back, without TensorBoard.

Owns the framing of the records (TFRecord: length, checksum, data, checksum).
"""

from __future__ import annotations

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value, from every event file in `folder`; duplicates are an error."""
    found: dict[str, dict[int, float]] = {}
    for path in folder.glob("events.out.tfevents.*"):
        for event in _events(path.read_bytes()):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    steps = found.setdefault(value.tag, {})
                    assert event.step not in steps, (value.tag, event.step)
                    steps[event.step] = value.simple_value
    return found


def _events(data: bytes) -> list[Event]:
    events, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event()
        event.ParseFromString(data[at + 12 : at + 12 + length])
        events.append(event)
        at += length + 16
    return events
