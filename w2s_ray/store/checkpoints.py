"""Checkpoints of a running fit in the store, from which any machine can resume it.

Owns the files `work/FIT/LAYOUT/step-N/`: each worker's files, under `files/`, and one marker
`rank-R.done` per worker, uploaded last; a step is complete once every worker's marker exists.
Uploads run in a thread beside the training. A step whose content is not the written one is skipped.
The files are not interpreted here. The caller holds the lease on the fit, so that no other process
writes its checkpoints.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_ray.store import layout
from w2s_ray.store.damage import Damaged, warn
from w2s_ray.store.store import Store

_log = logging.getLogger(__name__)

COST_SHARE = 0.05
"""Checkpoints hold up the training for at most this share of its time."""
_MARKER = re.compile(r"step-(\d+)/rank-(\d+)\.done")


@dataclass(frozen=True)
class _LocalStep:
    """One step of this worker, complete in a local folder and not yet uploaded."""

    step: int
    folder: Path


class StoredCheckpoints:
    """One worker's part in the checkpoints of a fit; the newest complete one is kept.

    All workers call `save` at the same steps, and `latest` before the first save. A failed upload
    is counted, with a warning at the first one, and does not end the fit: the next save uploads
    again, and until then the step before is the latest.
    """

    def __init__(
        self,
        store: Store,
        fit_id: str,
        checkpoint_layout: str,
        *,
        rank: int = 0,
        workers: int = 1,
        every_s: float,
        spool: Path,
        on_damage: Callable[[Damaged], None] = warn,
    ) -> None:
        """`on_damage` is called for each damaged step that `latest` skips."""
        self.failures = 0
        """Uploads that failed."""
        self.bytes_written = 0
        """Bytes that this worker has uploaded in all steps."""
        self.last_bytes = 0
        """Bytes that this worker uploaded in its newest step."""
        self.every_s = every_s
        self._files = store.files
        self._root = f"{layout.work(fit_id)}/{layout.checked_name(checkpoint_layout)}"
        self._rank, self._workers = rank, workers
        self._on_damage = on_damage
        self._spool = Path(spool) / f"rank-{rank}"
        self._last = time.monotonic()
        self._cost_s = 0.0
        """How long the newest `save` held up the training."""
        self._changed = threading.Condition()
        self._pending: _LocalStep | None = None
        self._uploading: _LocalStep | None = None
        self._error: Exception | None = None
        self._closing = False
        self._thread: threading.Thread | None = None

    def due(self) -> bool:
        """Whether the next checkpoint is due; the workers use worker 0's value.

        With `every_s` 0 it always is. Else a slow checkpoint is followed by a longer interval.
        """
        affordable_s = self._cost_s * (1 / COST_SHARE - 1) if self.every_s else 0.0
        return time.monotonic() - self._last >= max(self.every_s, affordable_s)

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Call `write` to fill a local folder, and upload the folder beside the training.

        With one worker, a newer state replaces a state that still waits for its upload. With
        several, `save` waits for the upload before, so that all workers upload the same steps. The
        workers' files have different names. A stored step is not stored again.
        """
        began = time.monotonic()
        folder = self._spool / f"save-{step}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            write(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        for loaded in self._spool.glob("latest-*"):
            shutil.rmtree(loaded)
        with self._changed:
            if self._workers > 1:
                self._changed.wait_for(lambda: self._pending is None)
            if self._pending is not None and self._pending.folder != folder:
                shutil.rmtree(self._pending.folder)
            self._pending = _LocalStep(step, folder)
            self._start()
            self._changed.notify_all()
        self._last = time.monotonic()
        self._cost_s = self._last - began

    def latest(self) -> Path | None:
        """The newest complete state, downloaded to a folder of this worker's spool, or None.

        A damaged state is skipped for the one before, since it can be made again. This worker's
        files of other steps are removed, so that a step never has files of two attempts.
        """
        self._wait()
        for step in sorted(self._whole_steps(), reverse=True):
            target = self._spool / f"latest-{step}"
            try:
                self._download(step, target)
            except Damaged as damage:
                shutil.rmtree(target, ignore_errors=True)
                self._on_damage(damage)
            else:
                self._remove_own(lambda other, loaded=step: other != loaded)
                return target
        self._remove_own(lambda _: True)
        return None

    def _download(self, step: int, target: Path) -> None:
        """Download all workers' files of a complete step.

        Raises:
            Damaged: a file is missing, or its content is not the written one.
        """
        shutil.rmtree(target, ignore_errors=True)
        try:
            for name, written in self._contents(step).items():
                path, copy = f"{self._root}/step-{step}/files/{name}", target / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(path, copy)
                found = _file(copy)
                if any(found[key] != written[key] for key in written):
                    differs = f"{found['bytes']} bytes, {written['bytes']} were written"
                    why = "other content" if found["bytes"] == written["bytes"] else differs
                    raise self._damaged(path, why)
        except FileNotFoundError as error:
            why = f"a file is missing: {error}"
            raise self._damaged(f"{self._root}/step-{step}", why) from error

    def flush(self) -> None:
        """Wait for running uploads; raises the newest save's error if it failed."""
        self._wait()
        with self._changed:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Wait for running uploads, end the thread and remove the local copies."""
        self._wait()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        shutil.rmtree(self._spool, ignore_errors=True)

    # --- the uploading thread

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="w2s-checkpoints", daemon=True)
            self._thread.start()

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending is None and self._uploading is None)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending is not None or self._closing)
                if self._pending is None:
                    return
                saved, self._pending = self._pending, None
                self._uploading, self._error = saved, None
                self._changed.notify_all()
            error = self._try_upload(saved)
            with self._changed:
                self._uploading, self._error = None, error
                self._changed.notify_all()

    def _try_upload(self, saved: _LocalStep) -> Exception | None:
        """Upload, and return the error if that fails: the fit continues without a checkpoint."""
        try:
            self._upload(saved)
        except Exception as error:  # noqa: BLE001 - `flush` raises it in the fit's own thread
            self.failures += 1
            if self.failures == 1:
                _log.warning("a checkpoint was not stored, training continues: %s", error)
            return error
        finally:
            with self._changed:
                if self._pending is None or self._pending.folder != saved.folder:
                    shutil.rmtree(saved.folder, ignore_errors=True)
        return None

    def _upload(self, saved: _LocalStep) -> None:
        folder, written = f"{self._root}/step-{saved.step}", {}
        if self._rank in self._markers().get(saved.step, set()):
            return
        for path in sorted(saved.folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(saved.folder).as_posix()
                self._files.put_file(f"{folder}/files/{name}", path)
                written[name] = _file(path)
                self.bytes_written += written[name]["bytes"]
        self._files.write(f"{folder}/rank-{self._rank}.done", json.dumps(written).encode())
        self.last_bytes = sum(each["bytes"] for each in written.values())
        if saved.step in self._whole_steps():
            self._remove_own(lambda step: step < saved.step)

    # --- the store

    def _markers(self) -> dict[int, set[int]]:
        """Step -> the workers whose part is complete."""
        found: dict[int, set[int]] = {}
        for path in self._files.find(self._root):
            if match := _MARKER.fullmatch(path[len(self._root) + 1 :]):
                found.setdefault(int(match[1]), set()).add(int(match[2]))
        return found

    def _whole_steps(self) -> set[int]:
        every = set(range(self._workers))
        return {step for step, ranks in self._markers().items() if ranks >= every}

    def _contents(self, step: int) -> dict[str, dict[str, Any]]:
        """File -> bytes and SHA-256, for all workers' files of a complete step."""
        folder = f"{self._root}/step-{step}"
        markers = [f"{folder}/rank-{rank}.done" for rank in range(self._workers)]
        found: dict[str, dict[str, Any]] = {}
        for path, data in zip(markers, self._files.read_many(markers), strict=True):
            found |= self._parse_marker(path, data)
        return found

    def _parse_marker(self, path: str, data: bytes) -> dict[str, dict[str, Any]]:
        """The files in a worker's marker: path below the step's `files/` -> bytes and SHA-256.

        Markers of earlier versions have the bytes alone.
        """
        try:
            found = json.loads(data)
            if not isinstance(found, dict):
                raise ValueError(f"a {type(found).__name__}")
            return {
                layout.checked_path(name): {
                    "bytes": int(each["bytes"]),
                    "sha256": str(each["sha256"]),
                }
                if isinstance(each, dict)
                else {"bytes": int(each)}
                for name, each in found.items()
            }
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: str, why: object) -> Damaged:
        return Damaged(
            self._files.locate(path),
            why,
            costs="the fit can't resume from this checkpoint",
            remedy="it resumes from the one before, or is trained from the start",
        )

    def _remove_own(self, unwanted: Callable[[int], bool]) -> None:
        """Remove this worker's part of steps, the marker first: no partial step looks complete.

        The files in a damaged marker stay until the fit ends.
        """
        for step, ranks in self._markers().items():
            if unwanted(step) and self._rank in ranks:
                folder = f"{self._root}/step-{step}"
                marker = f"{folder}/rank-{self._rank}.done"
                data = self._files.read(marker)
                self._files.remove(marker)
                with contextlib.suppress(Damaged):
                    for name in self._parse_marker(marker, data):
                        with contextlib.suppress(FileNotFoundError):
                            self._files.remove(f"{folder}/files/{name}")


def _file(path: Path) -> dict[str, Any]:
    """Bytes and SHA-256 of a local file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
