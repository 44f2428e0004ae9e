"""What pages of ours are made of besides markup: values as JSON within a script, and Vega.

Owns escaping for script elements: values may hold any text, and none can end the script that it
stands in. It knows nothing of pages.
"""

from __future__ import annotations

import json
import re
from typing import Any

_KEPT = "window.vegaEmbed = vegaEmbed;"
"""What a page's script sees of the bundle."""
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
"""Characters that HTML or JavaScript could take for more than text, and half pairs, which UTF-8
doesn't have."""


def script_json(value: Any) -> str:
    """`value` as JSON that can stand in a script element.

    Raises:
        ValueError: a value that JSON doesn't know, NaN included.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets `vegaEmbed` and no other name."""
    import vl_convert

    return f"(() => {{{vl_convert.javascript_bundle(_KEPT)}}})();"
