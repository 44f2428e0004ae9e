"""What running drivers say of themselves, and whether they still live.

Owns the files `work/live/DRIVER.json`: news for whoever looks from another process, replaced whole
every few seconds and gone when the driver ends. Nothing rests on them: one that is missing or old
changes no result. It knows nothing of what the news mean.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from w2s_ray.store import layout
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.leases import Holder
from w2s_ray.store.records import CLOCKS_S, Moment, Stored, time_order

SILENT_S = 30.0
"""A driver that has said nothing for so long is taken for gone."""

Liveness = Literal["beats", "silent", "unsure"]


class DriverState(Stored):
    """What a driver said last."""

    holder: Holder
    """The process."""
    beat: int
    """Counts the times that it said something."""
    written_at: Moment
    """By the driver's clock."""
    about: dict[str, Any]

    @property
    def driver(self) -> str:
        """The driver's name in the store."""
        return self.holder.token

    @property
    def host(self) -> str:
        """The machine that the driver runs on."""
        return self.holder.host.partition("/")[0]


def say(files: Files, news: DriverState) -> None:
    """Put `news` in the place of what the same driver said before."""
    files.write(layout.live(news.driver), news.model_dump_json().encode())


def remove_driver_state(files: Files, driver: str) -> None:
    """Take away what a driver said, and what it was asked."""
    for path in (layout.live(driver), layout.stop(driver)):
        with contextlib.suppress(FileNotFoundError):
            files.remove(path)


def ask_to_stop(files: Files, driver: str) -> None:
    """Ask a driver to stop; it checks whenever it writes its state."""
    files.write(layout.stop(driver), b"{}")


def is_asked_to_stop(files: Files, driver: str) -> bool:
    """Whether somebody asked a driver to stop."""
    return files.exists(layout.stop(driver))


def heard(files: Files) -> list[DriverState]:
    """The last words of every driver that has not taken them back, those of dead ones too.

    A file that is no news (another version wrote it) is left out.
    """
    found = []
    for path in files.find(f"work/{layout.LIVE}"):
        if path.endswith(layout.STOP):
            continue
        with contextlib.suppress(FileNotFoundError, StoreError):
            found.append(layout.parse(DriverState, files.read(path), where=files.locate(path)))
    return sorted(found, key=lambda news: time_order(news.written_at))


@dataclass
class LivenessMonitor:
    """Whose heart beats, as one process sees it.

    A process of this machine is known to be dead at once. One of another machine is judged by its
    clock where that leaves no doubt, else by whether it says something new while one looks.
    """

    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Driver -> its last beat, and when this process first saw it."""
    _changed: set[str] = field(default_factory=set)

    def heart(self, news: DriverState) -> Liveness:
        """Whether the driver of `news` lives; ask again, with newer news, where it is unsure."""
        if news.holder.is_dead():
            return "silent"
        now = time.monotonic()
        beat, since = self._seen.get(news.driver, (None, now))
        if beat != news.beat:
            self._seen[news.driver] = (news.beat, now)
            if beat is not None:
                self._changed.add(news.driver)
        if beat == news.beat and now - since >= SILENT_S:
            return "silent"
        age_s = (datetime.now(UTC) - datetime.fromisoformat(news.written_at)).total_seconds()
        if age_s > CLOCKS_S + SILENT_S:
            return "silent"
        return "beats" if abs(age_s) < SILENT_S or news.driver in self._changed else "unsure"
