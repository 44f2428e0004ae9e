"""Sheets as LaTeX, with booktabs' rules.

Owns escaping and layout. The document has to load `booktabs` and `graphicx`; a table that is wider
than the text is scaled down. It computes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from w2s_ray.printable import printable
from w2s_ray.report.sheet import Sheet

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "→": r"$\to$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "−": r"$-$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "–": "--",
}
_NEEDS = r"% needs \usepackage{booktabs,graphicx}"
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
_MINUS = re.compile(r"(?<!\w)-(?=\d)")
_STARRED = ("[", "*")
"""Characters that LaTeX would read as an argument of the line break before them."""


def escaped(text: str) -> str:
    """`text` escaped so that LaTeX shows it unchanged; a number's sign becomes a minus."""
    flat = printable(_MINUS.sub("−", " ".join(text.splitlines())))
    return "".join(_SPECIAL.get(character, character) for character in flat)


def to_latex(sheets: Sequence[Sheet]) -> str:
    """A `table` environment for each sheet, to be included in a document."""
    return "\n\n".join((_NEEDS, *map(_table, sheets))) + "\n"


def _table(sheet: Sheet) -> str:
    kinds = "".join("r" if column in sheet.numbers else "l" for column in sheet.columns)
    return "\n".join(
        (
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(sheet.title)}}}",
            _FIT,
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            _line(sheet.columns),
            r"\midrule",
            *map(_line, sheet.lines),
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par{{\footnotesize {escaped(note)}}}" for note in sheet.notes),
            r"\end{table}",
        )
    )


def _line(cells: Sequence[str]) -> str:
    line = " & ".join(map(escaped, cells))
    return ("{}" if line.startswith(_STARRED) else "") + line + r" \\"
