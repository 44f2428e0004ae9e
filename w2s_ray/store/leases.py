"""Leases on names in a store: each has one holder, and expires after its holder's death.

Owns the files `work/claims/NAME.json` and the rule when a name is free: its holder is known to be
dead, or its file has not changed for the time-to-live by the reading process's own clock. Clocks of
different machines are never compared. A name with a damaged file is free. The names have no meaning
here.
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

_RENEWALS_PER_TTL = 4
LONGEST_S = 3600.0
"""Upper limit of the time-to-live of claims and sweeps."""


class Holder(Stored):
    """The holder of one lease: a process, identified uniquely among all processes ever started."""

    host: str
    """Host name, boot and process namespace, within which process ids are unique."""
    pid: int = Field(gt=0, lt=2**31)
    started: str | None
    """When the process started, in ticks since boot; None if unknown."""
    token: str
    """Random: two leases of one process have different holders."""

    @classmethod
    def here(cls) -> Holder:
        """This process as the holder of a new lease."""
        pid = os.getpid()
        return cls(host=_host(), pid=pid, started=_started(pid), token=uuid.uuid4().hex)

    def is_dead(self) -> bool:
        """True if the process is known to have ended; False if it is alive or can't be checked."""
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
    """The content of a lease's file."""

    holder: Holder
    beat: int
    """Number of renewals."""
    ttl_s: float = Field(gt=0)

    @property
    def valid_s(self) -> float:
        """Seconds for which it stays valid without a renewal."""
        return min(self.ttl_s, LONGEST_S)


@dataclass(frozen=True)
class Leases:
    """The leases of one store, with the claims that this process has read so far."""

    files: Files
    ttl_s: float = 60.0
    """Seconds for which a lease of this process stays valid without a renewal, for machines that
    can't detect this process's death."""
    _seen: dict[str, tuple[Claim, float]] = field(default_factory=dict, compare=False, repr=False)
    """Name -> its last claim, and when this process first read that claim."""

    def acquire(self, name: str) -> Lease | None:
        """A lease on `name`, or None while another live process has it."""
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
        lease = Lease(self.files, name, mine, previous_holder=earlier, renewed=began)
        _RENEWER.add(lease)
        return lease

    def holder(self, name: str) -> Holder | None:
        """The holder of `name`; None while it is free."""
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
        return now - since >= claim.valid_s


class Lease:
    """A name that this process holds until the lease is released or `lost`. A context manager."""

    def __init__(
        self,
        files: Files,
        name: str,
        claim: Claim,
        *,
        previous_holder: Holder | None,
        renewed: float,
    ) -> None:
        self.name = name
        self.previous_holder = previous_holder
        """The holder before this one if it had not released the name, else None."""
        self._files = files
        self._claim = claim
        self._renewed = renewed
        self._ended = False
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
        """Whether another process has or may have the name. A lost lease stays lost."""
        return self._ended or time.monotonic() - self._renewed >= self._claim.valid_s

    @property
    def renewal_s(self) -> float:
        """Seconds between renewals."""
        return self._claim.valid_s / _RENEWALS_PER_TTL

    @property
    def due_at(self) -> float:
        """When the next renewal is due, by `time.monotonic`."""
        return self._renewed + self.renewal_s

    def renew(self) -> None:
        """Extend the lease by its time-to-live, unless it is lost."""
        with self._lock:
            if self.lost:
                self._ended = True
                return
            began = time.monotonic()
            version = self._version()
            after = self._claim.model_copy(update={"beat": self._claim.beat + 1})
            if version is None or not self._files.replace_if(
                layout.claim(self.name), after.to_json(), version=version
            ):
                self._ended = True
                return
            self._claim, self._renewed = after, began

    def release(self) -> None:
        """Free the name; does nothing if the lease is lost or released."""
        _RENEWER.discard(self)
        with self._lock:
            if self._ended:
                return
            self._ended = True
            try:
                version = self._version()
                if version is not None:
                    self._files.remove_if(layout.claim(self.name), version=version)
            except OSError as error:
                _log.warning("the lease on %s was not released; it expires: %s", self.name, error)

    def _version(self) -> str | None:
        """The version of this lease's file; None if the file has another holder."""
        try:
            there, version = _read(self._files, self.name)
        except FileNotFoundError:
            return None
        return version if there is not None and there.holder == self._claim.holder else None


def _read(files: Files, name: str) -> tuple[Claim | None, str]:
    """The claim on `name` (None if it is damaged) and its version.

    Raises:
        FileNotFoundError: there is no claim.
    """
    path = layout.claim(name)
    data, version = files.read_versioned(path)
    try:
        return layout.parse(Claim, data, where=files.locate(path)), version
    except StoreError as error:
        _log.warning("a damaged claim counts as free: %s", error)
        return None, version


class _Renewer:
    """The thread of this process that renews its leases."""

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

    def discard(self, lease: Lease) -> None:
        with self._changed:
            self._leases.discard(lease)
            self._retry_at.pop(lease, None)

    def _run(self) -> None:
        while True:
            self._renew(self._next_due())

    def _next_due(self) -> Lease:
        """Wait until a lease is due; that lease."""
        with self._changed:
            while True:
                first = min(self._leases, key=self._due, default=None)
                wait_s = None if first is None else self._due(first) - time.monotonic()
                if first is not None and wait_s is not None and wait_s <= 0:
                    return first
                self._changed.wait(wait_s)

    def _due(self, lease: Lease) -> float:
        return max(lease.due_at, self._retry_at.get(lease, 0.0))

    def _renew(self, lease: Lease) -> None:
        try:
            lease.renew()
        except (OSError, StoreError) as error:
            _log.warning("the lease on %s was not renewed: %s", lease.name, error)
            with self._changed:
                self._retry_at[lease] = time.monotonic() + lease.renewal_s
        if lease.lost:
            _log.warning("the lease on %s is lost", lease.name)
            self.discard(lease)


_RENEWER = _Renewer()
os.register_at_fork(after_in_child=_RENEWER.__init__)  # a child does not hold its parent's leases


def _host() -> str:
    boot = _text("/proc/sys/kernel/random/boot_id")
    return "/".join((socket.gethostname(), boot, _namespace()))


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process started; `ended` for a zombie; None if unknown."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not fields:
        return None
    return "ended" if fields[0] in ("Z", "X") else fields[19]
