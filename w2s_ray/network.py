"""Errors of the network, in which a later attempt at the same download can succeed.

Owns the distinction between an error of the connection to the Hugging Face hub and an answer of the
hub (no such file, no access). Errors are recognized by the names of their types, because the hub's
libraries use several HTTP clients and importing them is slow.
"""

from __future__ import annotations

from collections.abc import Iterator

_ANSWERS = frozenset(
    {
        "GatedRepoError",
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        "RemoteEntryNotFoundError",
        "DisabledRepoError",
        "FileMetadataError",  # the address is not a hub
        "HFValidationError",
    }
)
"""Types of errors that are answers of the hub, which would be the same again."""
_TROUBLE = frozenset(
    {
        "TransportError",  # of httpx
        "ConnectionError",  # Python's and that of requests
        "TimeoutError",
        "LocalEntryNotFoundError",  # of huggingface_hub: neither in its cache nor reachable
        "XetDownloadError",
        "HubUnreachable",
    }
)
_RETRIED_STATUS = frozenset({408, 425, 429})
"""Statuses below 500 that are worth a later attempt: too slow, too early, too many requests."""


class HubUnreachable(ConnectionError):
    """The Hugging Face hub can't be reached; a later attempt can succeed."""


def is_of_the_network(error: BaseException) -> bool:
    """Whether `error`, or an error that led to it, is of the network and not an answer."""
    found = [_kind(each) for each in chain(error)]
    return "trouble" in found and "answer" not in found


def is_answer(error: BaseException) -> bool:
    """Whether `error`, or an error that led to it, is an answer of the hub."""
    return any(_kind(each) == "answer" for each in chain(error))


def is_gated(error: BaseException) -> bool:
    """Whether the hub's answer is that a licence must be accepted first."""
    return any("GatedRepoError" in _names(each) for each in chain(error))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, and the errors that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _kind(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int) and status >= 400:
        return "trouble" if status >= 500 or status in _RETRIED_STATUS else "answer"
    names = _names(error)
    if names & _ANSWERS:
        return "answer"
    return "trouble" if names & _TROUBLE else ""


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
