"""The report: a store's results as one HTML page that needs no server and no network.

`content` collects the page's values; `html` combines these values, the style, the scripts and Vega
in one file. `assets/` has the style and the scripts.
"""

from w2s_ray.report.page.content import page_content
from w2s_ray.report.page.html import to_html

__all__ = ["page_content", "to_html"]
