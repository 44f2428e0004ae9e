"""The kinds of text and numbers that fields of a sweep file share: names, places, seeds.

Owns their bounds and what is said where a value is out of them. It reads no file: whether something
lies at a place is checked where it is read.
"""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from w2s_ray.errors import InputError
from w2s_ray.printable import is_printable, shown

LONGEST_NAME = 120
LONGEST_PATH = 4096
LONGEST_FILE_NAME = 255
"""In bytes, as of every common file system."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_READ_ONLY = ("http", "https", "ftp")
"""Schemes of URIs that can't be written to."""


def _name(text: str) -> str:
    if not is_printable(text) or not text.strip():
        raise InputError(f"{shown(text)} is no name; use letters, digits and other visible signs")
    return text


def _path(text: str) -> str:
    if not is_printable(text):
        raise InputError(f"{shown(text)} has control characters; name a file or folder without")
    if "{{" in text:
        raise InputError(f"{shown(text)} is a template that was not rendered; render it first")
    if text.startswith("~") and os.path.expanduser(text) == text:
        raise InputError(f"{shown(text)} is in the home of a user who isn't there; correct it")
    if any(len(part.encode()) > LONGEST_FILE_NAME for part in text.split("/")):
        raise InputError(
            f"{shown(text)} has a part of more than {LONGEST_FILE_NAME} bytes, which no file has; "
            "shorten it"
        )
    return text


def _local(text: str) -> str:
    if _SCHEME.match(text):
        raise InputError(f"{shown(text)} is a URL; download it, and name the local file or folder")
    return _path(text)


def _place(text: str) -> str:
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() in _READ_ONLY:
        raise InputError(
            f"{shown(text)} can't be written to; name a folder or a URI such as s3://bucket/results"
        )
    return _path(text)


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_name)]
"""What something is called in tables."""
Line = Annotated[str, Field(max_length=300)]
"""A column, a revision, or another short text."""
LocalPath = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(_local)]
"""A file or folder on this machine."""
Place = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(_place)]
"""A folder, or the URI of one in an object store."""
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Rows = Annotated[int, Field(ge=2, le=1_000_000_000)]
"""A number of rows of a task."""
