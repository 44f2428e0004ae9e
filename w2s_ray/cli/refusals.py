"""What a command says of an error: one line where it was meant for the user, else all of it.

Owns telling the two apart. A `ValueError` that our own code raises names the value and the remedy;
one that comes out of a library, or out of an expression of ours, is a bug, whatever its type, and
keeps its traceback.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
DEBUG = "W2S_DEBUG"
"""Environment variable that asks for the traceback of what was refused, too."""


def refused(error: ValueError) -> bool:
    """Whether one of our own `raise` statements made `error`, which then says what to do."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    ours = PACKAGE in Path(frame.filename).parents
    return ours and (frame.line or "").startswith("raise ")


def in_one_line(error: ValueError) -> bool:
    """Whether the user is told `error` in one line; not where `W2S_DEBUG` asks for more."""
    return refused(error) and not os.environ.get(DEBUG)
