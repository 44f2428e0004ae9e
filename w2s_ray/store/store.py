"""The store: runs, splits and sweeps under one folder or object-store URI.

    store.json                      format version, written once
    runs/ID/record.json             written last: its presence means done
    runs/ID/attempt-K.json          an attempt that failed, was pruned or was stopped
    runs/ID/{metrics,predictions}.parquet, weights/, trials/NUMBER.json (of a study)
    splits/FINGERPRINT/{rows.parquet,about.json}, the latter last
    sweeps/NAME/DIGEST.json         manifests; the newest by `created_at` counts
    work/FIT/...                    checkpoints of a running fit, gone when it ends
    work/claims/NAME.json           leases: who works on what
    work/live/DRIVER.json           what a running driver says of itself: news, never results
    catalog/                        copies and derived values, for speed; may be deleted any time:
                                    among them the activations of frozen models

What is kept is not updated in place, leftovers of a killed writer are never read, and nothing is
ever unpickled. It knows nothing of queries, of execution or of what a recipe means.
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
from w2s_ray.store.damage import Damaged, unless_damaged
from w2s_ray.store.errors import StoreError, StoreUnavailable
from w2s_ray.store.files import Files, absolute, open_files
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
    """Results under `uri`. Holds nothing but the URI, so it can be sent to workers."""

    uri: str
    pinned: StoreSnapshot | None = field(default=None, repr=False, compare=False)
    """The runs when a snapshot was made; None: they are listed at every read."""

    @classmethod
    def open(cls, uri: str | Path) -> Store:
        """The store at a folder or fsspec URI, which need not exist yet.

        Raises:
            StoreError: it was written by a newer version, or no file system serves the URI.
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
        """Create the store where it isn't there, and prove that it can be written to as we need.

        Raises:
            StoreError: it can't; the message names the folder and the remedy.
        """
        marker.check_writable(self.files, uri=self.uri)

    def snapshot(self) -> Store:
        """This store with its runs as they are now, for consistent reads within one process."""
        return self if self.pinned else Store(self.uri, take_quick_snapshot(self.files))

    def run_snapshot(self) -> StoreSnapshot:
        """The runs as they are now, or as they were when this snapshot was made."""
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
        """Those of `ids` that are done, and whose record can be read."""
        return self.run_snapshot().done_of(ids)

    def run_files(self) -> dict[str, set[str]]:
        """Run id -> files in its folder, of runs that are not done as well."""
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
            StoreError: it is not done, or damaged; the message says why if that is known.
        """
        if (record := runs.find(self.files, id_)) is not None:
            return record
        attempts = self.attempts(id_)
        if not attempts:
            raise StoreError(f"run {id_} is not in {self.uri}")
        last = attempts[-1]
        raise StoreError(f"run {id_} is not done but {last.status}: {last.reason or 'no reason'}")

    def find(self, id_: str) -> Record | None:
        """The record of a run if it is done, else None; a damaged one counts as none."""
        return unless_damaged(lambda: runs.find(self.files, id_))

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Records of the runs that are done: all, or those of `ids`; sorted by id."""
        return self.run_snapshot().records(ids)

    def latest(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """How each run stands: its record if it is done, else its last attempt; sorted by id."""
        return self.run_snapshot().latest(ids)

    def attempts(self, id_: str) -> list[Record]:
        """Attempts that did not end in a result, oldest first."""
        return runs.attempts(self.files, id_)

    def write_run(
        self,
        record: Record,
        *,
        metrics: pa.Table | None = None,
        predictions: pa.Table | None = None,
        weights: Path | None = None,
    ) -> Record:
        """Keep a done run, and give its record; `weights` is a folder of safetensors.

        `record.json` comes last. The first record stays: who comes later gets that one, and what
        it brought is dropped. (Two that end within the same moment may each have written the
        tables; runs are deterministic, and a lease keeps two from training the same.)

        Raises:
            ValueError: a record that isn't done, a table of other columns, weights of other files.
        """
        if record.status != "done":
            raise ValueError(f"run {record.id} is {record.status}; keep it with write_attempt")
        data = runs.encoded(record, {"metrics": metrics, "predictions": predictions})
        if weights is not None:
            layout.check_weights(weights)
        if (first := self.find(record.id)) is not None:
            return first
        ensure_marker(self.files)
        return runs.write(self.files, record, data=data, weights=weights)

    def write_attempt(self, record: Record) -> None:
        """Keep an attempt that failed, was pruned or was stopped, beside earlier ones."""
        if record.status == "done":
            raise ValueError(f"run {record.id} is done; keep it with write_run")
        ensure_marker(self.files)
        runs.write_attempt(self.files, record)

    def withdraw(self, record: Record, damage: Damaged) -> None:
        """Have a done run count as failed, because what it left is damaged; it can be made again.

        Its record stays as that of an attempt.
        """
        late = {"status": "failed", "cause": "store", "reason": f"was done, but {damage}"}
        self.write_attempt(record.model_copy(update=late))
        self.files.remove(f"{layout.run(record.id)}/record.json")

    def metrics(self, id_: str) -> pa.Table:
        """Metrics of a done run, with the columns of `tables.METRICS`."""
        return self._table(id_, "metrics")

    def predictions(self, id_: str, part: str | None = None) -> pa.Table:
        """Predictions of a done run, of one part or all: the columns of `tables.PREDICTIONS`."""
        return runs.of_part(self._table(id_, "predictions"), part)

    def weights(self, id_: str) -> str | None:
        """Where a done run's weights lie, or None where none were kept."""
        folder = f"{layout.run(id_)}/weights"
        kept = self.files.exists(f"{layout.run(id_)}/record.json") and self.files.find(folder)
        return self.files.locate(folder) if kept else None

    def fetch_weights(self, id_: str, folder: Path) -> Path | None:
        """A done run's weights on this machine: where they lie, or else a copy under `folder`.

        None where none were kept.
        """
        kept = self.weights(id_)
        if kept is None or Path(kept).is_dir():
            return None if kept is None else Path(kept)
        return runs.fetch(self.files, f"{layout.run(id_)}/weights", folder / id_)

    # --- studies

    def write_trial(self, study_id: str, number: int, data: dict[str, Any]) -> None:
        """Keep what became of a trial: its `settings`, `state`, `value`, `fits` and what else."""
        ensure_marker(self.files)
        content = json.dumps({**data, "number": number}, indent=1, allow_nan=False)
        path = f"{layout.run(study_id)}/trials/{number}.json"
        self.files.write(path, with_checksum(content.encode()))

    def trials(self, study_id: str) -> list[dict[str, Any]]:
        """A study's trials by number, each with its `number`, whether the study is done or not."""
        folder = layout.run(study_id)
        names = (path[len(folder) + 1 :] for path in self.files.find(f"{folder}/trials"))
        return read_trials(self.files, study_id, names)

    def trials_of(self, studies: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Study -> its trials by number, of many studies at once."""
        return self.run_snapshot().trials(studies)

    def _table(self, id_: str, kind: str) -> pa.Table:
        if not self.files.exists(f"{layout.run(id_)}/record.json"):
            self.record(id_)  # raises, with the reason
        return runs.table(self.files, id_, kind)
