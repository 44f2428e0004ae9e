"""The store: runs, splits and sweeps under one folder or object-store URI.

    store.json                      format version, written once
    runs/ID/record.json             written last: its presence means done
    runs/ID/attempt-K.json          an attempt that failed, was pruned or was stopped
    runs/ID/{metrics,predictions}.parquet, weights/, trials/NUMBER.json (of a study)
    splits/FINGERPRINT/{rows.parquet,about.json}, the latter last
    sweeps/NAME/DIGEST.json         manifests; the newest by `created_at` is the current one
    work/FIT/...                    checkpoints of a running fit, removed when it ends
    work/claims/NAME.json           leases: the process that works on each run
    work/live/DRIVER.json           the state of a running driver; holds no results
    catalog/                        copies and derived values, for speed; may be deleted any time:
                                    also the activations of frozen models

Stored results are not updated in place, leftovers of a killed writer are never read, and nothing is
ever unpickled. It runs no queries and no fits, and does not interpret recipes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_ray.store import layout, marker, runs
from w2s_ray.store.activations import ActivationFiles
from w2s_ray.store.checksums import with_checksum
from w2s_ray.store.damage import Damaged, none_if_damaged
from w2s_ray.store.errors import StoreError, StoreUnavailable
from w2s_ray.store.files import Files, absolute, open_files
from w2s_ray.store.looks import Looks
from w2s_ray.store.manifests import Manifests
from w2s_ray.store.marker import ensure_marker
from w2s_ray.store.records import Record
from w2s_ray.store.snapshot import (
    StoreSnapshot,
    read_trials,
    take_quick_snapshot,
    take_snapshot,
)
from w2s_ray.store.splits import Splits
from w2s_ray.store.table_cache import TableCache
from w2s_ray.store.work import WorkFolders

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Store:
    """Results under `uri`. Its state is the URI alone, so it can be sent to workers."""

    uri: str
    pinned: StoreSnapshot | None = field(default=None, repr=False, compare=False)
    """The runs at the time of a snapshot; None: they are listed at every read."""

    @classmethod
    def open(cls, uri: str | Path) -> Store:
        """The store at a folder or fsspec URI, which need not exist yet.

        Raises:
            StoreError: a newer version wrote it, or no file system supports the URI.
        """
        store = cls(absolute(str(uri)))
        try:
            data = store.files.read("store.json")
        except (FileNotFoundError, NotADirectoryError):
            return store
        except StoreUnavailable:
            raise
        except (ImportError, ValueError) as error:
            raise StoreError(f"can't open the store {store.uri}: {error}") from error
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            content = None
        layout.check_format(content, store.uri)
        return store

    def exists(self) -> bool:
        """Whether anything was ever written here."""
        return self.files.exists("store.json")

    def check_readable(self) -> None:
        """Raises StoreError where there is no store to read."""
        if not self.exists():
            raise StoreError(f"there are no results at {self.uri}; run a sweep, or name its store")

    def check_writable(self) -> None:
        """Create the store if it does not exist, and check the writes that results need.

        Raises:
            StoreError: a write failed; the message names the folder and the remedy.
        """
        marker.check_writable(self.files, uri=self.uri)

    def check_conditional_writes(self) -> None:
        """Check the writes that results need, and create no store.

        Raises:
            StoreError: as for `check_writable`.
        """
        marker.check_conditional_writes(self.files, uri=self.uri)

    def snapshot(self) -> Store:
        """This store with its present runs, for consistent reads within one process."""
        return self if self.pinned else Store(self.uri, take_quick_snapshot(self.files))

    def run_snapshot(self) -> StoreSnapshot:
        """The present runs, or those at the time of this snapshot."""
        return self.pinned or take_snapshot(self.files)

    # --- parts

    @property
    def files(self) -> Files:
        return open_files(self.uri)

    @property
    def manifests(self) -> Manifests:
        return Manifests(self.files, self.uri)

    @property
    def splits(self) -> Splits:
        return Splits(self.files, self.uri)

    @property
    def looks(self) -> Looks:
        return Looks(self.files)

    @property
    def work(self) -> WorkFolders:
        return WorkFolders(self.files)

    @property
    def activations(self) -> ActivationFiles:
        return ActivationFiles(self.files)

    @property
    def cache(self) -> TableCache:
        return TableCache(self.files)

    # --- runs

    def all_done(self) -> AbstractSet[str]:
        """Ids of every run that is done."""
        return self.run_snapshot().done

    def done(self, ids: Iterable[str]) -> set[str]:
        """The ids among `ids` of runs that are done and whose record can be read."""
        return self.run_snapshot().done_of(ids)

    def run_files(self) -> dict[str, set[str]]:
        """Run id -> files in its folder, for all runs, done or not."""
        found: dict[str, set[str]] = {}
        for path in self.files.find("runs"):
            _, id_, *rest = path.split("/")
            if rest and layout.is_name(id_):
                found.setdefault(id_, set()).add("/".join(rest))
        return found

    def resolve_id(self, prefix: str) -> str:
        """The run whose id begins with `prefix`.

        Raises:
            StoreError: no run, or more than one.
        """
        return layout.match_id(prefix, self.run_snapshot().known, uri=self.uri)

    def record(self, id_: str) -> Record:
        """The record of a done run.

        Raises:
            StoreError: it is not done, or damaged; the message has the reason if one is stored.
        """
        if (record := runs.find(self.files, id_)) is not None:
            return record
        attempts = self.attempts(id_)
        if not attempts:
            raise StoreError(f"run {id_} is not in {self.uri}")
        last = attempts[-1]
        raise StoreError(f"run {id_} is not done but {last.status}: {last.reason or 'no reason'}")

    def find(self, id_: str) -> Record | None:
        """The record of a run if it is done, else None, also where the record is damaged."""
        return none_if_damaged(lambda: runs.find(self.files, id_))

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Records of done runs, sorted by id: of all, or of the runs `ids`."""
        return self.run_snapshot().records(ids)

    def latest(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """The latest record of each run, sorted by id: of the done run, else its last attempt."""
        return self.run_snapshot().latest(ids)

    def attempts(self, id_: str) -> list[Record]:
        """Attempts that ended without a result, oldest first."""
        return runs.attempts(self.files, id_)

    def write_run(
        self,
        record: Record,
        *,
        metrics: pa.Table | None = None,
        predictions: pa.Table | None = None,
        weights: Path | None = None,
    ) -> Record:
        """Store a done run and return its record; `weights` is a folder of safetensors.

        `record.json` is written last. The first record stays: a later call returns that one and
        writes nothing. (Two calls at the same moment may each have written the tables; runs are
        deterministic, and a lease prevents two processes from training the same run.)

        Raises:
            ValueError: a record that isn't done, other table columns, or other files as weights.
        """
        if record.status != "done":
            raise ValueError(f"run {record.id} is {record.status}; store it with write_attempt")
        data = runs.encoded(record, {"metrics": metrics, "predictions": predictions})
        if weights is not None:
            layout.check_weights(weights)
        if (first := self.find(record.id)) is not None:
            return first
        ensure_marker(self.files)
        return runs.write(self.files, record, data=data, weights=weights)

    def write_attempt(self, record: Record) -> None:
        """Store an attempt that failed, was pruned or was stopped, beside earlier ones."""
        if record.status == "done":
            raise ValueError(f"run {record.id} is done; store it with write_run")
        ensure_marker(self.files)
        runs.write_attempt(self.files, record)

    def withdraw(self, record: Record, damage: Damaged) -> None:
        """Turn a done run with damaged results into a failed one, so that it can run again.

        Its record stays as the record of an attempt.
        """
        failed = {"status": "failed", "cause": "store", "reason": f"was done, but {damage}"}
        self.write_attempt(record.model_copy(update=failed))
        self.files.remove(f"{layout.run(record.id)}/record.json")

    def metrics(self, id_: str) -> pa.Table:
        """Metrics of a done run, with the columns of `tables.METRICS`."""
        return self._table(id_, "metrics")

    def predictions(self, id_: str, part: str | None = None) -> pa.Table:
        """Predictions of a done run, of one part or all: the columns of `tables.PREDICTIONS`."""
        return runs.of_part(self._table(id_, "predictions"), part)

    def weights(self, id_: str) -> str | None:
        """The location of a done run's weights, or None if none were stored."""
        folder = f"{layout.run(id_)}/weights"
        exist = self.files.exists(f"{layout.run(id_)}/record.json") and self.files.find(folder)
        return self.files.locate(folder) if exist else None

    def fetch_weights(self, id_: str, folder: Path) -> Path | None:
        """A done run's weights on this machine: the stored folder, or else a copy under `folder`.

        None if no weights were stored.
        """
        location = self.weights(id_)
        if location is None or Path(location).is_dir():
            return None if location is None else Path(location)
        return runs.fetch(self.files, f"{layout.run(id_)}/weights", folder / id_)

    # --- studies

    def write_trial(self, study_id: str, number: int, data: dict[str, Any]) -> None:
        """Store an ended trial: its `settings`, `state`, `value`, `fits` and further values."""
        ensure_marker(self.files)
        content = json.dumps({**data, "number": number}, indent=1, allow_nan=False)
        path = f"{layout.run(study_id)}/trials/{number}.json"
        self.files.write(path, with_checksum(content.encode()))

    def trials(self, study_id: str) -> list[dict[str, Any]]:
        """A study's trials in order of their `number`, whether the study is done or not."""
        folder = layout.run(study_id)
        names = (path[len(folder) + 1 :] for path in self.files.find(f"{folder}/trials"))
        return read_trials(self.files, study_id, names)

    def trials_of(self, studies: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Study -> its trials in order of their number, for many studies at once."""
        return self.run_snapshot().trials(studies)

    def _table(self, id_: str, kind: str) -> pa.Table:
        if not self.files.exists(f"{layout.run(id_)}/record.json"):
            self.record(id_)  # raises, with the reason
        return runs.table(self.files, id_, kind)
