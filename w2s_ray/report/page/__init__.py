"""The report: a store's results as one HTML page that needs no server and no network.

`content` says what the page shows, as plain values; `html` puts these values, the style, the
scripts and Vega into one file. What the page looks like and how it is used lies in `assets/`.
"""

from w2s_ray.report.page.content import page_content
from w2s_ray.report.page.html import to_html

__all__ = ["page_content", "to_html"]
