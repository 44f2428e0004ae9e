"""The Rich console of all commands, which prints strings without interpreting markup.

Owns how strings are printed: brackets are not styles, colons are not emoji, and control characters
become escapes. Styles are given as `Text` objects, `style=` or columns' styles. It decides nothing
about the content. `w2s_ray.cli.standard_streams` owns encodings and closed pipes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from w2s_ray.printable import printable


class PlainConsole(Console):
    """A console without markup, emoji codes and highlighting."""

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
            force_jupyter=False,  # it would add an output to a cell for every line
        )

    def on_broken_pipe(self) -> None:
        """Raise the error again; Rich would exit with code 1."""
        raise  # noqa: PLE0704 - called while the error is handled

    def warn(self, text: Text) -> None:
        """Print a warning, in one line however long it is."""
        self.print(text, soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """`text` for layout, with escapes for hidden characters, so that the width is right."""
        return super().render_str(printable(text, keep="\n\t"), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of `renderable`, with escapes for all but Rich's own control sequences."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, keep="\n\t"), segment.style)
