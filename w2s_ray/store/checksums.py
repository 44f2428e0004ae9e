"""A checksum inside a JSON file, so that a changed digit is damage and not another result.

Owns the two functions that add it as the last key and check it. The checksum is the SHA-256 of all
bytes before it. Files without one, of earlier versions, are read as they are.
"""

from __future__ import annotations

import hashlib

_BEFORE, _AFTER = b',\n "checksum": "', b'"\n}'


def with_checksum(content: bytes) -> bytes:
    """`content`, an object as JSON indented by 1, with its checksum as one more key."""
    body, end = content[:-2], content[-2:]
    assert end == b"\n}", "an object of at least one key, indented"
    return body + _BEFORE + _digest(body) + _AFTER


def checked(data: bytes) -> bytes:
    """`data` without its checksum.

    Raises:
        ValueError: the checksum is that of other content.
    """
    body, before, rest = data.rpartition(_BEFORE)
    if not before:
        return data
    if rest != _digest(body) + _AFTER:
        raise ValueError("its content doesn't fit its checksum")
    return body + b"\n}"


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
