"""The one kind of console that commands print with: whatever they print is text, never markup.

Owns that names, paths and reasons stay data: brackets are not styles, colons are not emoji, and
control characters are shown as escapes. Styles are given as `Text` objects, `style=` or columns'
styles. It decides nothing about what is printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from w2s_ray.printable import printable


class PlainConsole(Console):
    """A console whose strings are data: no markup, no emoji codes, no highlighting."""

    def __init__(
        self,
        *,
        stderr: bool = False,
        file: IO[str] | None = None,
        width: int | None = None,
        soft_wrap: bool = False,
    ) -> None:
        super().__init__(
            stderr=stderr,
            file=file,
            width=width,
            soft_wrap=soft_wrap,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def on_broken_pipe(self) -> None:
        """Leave the error as it is; Rich would exit with the code of a failed run."""
        raise  # noqa: PLE0704 - called while the error is handled

    def render_str(self, text: str, **options: Any) -> Text:
        """`text` as it is laid out: what is hidden in it takes the room of its escapes."""
        return super().render_str(printable(text, keep="\n\t"), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of `renderable`; only Rich's own control sequences stay as they are."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, keep="\n\t"), segment.style)
