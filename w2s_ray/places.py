"""Where files and stores may lie: what a path or URI must be before anything is opened there.

Owns the checks that need no look at the place itself. It opens nothing.
"""

from __future__ import annotations

import os
import re

from w2s_ray.errors import InputError
from w2s_ray.printable import is_printable, shown

LONGEST_PATH = 4096
LONGEST_FILE_NAME = 255
"""In bytes, as of every common file system."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_READ_ONLY = ("http", "https", "ftp")
"""Schemes of URIs that can't be written to."""


def checked_path(text: str) -> str:
    """`text` if it can be a file or folder of this machine.

    Raises:
        InputError: it can't; the message names it and the remedy.
    """
    if _SCHEME.match(text):
        raise InputError(f"{shown(text)} is a URL; download it, and name the local file or folder")
    return _checked(text)


def checked_place(text: str) -> str:
    """`text` if it can be a folder of this machine, or the URI of one that can be written to.

    Raises:
        InputError: as for `checked_path`.
    """
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() in _READ_ONLY:
        raise InputError(
            f"{shown(text)} can't be written to; name a folder or a URI such as s3://bucket/results"
        )
    return _checked(text)


def _checked(text: str) -> str:
    if not text.strip():
        raise InputError(f"{shown(text)} names no file or folder; name one")
    if not is_printable(text):
        raise InputError(f"{shown(text)} has control characters; name a file or folder without")
    if "{{" in text:
        raise InputError(f"{shown(text)} is a template that was not rendered; render it first")
    if text.startswith("~") and os.path.expanduser(text) == text:
        raise InputError(f"{shown(text)} is in the home of a user who isn't there; correct it")
    parts = text.split("/")
    if len(text) > LONGEST_PATH or any(len(p.encode()) > LONGEST_FILE_NAME for p in parts):
        raise InputError(
            f"{shown(text)} is too long for a path ({LONGEST_PATH:,} characters, "
            f"{LONGEST_FILE_NAME} bytes between slashes); shorten it"
        )
    return text
