"""One HTML file from the page's content: markup, style, scripts and Vega, without external files.

Owns escaping, and the content security policy, which forbids every request and all scripts but the
page's own; a live page may request its version. The content may have any text: names, reasons and
sweep files are data and can become neither markup nor code. The content is not interpreted here.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any

from w2s_ray.printable import printable
from w2s_ray.report.scripts import script_json, vega

_SCRIPTS = (
    *("dom.js", "state.js", "table.js", "figures.js", "run.js", "rows.js"),
    *("sections.js", "data.js"),
    "page.js",
)
"""In the order of their dependencies."""
_LIVE = "live.js"
"""The last script of a page that `w2s serve` serves."""


def to_html(content: Mapping[str, Any]) -> str:
    """The page for `page_content`'s values; with `live` among them, it looks for a new version.

    Raises:
        ValueError: a value that JSON can't represent, such as NaN.
    """
    is_live = "live" in content
    scripts = [vega(), *map(_asset, (*_SCRIPTS, *([_LIVE] if is_live else [])))]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(map(_hash, scripts)),
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        **({"connect-src": "'self'"} if is_live else {}),
    }
    names = ", ".join(sweep["name"] for sweep in content["sweeps"])
    return Template(_asset("page.html")).substitute(
        title=html.escape(printable(names)),
        policy=html.escape("; ".join(f"{key} {value}" for key, value in policy.items())),
        style=_asset("page.css"),
        content=script_json(content),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _asset(name: str) -> str:
    return (resources.files("w2s_ray.report.page") / "assets" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """An inline script's hash in the form of a content security policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
