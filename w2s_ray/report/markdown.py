"""Text in GitHub Markdown that is shown as it is: no markup, no HTML, no links, one line.

Owns escaping alone. Brackets that can make no link, and underlines within words, stay as they are,
so that intervals and names can be read in the source too.
"""

from __future__ import annotations

import re

from w2s_ray.printable import printable

_SPECIAL = re.compile(r"[\\`*|$~]|\](?=[(\[:])|!(?=\[)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escaped(text: str) -> str:
    """`text` so that Markdown shows it as it is, in one line."""
    flat = printable(" ".join(text.splitlines()))
    marked = _SPECIAL.sub(lambda found: "\\" + found[0], flat)
    return re.sub(r"[<>]|&(?=#?\w+;)", lambda found: _ENTITIES[found[0]], marked)
