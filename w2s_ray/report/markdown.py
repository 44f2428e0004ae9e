"""Text escaped for GitHub Markdown: no markup, no HTML, no links, one line.

Owns escaping. Brackets that form no link, and underscores within words, are not escaped, so that
intervals and names stay readable in the source.
"""

from __future__ import annotations

import re

from w2s_ray.printable import printable

_SPECIAL = re.compile(r"[\\`*|$~]|\](?=[(\[:])|!(?=\[)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escaped(text: str) -> str:
    """`text` escaped so that Markdown shows it unchanged, in one line."""
    flat = printable(" ".join(text.splitlines()))
    marked = _SPECIAL.sub(lambda found: "\\" + found[0], flat)
    return re.sub(r"[<>]|&(?=#?\w+;)", lambda found: _ENTITIES[found[0]], marked)
