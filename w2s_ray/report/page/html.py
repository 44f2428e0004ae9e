"""One HTML file from the page's content: markup, style, scripts and Vega, nothing from elsewhere.

Owns escaping, and the policy by which the page itself forbids every request and every script that
isn't one of its own. What it is given may hold any text: names, reasons and sweep files are data
and can become neither markup nor code. It knows nothing of what the content means.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any

_SCRIPTS = ("dom.js", "state.js", "table.js", "figures.js", "run.js", "sections.js", "page.js")
"""In the order in which they build on one another."""

_KEPT = "window.vegaEmbed = vegaEmbed;"
"""What a script of the page sees of the bundle."""

_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
"""Characters that HTML or JavaScript could take for more than text, as JSON writes them."""


def to_html(content: Mapping[str, Any]) -> str:
    """The page for `page_content`'s values.

    Raises:
        ValueError: a value that JSON doesn't know, NaN included.
    """
    scripts = [_vega(), *map(_asset, _SCRIPTS)]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(map(_hash, scripts)),
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    names = ", ".join(sweep["name"] for sweep in content["sweeps"])
    return Template(_asset("page.html")).substitute(
        title=html.escape(names),
        policy=html.escape("; ".join(f"{key} {value}" for key, value in policy.items())),
        style=_asset("page.css"),
        content=_json(content),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _json(content: Mapping[str, Any]) -> str:
    """`content` as JSON that can stand in a script element."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.translate(str.maketrans(_ESCAPES))


def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets `vegaEmbed` and no other name."""
    import vl_convert

    return f"(() => {{{vl_convert.javascript_bundle(_KEPT)}}})();"


def _asset(name: str) -> str:
    return (resources.files("w2s_ray.report.page") / "assets" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """How a content security policy names an inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
