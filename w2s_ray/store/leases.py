"""Who works on what: leases on names, kept in a store, that end with their holder.

Owns the files `work/claims/NAME.json` and the rule when one is free: its holder is known to be
dead, or it has not changed for its time-to-live by the clock of whoever looks, so clocks of
different machines are never compared. A damaged claim is free. It knows nothing of what the names
mean.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from w2s_ray.store import layout
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.records import Stored

_log = logging.getLogger(__name__)

_BEATS_PER_TTL = 4
LONGEST_S = 3600.0
"""The longest time-to-live that counts, whatever a claim or a sweep says."""


class Holder(Stored):
    """One process, told apart from every other that ever was, for one lease."""

    host: str
    """Host name, boot and process namespace: within them, process ids mean the same."""
    pid: int = Field(gt=0, lt=2**31)
    started: str | None
    """When the process started, in ticks since boot; None where the system doesn't say."""
    token: str
    """Random: two leases of one process are two holders."""

    @classmethod
    def here(cls) -> Holder:
        """This process, as the holder of one more lease."""
        pid = os.getpid()
        return cls(host=_host(), pid=pid, started=_started(pid), token=uuid.uuid4().hex)

    def is_dead(self) -> bool:
        """True if it is known to have ended; False if it lives, or can't be known from here."""
        if self.host != _host():
            return False
        now = _started(self.pid)
        if now is not None:
            return now != self.started
        try:  # the system may hide other users' processes
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class Claim(Stored):
    """What a lease's file says. Each beat counts one up."""

    holder: Holder
    beat: int
    ttl_s: float = Field(gt=0)

    @property
    def lasts_s(self) -> float:
        """How long it is taken without a beat."""
        return min(self.ttl_s, LONGEST_S)


@dataclass(frozen=True)
class Leases:
    """The leases of one store, as one process sees them."""

    files: Files
    ttl_s: float = 60.0
    """How long a lease of ours stays taken without a beat, to those who can't see that we died."""
    _seen: dict[str, tuple[Claim, float]] = field(default_factory=dict, compare=False, repr=False)
    """Name -> its claim, and when this process first saw it so."""

    def take(self, name: str) -> Lease | None:
        """A lease on `name`, or None while a live holder has it, or was faster just now."""
        path, began = layout.claim(name), time.monotonic()
        mine = Claim(holder=Holder.here(), beat=0, ttl_s=min(self.ttl_s, LONGEST_S))
        try:
            there, version = _read(self.files, name)
        except FileNotFoundError:
            taken, earlier = self.files.create(path, mine.to_json()), None
        else:
            if there is not None and not self._is_free(name, there):
                return None
            taken = self.files.replace_if(path, mine.to_json(), version=version)
            earlier = there.holder if there is not None else None
        if not taken:
            return None
        lease = Lease(self.files, name, mine, taken_over=earlier, renewed=began)
        _HEART.add(lease)
        return lease

    def held(self, name: str) -> Holder | None:
        """Who has `name`; None while it is free."""
        try:
            there, _ = _read(self.files, name)
        except FileNotFoundError:
            return None
        return None if there is None or self._is_free(name, there) else there.holder

    def _is_free(self, name: str, claim: Claim) -> bool:
        if claim.holder.is_dead():
            return True
        now = time.monotonic()
        seen, since = self._seen.get(name, (None, now))
        if seen != claim:
            self._seen[name] = (claim, now)
            return False
        return now - since >= claim.lasts_s


class Lease:
    """A name that is this process's own until it is released, or `lost`. A context manager."""

    def __init__(
        self, files: Files, name: str, claim: Claim, *, taken_over: Holder | None, renewed: float
    ) -> None:
        self.name = name
        self.taken_over = taken_over
        """Whom it was taken from, who had not released it; None where it was free."""
        self._files = files
        self._claim = claim
        self._renewed = renewed
        self._gone = False
        self._lock = threading.Lock()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def holder(self) -> Holder:
        return self._claim.holder

    @property
    def lost(self) -> bool:
        """Whether somebody else has it or may have it by now. It never comes back."""
        return self._gone or time.monotonic() - self._renewed >= self._claim.lasts_s

    @property
    def beat_s(self) -> float:
        """Seconds between beats."""
        return self._claim.lasts_s / _BEATS_PER_TTL

    @property
    def due_at(self) -> float:
        """When the next beat is due, by `time.monotonic`."""
        return self._renewed + self.beat_s

    def beat(self) -> None:
        """Show that we live, unless it is lost."""
        with self._lock:
            if self.lost:
                self._gone = True
                return
            began = time.monotonic()
            version = self._version()
            after = self._claim.model_copy(update={"beat": self._claim.beat + 1})
            if version is None or not self._files.replace_if(
                layout.claim(self.name), after.to_json(), version=version
            ):
                self._gone = True
                return
            self._claim, self._renewed = after, began

    def release(self) -> None:
        """Give it back; nothing happens if it is lost, or was released."""
        _HEART.drop(self)
        with self._lock:
            if self._gone:
                return
            self._gone = True
            try:
                version = self._version()
                if version is not None:
                    self._files.remove_if(layout.claim(self.name), version=version)
            except OSError as error:
                _log.warning("the lease on %s ends by itself, later: %s", self.name, error)

    def _version(self) -> str | None:
        """The version of our claim's file; None if it is ours no more."""
        try:
            there, version = _read(self._files, self.name)
        except FileNotFoundError:
            return None
        return version if there is not None and there.holder == self._claim.holder else None


def _read(files: Files, name: str) -> tuple[Claim | None, str]:
    """The claim on `name`, None where it is damaged, and its version; FileNotFoundError."""
    path = layout.claim(name)
    data, version = files.read_versioned(path)
    try:
        return layout.parse(Claim, data, where=files.locate(path)), version
    except StoreError as error:
        _log.warning("a damaged claim counts as free: %s", error)
        return None, version


class _Heart:
    """The one thread of a process that beats for its leases."""

    def __init__(self) -> None:
        self._leases: set[Lease] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._retry_at: dict[Lease, float] = {}

    def add(self, lease: Lease) -> None:
        with self._changed:
            self._leases.add(lease)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="w2s-leases", daemon=True)
                self._thread.start()
            self._changed.notify()

    def drop(self, lease: Lease) -> None:
        with self._changed:
            self._leases.discard(lease)
            self._retry_at.pop(lease, None)

    def _run(self) -> None:
        while True:
            self._beat_once(self._next())

    def _next(self) -> Lease:
        """The lease whose beat is due first, once it is."""
        with self._changed:
            while True:
                first = min(self._leases, key=self._due, default=None)
                wait_s = None if first is None else self._due(first) - time.monotonic()
                if first is not None and wait_s is not None and wait_s <= 0:
                    return first
                self._changed.wait(wait_s)

    def _due(self, lease: Lease) -> float:
        return max(lease.due_at, self._retry_at.get(lease, 0.0))

    def _beat_once(self, lease: Lease) -> None:
        try:
            lease.beat()
        except (OSError, StoreError) as error:
            _log.warning("the lease on %s was not renewed: %s", lease.name, error)
            with self._changed:
                self._retry_at[lease] = time.monotonic() + lease.beat_s
        if lease.lost:
            _log.warning("the lease on %s is lost", lease.name)
            self.drop(lease)


_HEART = _Heart()
os.register_at_fork(after_in_child=_HEART.__init__)  # a child does not hold its parent's leases


def _host() -> str:
    return "/".join((socket.gethostname(), _said("/proc/sys/kernel/random/boot_id"), _namespace()))


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _said(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process started, `ended` for one that its parent has not noticed, or None: unknown."""
    fields = _said(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not fields:
        return None
    return "ended" if fields[0] in ("Z", "X") else fields[19]
