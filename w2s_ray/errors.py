"""The error type for invalid input.

Owns the distinction between errors of the user and bugs: commands print an `InputError` as one line
and exit with code 2; every other exception is a bug and keeps its traceback. Every layer raises it.
"""

from __future__ import annotations

from w2s_ray.printable import cut, printable

MOST_LINES = 20
"""Largest number of lines of an error; the last line counts the problems that aren't shown."""
LONGEST_LINE = 1000
"""Largest number of characters of a line; the middle of longer lines is omitted."""


class InputError(ValueError):
    """The input or the environment is wrong, and the user can correct it.

    The message names the key or file, the value, and the remedy, in one line for each problem. Line
    breaks and control characters become escapes. It is a `ValueError`, so that pydantic's
    validators can raise it.
    """

    def __init__(self, *problems: object) -> None:
        lines = [cut(printable(str(problem)), most=LONGEST_LINE) for problem in problems]
        if len(lines) > MOST_LINES:
            lines[MOST_LINES - 1 :] = [f"... and {len(lines) - MOST_LINES + 1} more problems"]
        super().__init__(*lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of the traceback: the message, as a command prints it."""
        return [f"error: {self}"]
