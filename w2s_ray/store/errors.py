"""Errors of the store; each message names the remedy.

Owns the two kinds of error. It knows nothing of why.
"""

from __future__ import annotations

from w2s_ray.errors import InputError


class StoreError(InputError):
    """The store lacks a value or can't be used; the message names the remedy."""


class StoreUnavailable(StoreError, OSError):
    """An object store refused, or did not answer for as long as we try; the URI is named."""
