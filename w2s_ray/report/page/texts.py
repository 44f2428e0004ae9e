"""The texts of rows on the page: each once, cut, or none at all.

Owns the option to leave texts out, and the longest text. `html` escapes all content of the page.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from w2s_ray.printable import printable

LONGEST = 400
"""Most characters of a text; its end is cut off."""


@dataclass
class Texts:
    """The page's texts; rows refer to them by their places."""

    allowed: bool = True
    """False: the page has no text of any row."""
    _places: dict[str, int] = field(default_factory=dict)

    def place(self, text: str | None) -> int | None:
        """The place of a text; None if texts are left out."""
        if not self.allowed or text is None:
            return None
        cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        return self._places.setdefault(printable(cut, keep="\n\t"), len(self._places))

    @property
    def all(self) -> list[str] | None:
        """The texts in the order of their places; None if they are left out."""
        return list(self._places) if self.allowed else None
