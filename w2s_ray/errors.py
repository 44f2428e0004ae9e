"""The error type for bad input.

Owns the one distinction that commands make between errors: an `InputError` is printed as one line
with exit code 2; every other exception is a bug and keeps its traceback. This module imports
nothing, so that every layer can raise it.
"""

from __future__ import annotations


class InputError(ValueError):
    """The input or the environment is wrong, and the user can correct it.

    The message names the key or file, the value, and the remedy. It is a `ValueError`, so that
    pydantic's validators may raise it.
    """
