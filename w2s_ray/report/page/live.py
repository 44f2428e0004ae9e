"""The page of a store that changes: its version, and the page made anew for a new version.

Owns what a version is: the results of the runs that the page shows. Each version is made into a
page once, for all readers. For a sealed sweep this counts as one look; reading the version counts
as none. It serves nothing.
"""

from __future__ import annotations

import html
import math
import threading
import time
from dataclasses import dataclass
from string import Template

from w2s_ray.identity import digest
from w2s_ray.printable import printable
from w2s_ray.report.page.content import page_content
from w2s_ray.report.page.html import to_html
from w2s_ray.report.results import Results
from w2s_ray.report.sealed import count_look
from w2s_ray.store import Store

_WAITING = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'">
<meta http-equiv="refresh" content="$every">
<meta name="color-scheme" content="light dark">
<title>$what · waiting</title>
</head>
<body>
<p>There are no results of $what in $store yet. This page shows them as soon as there are.</p>
</body>
</html>
""")


@dataclass(frozen=True)
class VersionedPage:
    """One version of the page."""

    version: str
    html: bytes


class LivePage:
    """The page of one sweep in a store, or of all its sweeps. Threads may share it."""

    def __init__(self, uri: str, *, sweep: str | None, every_s: float, texts: bool = True) -> None:
        """`every_s`: the store is read at most once in so many seconds. `texts`: whether the page
        has texts of rows.
        """
        self._uri = uri
        self._sweep = sweep
        self._every_s = every_s
        self._texts = texts
        self._lock = threading.Lock()
        self._read_at = -math.inf
        self._version: str | None = None
        self._page: VersionedPage | None = None

    def version(self) -> str | None:
        """The version of the store's results; None before a sweep has started.

        Raises:
            StoreError: the store can't be read.
        """
        with self._lock:
            return self._present_version()

    def page(self) -> VersionedPage | None:
        """The page of the present version; None before a sweep has started.

        Raises:
            StoreError: the store can't be read.
            InputError: the look at a sealed test can't be counted.
        """
        with self._lock:
            version = self._present_version()
            if version is None:
                return None
            if self._page is None or self._page.version != version:
                self._page = VersionedPage(version, self._make(version))
            return self._page

    def waiting(self) -> bytes:
        """The page before a sweep has started; it reloads itself."""
        what = "any sweep" if self._sweep is None else f"the sweep {self._sweep}"
        every = max(1, round(self._every_s))
        texts = {"what": what, "store": self._uri}
        escaped = {name: html.escape(printable(text)) for name, text in texts.items()}
        return _WAITING.substitute(escaped, every=every).encode()

    def _present_version(self) -> str | None:
        if time.monotonic() - self._read_at >= self._every_s:
            self._version = _version_of(Store.open(self._uri), self._sweep)
            self._read_at = time.monotonic()
        return self._version

    def _make(self, version: str) -> bytes:
        store = Store.open(self._uri).snapshot()
        names = store.manifests.sweeps() if self._sweep is None else [self._sweep]
        count_look(store, names, command="serve")
        content = page_content(Results(store), names, has_texts=self._texts)
        return to_html({**content, "live": {"version": version, "every_s": self._every_s}}).encode()


def _version_of(store: Store, sweep: str | None) -> str | None:
    """A digest of the manifests and of the results of their cells' runs; None without a manifest.

    Neither is updated in place, so the names of their files are enough.
    """
    names = store.manifests.sweeps() if sweep is None else [sweep]
    manifests = [manifest for name in names for manifest in store.manifests.all(name)[-1:]]
    if not manifests:
        return None
    runs = {
        run
        for manifest in manifests
        for cell in manifest.cells
        for run in (cell.supervisor, cell.ceiling, cell.student, *cell.studies)
        if run is not None
    }
    results = [
        f"{run}/{file}"
        for run, files in store.run_files().items()
        if run in runs
        for file in files
        if file == "record.json" or file.startswith(("attempt-", "trials/"))
    ]
    starts = [path for name in names for path in store.files.find(f"sweeps/{name}")]
    return digest({"starts": starts, "results": sorted(results)})[:20]
