"""The files of a store: in a local folder, or behind an fsspec URI.

Owns the interpretation of a store's URI. Both kinds of files have the same guarantees: a file
exists complete or not at all, of several concurrent calls of `create` or `replace_if` exactly one
succeeds, and paths are relative to the root, with `/`.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from w2s_ray.store.local_files import LocalFiles
from w2s_ray.store.remote_files import RemoteFiles

Files = LocalFiles | RemoteFiles


def absolute(uri: str) -> str:
    """`uri` in a form that does not depend on the working directory."""
    if uri.startswith("file:"):
        uri = unquote(urlsplit(uri).path)
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def open_files(uri: str) -> Files:
    """The files under `uri`: a folder, or an fsspec URI such as `s3://bucket/results`."""
    return RemoteFiles(uri) if "://" in uri else LocalFiles(Path(uri))
