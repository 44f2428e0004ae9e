"""Conditional writes to an object store: an object is replaced only if it has a given version.

Owns the two mechanisms of object stores: entity tags on S3 (If-None-Match, If-Match) and
generations on GCS. For a store without either, the version is checked under a lock of this process.
The metadata of each object has the mark of the write that made it, so that a retry detects that an
earlier attempt succeeded although its response was lost.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from dataclasses import dataclass
from typing import Any, Protocol, cast

ABSENT = ""
"""The version of an object that does not exist."""

_MARK = "w2s-write"
_LOCK = threading.Lock()


class ConditionalWrites(Protocol):
    """The conditional operations on one fsspec file system; paths are that system's full paths."""

    def read(self, path: str) -> tuple[bytes, str]:
        """Content and version of an object.

        Raises:
            FileNotFoundError: the object does not exist.
        """
        ...

    def put(self, path: str, data: bytes, *, version: str, mark: str) -> bool:
        """Write if the object has `version`; whether this or an earlier attempt succeeded."""
        ...

    def delete(self, path: str, *, version: str) -> bool:
        """Remove the object if it has `version`; whether it was removed."""
        ...


def conditional_writes(system: Any) -> ConditionalWrites:
    """The conditional operations on `system`, chosen by its protocol."""
    names = system.protocol if isinstance(system.protocol, tuple | list) else (system.protocol,)
    if {"s3", "s3a"} & set(names):
        return S3(system)
    if {"gs", "gcs"} & set(names):
        return GCS(system)
    return ProcessLocal(system)


def new_mark() -> str:
    """A unique name of one write."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class S3:
    """Conditional writes by the headers If-None-Match and If-Match."""

    system: Any

    def read(self, path: str) -> tuple[bytes, str]:
        from fsspec.asyn import sync

        return cast("tuple[bytes, str]", sync(self.system.loop, self._read, path))

    async def _read(self, path: str) -> tuple[bytes, str]:
        response = await self.system._call_s3("get_object", **self._object(path))
        data = await response["Body"].read()
        return data, response["ETag"]

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
            existing = self.system.call_s3("head_object", **self._object(path))
        except FileNotFoundError:
            return False
        return existing["Metadata"].get(_MARK) == mark

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
    """Conditional writes by an object's generation, through gcsfs's own session."""

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
        except FileExistsError:  # gcsfs raises it for status 412
            pass
        try:
            existing = self.system.call("GET", "b/{}/o/{}", bucket, key, json_out=True)
        except FileNotFoundError:
            return False
        return existing.get("metadata", {}).get(_MARK) == mark

    def delete(self, path: str, *, version: str) -> bool:
        bucket, key, _ = self.system.split_path(path)
        try:
            self.system.call("DELETE", "b/{}/o/{}", bucket, key, ifGenerationMatch=version)
            return True
        except (FileExistsError, FileNotFoundError):
            return False


@dataclass(frozen=True)
class ProcessLocal:
    """A version check before the write, under a lock that excludes threads of this process only."""

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
    """Whether S3 refused a request because the object has another version."""
    if isinstance(error, FileExistsError | FileNotFoundError):
        return True
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in ("PreconditionFailed", "412")
