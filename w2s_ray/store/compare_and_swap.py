"""Writes to an object store that happen only if nobody was faster.

Owns the two forms in which stores offer that: entity tags on S3 (If-None-Match, If-Match) and
generations on GCS. A store without either gets a check under a lock of this process. Each object
carries the mark of the write that made it, so that a write whose answer was lost, and which was
repeated, is recognized as our own. It knows nothing of what is written.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from dataclasses import dataclass
from typing import Any, Protocol, cast

ABSENT = ""
"""The version of what isn't there."""

_MARK = "w2s-write"
_LOCK = threading.Lock()


class Conditional(Protocol):
    """The conditional operations on one fsspec file system; full paths, as it speaks of them."""

    def read(self, path: str) -> tuple[bytes, str]:
        """Content and version; FileNotFoundError where there is none."""
        ...

    def put(self, path: str, data: bytes, *, version: str, mark: str) -> bool:
        """Write if what is there is `version`; whether that, or an earlier try of it, was done."""
        ...

    def delete(self, path: str, *, version: str) -> bool:
        """Remove if what is there is `version`; whether that was so."""
        ...


def conditional(system: Any) -> Conditional:
    """The conditional operations that `system` offers, by its protocol."""
    names = system.protocol if isinstance(system.protocol, tuple | list) else (system.protocol,)
    if {"s3", "s3a"} & set(names):
        return S3(system)
    if {"gs", "gcs"} & set(names):
        return GCS(system)
    return Plain(system)


def new_mark() -> str:
    """A name for one write."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class S3:
    """By the headers If-None-Match and If-Match."""

    system: Any

    def read(self, path: str) -> tuple[bytes, str]:
        from fsspec.asyn import sync

        return cast("tuple[bytes, str]", sync(self.system.loop, self._read, path))

    async def _read(self, path: str) -> tuple[bytes, str]:
        answer = await self.system._call_s3("get_object", **self._object(path))
        data = await answer["Body"].read()
        return data, answer["ETag"]

    def put(self, path: str, data: bytes, *, version: str, mark: str) -> bool:
        condition = {"IfNoneMatch": "*"} if version == ABSENT else {"IfMatch": version}
        try:
            self.system.call_s3(
                "put_object", **self._object(path), Body=data, Metadata={_MARK: mark}, **condition
            )
            return True
        except OSError as error:
            if not _failed_condition(error):
                raise
        try:
            there = self.system.call_s3("head_object", **self._object(path))
        except FileNotFoundError:
            return False
        return there["Metadata"].get(_MARK) == mark

    def delete(self, path: str, *, version: str) -> bool:
        try:
            self.system.call_s3("delete_object", **self._object(path), IfMatch=version)
            return True
        except OSError as error:
            if not _failed_condition(error):
                raise
            return False

    def _object(self, path: str) -> dict[str, str]:
        bucket, key, _ = self.system.split_path(path)
        return {"Bucket": bucket, "Key": key}


@dataclass(frozen=True)
class GCS:
    """By the generation of an object, through gcsfs's own session."""

    system: Any

    def read(self, path: str) -> tuple[bytes, str]:
        bucket, key, _ = self.system.split_path(path)
        headers, data = self.system.call("GET", "b/{}/o/{}", bucket, key, alt="media")
        return data, headers["X-Goog-Generation"]

    def put(self, path: str, data: bytes, *, version: str, mark: str) -> bool:
        bucket, key, _ = self.system.split_path(path)
        about = json.dumps({"name": key, "metadata": {_MARK: mark}}).encode()
        edge = mark.encode()
        parts = (b"application/json; charset=UTF-8", about), (b"application/octet-stream", data)
        body = b"".join(b"--%s\nContent-Type: %s\n\n%s\n" % (edge, *part) for part in parts)
        try:
            self.system.call(
                "POST",
                f"{self.system._location}/upload/storage/v1/b/{bucket}/o",
                uploadType="multipart",
                headers={"Content-Type": f'multipart/related; boundary="{mark}"'},
                data=body + b"--%s--" % edge,
                json_out=True,
                ifGenerationMatch=version or "0",
            )
            return True
        except FileExistsError:  # how gcsfs says 412
            pass
        try:
            there = self.system.call("GET", "b/{}/o/{}", bucket, key, json_out=True)
        except FileNotFoundError:
            return False
        return there.get("metadata", {}).get(_MARK) == mark

    def delete(self, path: str, *, version: str) -> bool:
        bucket, key, _ = self.system.split_path(path)
        try:
            self.system.call("DELETE", "b/{}/o/{}", bucket, key, ifGenerationMatch=version)
            return True
        except (FileExistsError, FileNotFoundError):
            return False


@dataclass(frozen=True)
class Plain:
    """By a look before the write; it holds among the threads of this process only."""

    system: Any

    def read(self, path: str) -> tuple[bytes, str]:
        data = self.system.cat_file(path)
        return data, hashlib.sha256(data).hexdigest()

    def put(self, path: str, data: bytes, *, version: str, mark: str) -> bool:
        with _LOCK:
            if self._version(path) != version:
                return False
            self.system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self.system.pipe_file(path, data)
            return True

    def delete(self, path: str, *, version: str) -> bool:
        with _LOCK:
            if self._version(path) != version:
                return False
            self.system.rm_file(path)
            return True

    def _version(self, path: str) -> str:
        try:
            return self.read(path)[1]
        except FileNotFoundError:
            return ABSENT


def _failed_condition(error: OSError) -> bool:
    """Whether S3 says that what is there is not what the request named."""
    if isinstance(error, FileExistsError | FileNotFoundError):
        return True
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in ("PreconditionFailed", "412")
