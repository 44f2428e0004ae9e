"""Patience with object stores: which errors pass by themselves, and how long to wait for that.

Owns the one loop that repeats a remote operation. Errors of s3fs, gcsfs and what lies under them
are told apart by name and status, so that none of them is imported here. It knows nothing of what
the operations do; each must be one that may run twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from w2s_ray.store.errors import StoreError, StoreUnavailable

T = TypeVar("T")

TRIES = 7
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0

_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
_TRANSIENT_CODES = {
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
}
_TRANSIENT_CLASSES = {
    "aiohttp.client_exceptions.ClientError",
    "asyncio.exceptions.IncompleteReadError",
    "botocore.exceptions.ConnectionError",
    "botocore.exceptions.HTTPClientError",
    "botocore.parsers.ResponseParserError",
    "http.client.HTTPException",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
}
_CLIENTS = ("aiohttp", "botocore", "aiobotocore", "gcsfs", "google", "requests")


def retried(operation: Callable[[], T], *, what: str) -> T:
    """The result of `operation`, repeated with growing pauses while its errors may pass.

    Raises:
        StoreUnavailable: they did not pass, or the store refuses; `what` begins the message.
        FileNotFoundError, FileExistsError: as the operation raised them.
    """
    for tried in range(1, TRIES + 1):
        try:
            return operation()
        except (FileNotFoundError, FileExistsError, StoreError):
            raise
        except Exception as error:
            if not is_transient(error):
                if not _is_the_stores(error):
                    raise
                raise StoreUnavailable(
                    f"can't {what} ({_told(error)}); check the bucket, the credentials and the "
                    "endpoint in the environment"
                ) from error
            if tried == TRIES:
                raise StoreUnavailable(
                    f"can't {what}: tried {TRIES} times ({_told(error)}); check the connection, "
                    "then run the same command again"
                ) from error
            pause_s = min(FIRST_DELAY_S * 2 ** (tried - 1), LONGEST_DELAY_S)
            time.sleep(pause_s * random.uniform(0.5, 1.0))
    raise AssertionError("the last try returns or raises")


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed a little later."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (ConnectionError, TimeoutError)):
            return True
        if any(f"{c.__module__}.{c.__qualname__}" in _TRANSIENT_CLASSES for c in type(seen).mro()):
            return True
        status, code = _answer(seen)
        if status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES:
            return True
        seen = seen.__cause__
    return False


def _answer(error: BaseException) -> tuple[int | None, str | None]:
    """HTTP status and error code of the answer that botocore or gcsfs tell of."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, response.get("Error", {}).get("Code")
    code = str(getattr(error, "code", ""))
    return (int(code) if code.isdigit() else None), None


def _is_the_stores(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in _CLIENTS


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
