"""Checks of paths and URIs that users give, made on the text alone.

Owns what a valid path or URI is. It opens no files and makes no requests.
"""

from __future__ import annotations

import os
import re

from w2s_ray.errors import InputError
from w2s_ray.printable import is_printable, shown

LONGEST_PATH = 4096
LONGEST_FILE_NAME = 255
"""In bytes; the limit of all common file systems."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_READ_ONLY = ("http", "https", "ftp")
"""Schemes of URIs that can't be written to."""


def checked_path(text: str) -> str:
    """`text`, if it is valid as a path of a file or folder on this machine.

    Raises:
        InputError: it is not; the message has the value and the remedy.
    """
    if _SCHEME.match(text):
        raise InputError(
            f"{shown(text)} is a URL; download it, and give the path of the local file or folder"
        )
    return _checked(text)


def checked_folder_or_uri(text: str) -> str:
    """`text`, if it is valid as a folder on this machine or as the URI of a writable folder.

    Raises:
        InputError: as for `checked_path`.
    """
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() in _READ_ONLY:
        raise InputError(
            f"{shown(text)} can't be written to; give a folder or a URI such as s3://bucket/results"
        )
    return _checked(text)


def _checked(text: str) -> str:
    if not text.strip():
        raise InputError(f"{shown(text)} is an empty path; give a file or folder")
    if not is_printable(text):
        raise InputError(f"{shown(text)} has control characters; give a path without them")
    if "{{" in text:
        raise InputError(f"{shown(text)} is an unrendered template; render it first")
    if text.startswith("~") and os.path.expanduser(text) == text:
        raise InputError(
            f"{shown(text)} is in the home of a user who doesn't exist here; correct the path"
        )
    parts = text.split("/")
    if len(text) > LONGEST_PATH or any(len(p.encode()) > LONGEST_FILE_NAME for p in parts):
        raise InputError(
            f"{shown(text)} is too long for a path ({LONGEST_PATH:,} characters, "
            f"{LONGEST_FILE_NAME} bytes between slashes); shorten it"
        )
    return text
