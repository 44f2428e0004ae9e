"""Scripts of HTML pages: values as JSON inside a script element, and the Vega bundle.

Owns escaping for script elements: values may have any text, and no text can end its script element.
It writes no markup.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

_EXPORTS = "window.vegaEmbed = vegaEmbed;"
"""The bundle's name that a page's scripts can use."""
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
"""Characters with a meaning in HTML or JavaScript, and single surrogates, which UTF-8 can't encode.
"""


def script_json(value: Any) -> str:
    """`value` as JSON that can stand in a script element.

    Raises:
        ValueError: a value that JSON can't represent, such as NaN.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets `vegaEmbed` and no other name."""
    import vl_convert

    return f"(() => {{{vl_convert.javascript_bundle(_EXPORTS)}}})();"
