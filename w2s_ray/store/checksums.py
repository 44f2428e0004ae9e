"""A checksum in a JSON file, so that a changed digit is detected as damage.

Owns the two functions that add the checksum as the last key and verify it. It is the SHA-256 of all
bytes before it. Files of earlier versions have no checksum and are not verified.
"""

from __future__ import annotations

import hashlib

_BEFORE, _AFTER = b',\n "checksum": "', b'"\n}'


def with_checksum(content: bytes) -> bytes:
    """`content`, a JSON object indented by 1, with its checksum as one more key."""
    body, end = content[:-2], content[-2:]
    assert end == b"\n}", "an object of at least one key, indented"
    return body + _BEFORE + _digest(body) + _AFTER


def without_checksum(data: bytes) -> bytes:
    """`data` without its checksum, which is verified.

    Raises:
        ValueError: the checksum doesn't match the content.
    """
    body, before, rest = data.rpartition(_BEFORE)
    if not before:
        return data
    if rest != _digest(body) + _AFTER:
        raise ValueError("its checksum doesn't match its content")
    return body + b"\n}"


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
