"""Tensors with NaN or infinite values in a safetensors file, found as the file is hashed.

Owns the one pass over the file's bytes and what NaN and infinity look like in each type of values.
It knows no models and remembers nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from w2s_ray.data.headers import Stored, stored_in
from w2s_ray.errors import InputError

_CHUNK = 1 << 20
"""Bytes read at once; a multiple of every value's size."""
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "C64": ("<u4", 0x7F80_0000),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),  # it has no infinity: NaN alone has all bits but the sign's
    "F8_E8M0": ("u1", 0xFF),
}
"""Type of values -> unsigned integers of its size, and the bits that are all set in a value that is
NaN or infinite."""


def hashed(path: Path) -> tuple[str, list[str]]:
    """SHA-256 of the safetensors file at `path`, and its tensors with NaN or infinite values.

    Of a damaged file the hash alone, and no tensors.
    """
    digest, found = hashlib.sha256(), dict[str, None]()
    with path.open("rb") as file:
        for name, kind, end in _stretches(path):
            while content := file.read(min(_CHUNK, end - file.tell())):
                digest.update(content)
                if kind in _EXPONENTS and name not in found and _not_finite(content, kind):
                    found[name] = None
        while content := file.read(_CHUNK):
            digest.update(content)
    return digest.hexdigest(), list(found)


def _stretches(path: Path) -> Iterator[tuple[str, str, int]]:
    """Stretches of the file in their order: tensor, type of values, place after the last byte.

    What is no tensor's has no name.
    """
    try:
        stored = stored_in(path)
    except InputError:  # whoever reads its header says so
        return
    place = 0
    for name, tensor in sorted(stored.items(), key=lambda item: _place(item[1])):
        if tensor.first >= place:  # of tensors that overlap, the first is looked at
            yield "", "", tensor.first
            yield name, tensor.kind, tensor.end
            place = tensor.end


def _place(tensor: Stored) -> tuple[int, int]:
    return tensor.first, tensor.end


def _not_finite(content: bytes, kind: str) -> bool:
    import numpy as np

    integers, exponent = _EXPONENTS[kind]
    values = np.frombuffer(content, dtype=integers)
    bits = values.dtype.type(exponent)
    return bool(((values & bits) == bits).any())
