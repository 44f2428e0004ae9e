"""The error type for bad input.

Owns the one distinction that commands make between errors: an `InputError` is printed as one line
with exit code 2; every other exception is a bug and keeps its traceback. Every layer can raise it.
"""

from __future__ import annotations

from w2s_ray.printable import cut, printable

MOST_LINES = 20
"""Lines of one error; problems beyond them are counted in the last."""
LONGEST_LINE = 1000
"""Characters of a line; of a longer one the middle is left out."""


class InputError(ValueError):
    """The input or the environment is wrong, and the user can correct it.

    The message names the key or file, the value, and the remedy. One line for each problem: line
    breaks and control characters in a line are shown as escapes. It is a `ValueError`, so that
    pydantic's validators may raise it.
    """

    def __init__(self, *problems: object) -> None:
        lines = [cut(printable(str(problem)), most=LONGEST_LINE) for problem in problems]
        if len(lines) > MOST_LINES:
            lines[MOST_LINES - 1 :] = [f"... and {len(lines) - MOST_LINES + 1} more problems"]
        super().__init__(*lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))
