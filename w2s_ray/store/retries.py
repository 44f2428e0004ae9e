"""Retries of operations on object stores: which errors are transient, and the pauses between tries.

Owns the one loop that retries a remote operation. Errors of s3fs, gcsfs and their HTTP clients are
classified by name and status, so that none of these is imported here. Each operation must be
idempotent.
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


def with_retries(operation: Callable[[], T], *, what: str) -> T:
    """The result of `operation`, which is retried with growing pauses after transient errors.

    Raises:
        StoreUnavailable: every try failed, or the store refused; the message has `what`.
        FileNotFoundError, FileExistsError: `operation` raised them.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return operation()
        except (FileNotFoundError, FileExistsError, StoreError):
            raise
        except Exception as error:
            if not is_transient(error):
                if not _is_store_error(error):
                    raise
                raise StoreUnavailable(
                    f"can't {what} ({_one_line(error)}); check the bucket, the credentials and the "
                    "endpoint in the environment"
                ) from error
            if attempt == TRIES:
                raise StoreUnavailable(
                    f"can't {what}: tried {TRIES} times ({_one_line(error)}); check the "
                    "connection, then run the same command again"
                ) from error
            pause_s = min(FIRST_DELAY_S * 2 ** (attempt - 1), LONGEST_DELAY_S)
            time.sleep(pause_s * random.uniform(0.5, 1.0))
    raise AssertionError("the last try returns or raises")


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (ConnectionError, TimeoutError)):
            return True
        if any(f"{c.__module__}.{c.__qualname__}" in _TRANSIENT_CLASSES for c in type(seen).mro()):
            return True
        status, code = _status_and_code(seen)
        if status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES:
            return True
        seen = seen.__cause__
    return False


def _status_and_code(error: BaseException) -> tuple[int | None, str | None]:
    """HTTP status and error code of the response in an error of botocore or gcsfs."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, response.get("Error", {}).get("Code")
    code = str(getattr(error, "code", ""))
    return (int(code) if code.isdigit() else None), None


def _is_store_error(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in _CLIENTS


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
