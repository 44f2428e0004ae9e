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
    catalog/                        copies and derived values, for speed; may be deleted any time

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

from w2s_ray.store import layout, runs, sweeps, write_check
from w2s_ray.store.checksums import with_checksum
from w2s_ray.store.damage import Damaged, unless_damaged
from w2s_ray.store.errors import StoreError, StoreUnavailable
from w2s_ray.store.files import Files, absolute, open_files
from w2s_ray.store.records import Manifest, Record
from w2s_ray.store.snapshot import StoreSnapshot, quick_standing, read_trials, standing

if TYPE_CHECKING:
    import pyarrow as pa

    from w2s_ray.store.compaction import Compaction


@dataclass(frozen=True)
class Store:
    """Results under `uri`. Holds nothing but the URI, so it can be sent to workers."""

    uri: str
    stands: StoreSnapshot | None = field(default=None, repr=False, compare=False)
    """How the runs stood when a snapshot was made; None: they are listed whenever it matters."""

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
            marker = json.loads(data)
        except (ValueError, RecursionError):
            marker = None
        layout.check_format(marker, store.uri)
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
        write_check.check_writable(self.files, mark=self._mark, uri=self.uri)

    # --- runs

    def all_done(self) -> AbstractSet[str]:
        """Ids of every run that is done."""
        return self.standing().done

    def done(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are done, and whose record can be read."""
        return self.standing().done_of(ids)

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
        return layout.match_id(prefix, self.standing().known, uri=self.uri)

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
        return self.standing().records(ids)

    def latest(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """How each run stands: its record if it is done, else its last attempt; sorted by id."""
        return self.standing().latest(ids)

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
        self._mark()
        return runs.write(self.files, record, data=data, weights=weights)

    def write_attempt(self, record: Record) -> None:
        """Keep an attempt that failed, was pruned or was stopped, beside earlier ones."""
        if record.status == "done":
            raise ValueError(f"run {record.id} is done; keep it with write_run")
        self._mark()
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
        self._mark()
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
        return self.standing().trials(studies)

    # --- sweeps and their splits

    def write_split(self, fingerprint: str, rows: pa.Table, about: dict[str, Any]) -> None:
        """Keep the rows of a split, once; `about` names the task, its source and its options.

        Rows that are there and are damaged are replaced.
        """
        if self.whole_split(fingerprint) is not None:
            return
        self._mark()
        sweeps.write_split(self.files, fingerprint, rows, about)

    def has_split(self, fingerprint: str) -> bool:
        return sweeps.has_split(self.files, fingerprint)

    def whole_split(self, fingerprint: str) -> pa.Table | None:
        """The rows of a split that is there and can be read; None where it isn't."""
        if not self.has_split(fingerprint):
            return None
        if unless_damaged(lambda: self.split_about(fingerprint)) is None:
            return None
        return unless_damaged(lambda: self.split(fingerprint))

    def split(self, fingerprint: str) -> pa.Table:
        """The rows of a split, with the columns of `tables.SPLIT_ROWS`."""
        self._check_split(fingerprint)
        return sweeps.split_rows(self.files, fingerprint)

    def split_about(self, fingerprint: str) -> dict[str, Any]:
        """What `write_split` was told about the split."""
        self._check_split(fingerprint)
        return sweeps.split_about(self.files, fingerprint)

    def split_fingerprints(self) -> list[str]:
        """Every split that is there whole."""
        return sweeps.fingerprints(self.files)

    def write_manifest(self, manifest: Manifest) -> None:
        """Keep a sweep's manifest; nothing is written where the latest one says the same."""
        self._mark()
        sweeps.write_manifest(self.files, manifest)

    def manifests(self, name: str | None = None) -> list[Manifest]:
        """Manifests of one sweep or of all, oldest first."""
        return sweeps.manifests(self.files, name)

    def latest_manifest(self, name: str) -> Manifest:
        """The newest manifest of a sweep.

        Raises:
            StoreError: no such sweep; the message lists those that are there.
        """
        found = self.manifests(name)
        if not found:
            known = ", ".join(self.sweep_names()) or "none"
            raise StoreError(f"no sweep {name!r} in {self.uri}; its sweeps are: {known}")
        return found[-1]

    def sweep_names(self) -> list[str]:
        """Names of the sweeps that were started here."""
        return sweeps.names(self.files)

    # --- what is kept to save time

    def compact(self) -> Compaction:
        """Copy runs to few large files, from which they are read faster; see `compaction`."""
        from w2s_ray.store.compaction import compact

        self.check_readable()
        return compact(self.files)

    def snapshot(self) -> Store:
        """This store, whose runs are listed once: to whoever reads, they stand as they do now.

        It is for reading within one process, and for reading many things that should fit together.
        """
        return self if self.stands else Store(self.uri, quick_standing(self.files))

    def standing(self) -> StoreSnapshot:
        """How the runs stand now; in a snapshot, how they stood."""
        return self.stands or standing(self.files)

    def derived(self, name: str) -> pa.Table | None:
        """A table kept by `put_derived`; None where none is, or where it is damaged."""
        from w2s_ray.store import table_cache

        return table_cache.read(self.files, name)

    def put_derived(self, name: str, table: pa.Table) -> None:
        """Keep a table that can be computed again, replacing the one of that name in one step.

        It is kept for speed alone: of two writers the last one stays, and it may vanish.
        """
        from w2s_ray.store import table_cache

        self._mark()
        table_cache.write(self.files, name, table)

    # --- what a fit keeps while it runs

    def work_size(self, fit_id: str) -> int:
        """Bytes that a fit keeps under `work/` at present."""
        return sum(self.files.sizes(layout.work(fit_id)).values())

    def clear_work(self, fit_id: str) -> None:
        """Remove all that a fit kept to go on with."""
        self.files.remove_folder(layout.work(fit_id))

    def work_left(self) -> set[str]:
        """Ids of the fits that keep something to go on with."""
        found = {path.split("/")[1] for path in self.files.find("work")}
        return found - {layout.CLAIMS, layout.LIVE}

    # --- within

    @property
    def files(self) -> Files:
        return open_files(self.uri)

    def _mark(self) -> None:
        if not self.files.exists("store.json"):
            marker = {"format": layout.FORMAT, "written_by": "w2s_ray"}
            self.files.write("store.json", json.dumps(marker).encode())

    def _check_split(self, fingerprint: str) -> None:
        sweeps.check_split(self.files, fingerprint, uri=self.uri)

    def _table(self, id_: str, kind: str) -> pa.Table:
        if not self.files.exists(f"{layout.run(id_)}/record.json"):
            self.record(id_)  # raises, with the reason
        return runs.table(self.files, id_, kind)
