"""Finds tensors with NaN or infinite values in a safetensors file while it is hashed.

Owns the single pass over the file's bytes, and the bit patterns of NaN and infinity for each data
type. It caches nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

from w2s_ray.data.headers import Stored, stored_in
from w2s_ray.errors import InputError

_log = logging.getLogger(__name__)

_ANNOUNCED = 1 << 30
"""Bytes; reading a larger file is announced."""
_CHUNK = 1 << 20
"""Bytes per read; a multiple of every data type's size."""
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "C64": ("<u4", 0x7F80_0000),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),  # no infinity; NaN has all bits set except the sign
    "F8_E8M0": ("u1", 0xFF),
}
"""Data type -> unsigned integer type of the same size, and the exponent bits, which are all set in
NaN and infinity."""


def hashed(path: Path) -> tuple[str, list[str]]:
    """SHA-256 of the safetensors file at `path`, and its tensors with NaN or infinite values.

    For a damaged file, the list of tensors is empty.
    """
    size = path.stat().st_size
    if size > _ANNOUNCED:
        _log.info("reading the weights in %s (%.1f GB, once)", path, size / 1e9)
    digest, not_finite = hashlib.sha256(), dict[str, None]()
    with path.open("rb") as file:
        for name, kind, end in _segments(path):
            while content := file.read(min(_CHUNK, end - file.tell())):
                digest.update(content)
                if kind in _EXPONENTS and name not in not_finite and _not_finite(content, kind):
                    not_finite[name] = None
        while content := file.read(_CHUNK):
            digest.update(content)
    return digest.hexdigest(), list(not_finite)


def _segments(path: Path) -> Iterator[tuple[str, str, int]]:
    """Segments of the file in order: tensor, data type, offset after the last byte.

    Bytes that belong to no tensor are segments without a name.
    """
    try:
        stored = stored_in(path)
    except InputError:  # reported where the header is read
        return
    offset = 0
    for name, tensor in sorted(stored.items(), key=lambda item: _offsets(item[1])):
        if tensor.first >= offset:  # only the first of overlapping tensors is checked
            yield "", "", tensor.first
            yield name, tensor.kind, tensor.end
            offset = tensor.end


def _offsets(tensor: Stored) -> tuple[int, int]:
    return tensor.first, tensor.end


def _not_finite(content: bytes, kind: str) -> bool:
    import numpy as np

    integers, exponent = _EXPONENTS[kind]
    values = np.frombuffer(content, dtype=integers)
    bits = values.dtype.type(exponent)
    return bool(((values & bits) == bits).any())
