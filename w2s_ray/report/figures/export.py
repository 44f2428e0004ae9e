"""Figures as files: SVG, PNG, an HTML page, or the Vega-Lite specification.

Owns the formats. Nothing is downloaded: vl-convert draws SVG and PNG, and the page includes its
scripts.
"""

from __future__ import annotations

import html
import json
import textwrap
from string import Template
from typing import Any, Literal

import altair as alt

from w2s_ray.errors import InputError
from w2s_ray.report.figures import theme as themes
from w2s_ray.report.figures.figure import Figure, without_control_characters
from w2s_ray.report.scripts import script_json, vega

Format = Literal["svg", "png", "html", "json"]

FORMATS: tuple[Format, ...] = ("svg", "png", "html", "json")

_PAGE = Template("""<!DOCTYPE html>
<html>
<head><meta charset="utf-8"><title>$name</title></head>
<body>
<div id="figure"></div>
<script>$vega</script>
<script>vegaEmbed("#figure", $spec, {renderer: "svg"}).catch(console.error);</script>
</body>
</html>
""")

PNG_SCALE = 2
"""Pixels per unit of length."""


def themed(figure: Figure, *, theme: themes.Theme = "light") -> dict[str, Any]:
    """The figure's Vega-Lite specification with a theme, its title and its caption."""
    title = {"text": figure.title, "subtitle": textwrap.wrap(figure.caption, 90)}
    title = without_control_characters(title)
    return {**figure.spec(), "config": themes.config(theme), "title": title}


def export(figure: Figure, format: Format, *, theme: themes.Theme = "light") -> bytes:
    """The figure as a file of `format`.

    Raises:
        InputError: no such format.
    """
    import vl_convert

    spec = themed(figure, theme=theme)
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    match format:
        case "svg":
            return vl_convert.vegalite_to_svg(spec, vl_version=version).encode()
        case "png":
            return vl_convert.vegalite_to_png(spec, vl_version=version, scale=PNG_SCALE)
        case "html":
            return _page(spec, name=figure.name).encode()
        case "json":
            return json.dumps(spec, indent=1).encode()
        case _:
            raise InputError(f"format is {format!r}; choose among {', '.join(FORMATS)}")


def _page(spec: dict[str, Any], *, name: str) -> str:
    """One HTML file that shows a specification, with the scripts that draw it."""
    return _PAGE.substitute(name=html.escape(name), vega=vega(), spec=script_json(spec))
