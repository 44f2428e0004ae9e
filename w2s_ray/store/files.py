"""Where a store's files lie: the choice between a local folder and an fsspec URI.

Owns the reading of a store's URI. Both kinds of files give the same: a file is there whole or not
at all, `create` and `replace_if` let exactly one of several writers through, and paths are
relative to the root, with `/`.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from w2s_ray.store.local_files import LocalFiles
from w2s_ray.store.remote_files import RemoteFiles

Files = LocalFiles | RemoteFiles


def absolute(uri: str) -> str:
    """`uri` so that it means the same from any working directory."""
    if uri.startswith("file:"):
        uri = unquote(urlsplit(uri).path)
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def open_files(uri: str) -> Files:
    """The files under `uri`: a folder, or an fsspec URI such as `s3://bucket/results`."""
    return RemoteFiles(uri) if "://" in uri else LocalFiles(Path(uri))
