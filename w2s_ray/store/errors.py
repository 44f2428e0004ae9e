"""What is raised where a store can't do what it is asked, in words for whoever asked.

Owns the two kinds of error. It knows nothing of why.
"""

from __future__ import annotations

from w2s_ray.errors import InputError


class StoreError(InputError):
    """What is asked of the store can't be had; the message names the remedy."""


class StoreUnavailable(StoreError, OSError):
    """An object store refused, or did not answer for as long as we try; the URI is named."""
