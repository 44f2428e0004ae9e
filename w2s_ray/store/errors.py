"""Errors of the store; each message names the remedy.

Owns the two kinds of error. The modules that raise them own the messages.
"""

from __future__ import annotations

from w2s_ray.errors import InputError


class StoreError(InputError):
    """The store lacks a value or can't be used; the message names the remedy."""


class StoreUnavailable(StoreError, OSError):
    """An object store refused a request or gave no answer in all attempts; the URI is named."""
