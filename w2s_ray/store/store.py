"""The store: runs, splits and sweeps under one folder or object-store URI.

    store.json                      format version, written once
    runs/ID/record.json             written last: its presence means done
    runs/ID/attempt-K.json          an attempt that failed, was pruned or was stopped
    runs/ID/{metrics,predictions}.parquet, weights/, trials/NUMBER.json (of a study)
    splits/FINGERPRINT/{rows.parquet,about.json}, the latter last
    sweeps/NAME/DIGEST.json         manifests; the newest by `created_at` counts
    work/FIT/...                    checkpoints of a running fit, gone when it ends
    work/claims/NAME.json           leases: who works on what

What is kept is not updated in place, leftovers of a killed writer are never read, and nothing is
ever unpickled. It knows nothing of queries, of execution or of what a recipe means.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from w2s_ray.identity import digest
from w2s_ray.store import layout
from w2s_ray.store.errors import StoreError, StoreUnavailable
from w2s_ray.store.files import Files, absolute, open_files
from w2s_ray.store.records import Manifest, Record, Stored

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T", bound=Stored)


@dataclass(frozen=True)
class Store:
    """Results under `uri`. Holds nothing but the URI, so it can be sent to workers."""

    uri: str

    @classmethod
    def open(cls, uri: str | Path) -> Store:
        """The store at a folder or fsspec URI, which need not exist yet.

        Raises:
            StoreError: it was written by a newer version, or no file system serves the URI.
        """
        store = cls(absolute(str(uri)))
        try:
            marker = json.loads(store.files.read("store.json"))
        except (FileNotFoundError, NotADirectoryError):
            return store
        except StoreUnavailable:
            raise
        except (ImportError, ValueError) as error:
            raise StoreError(f"can't open the store {store.uri}: {error}") from error
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
        try:
            self._mark()
            probe = f"probe-{uuid.uuid4().hex}.json"
            self.files.create(probe, b"{}")
            overwritten = self.files.create(probe, b"{}")
            self.files.remove(probe)
        except Exception as error:  # each object store raises its own kind
            raise StoreError(
                f"can't write to the store {self.uri} ({type(error).__name__}: {error}); "
                "free or permit it, or name another folder or URI as the sweep's `store`"
            ) from error
        if overwritten:
            raise StoreError(
                f"the store {self.uri} ignores conditional writes (If-None-Match), so two writers "
                "would overwrite each other; use a folder, or an object store that has them"
            )

    # --- runs

    def all_done(self) -> set[str]:
        """Ids of every run that is done, by one listing."""
        return {id_ for id_, names in self.run_files().items() if "record.json" in names}

    def done(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are done."""
        return set(ids) & self.all_done()

    def run_files(self) -> dict[str, set[str]]:
        """Run id -> files in its folder, of runs that are not done as well."""
        found: dict[str, set[str]] = {}
        for path in self.files.find("runs"):
            _, id_, *rest = path.split("/")
            found.setdefault(id_, set()).add("/".join(rest))
        return found

    def resolve_id(self, prefix: str) -> str:
        """The run whose id begins with `prefix`.

        Raises:
            StoreError: no run, or more than one.
        """
        known = [id_ for id_, names in self.run_files().items() if layout.is_known(names)]
        return layout.match_id(prefix, known, uri=self.uri)

    def record(self, id_: str) -> Record:
        """The record of a done run.

        Raises:
            StoreError: it is not done; the message says why if that is known.
        """
        try:
            return self._parsed(Record, f"{layout.run(id_)}/record.json")
        except FileNotFoundError:
            attempts = self.attempts(id_)
        if not attempts:
            raise StoreError(f"run {id_} is not in {self.uri}")
        last = attempts[-1]
        raise StoreError(f"run {id_} is not done but {last.status}: {last.reason or 'no reason'}")

    def find(self, id_: str) -> Record | None:
        """The record of a run if it is done, else None."""
        try:
            return self._parsed(Record, f"{layout.run(id_)}/record.json")
        except FileNotFoundError:
            return None

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Records of the runs that are done: all, or those of `ids`; sorted by id."""
        done = self.all_done() if ids is None else self.done(ids)
        return self._parsed_many(Record, [f"{layout.run(id_)}/record.json" for id_ in sorted(done)])

    def latest(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """How each run stands: its record if it is done, else its last attempt; sorted by id."""
        files = self.run_files()
        chosen = files if ids is None else files.keys() & set(ids)
        paths = [
            f"{layout.run(id_)}/{layout.outcomes(files[id_])[-1]}"
            for id_ in sorted(chosen)
            if layout.outcomes(files[id_])
        ]
        return self._parsed_many(Record, paths)

    def attempts(self, id_: str) -> list[Record]:
        """Attempts that did not end in a result, oldest first."""
        found = {path.rsplit("/", 1)[1] for path in self.files.find(layout.run(id_))}
        names = [name for name in layout.outcomes(found) if name != "record.json"]
        return list(self._parsed_many(Record, [f"{layout.run(id_)}/{name}" for name in names]))

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
        from w2s_ray.store import tables

        if record.status != "done":
            raise ValueError(f"run {record.id} is {record.status}; keep it with write_attempt")
        folder, data = layout.run(record.id), {}
        for name, table in (("metrics", metrics), ("predictions", predictions)):
            if table is not None:
                what = f"{name} of run {record.id}"
                fitting = tables.conform(table, tables.OF_RUN[name], what=what)
                data[f"{folder}/{name}.parquet"] = tables.to_parquet(fitting)
        if weights is not None:
            layout.check_weights(weights)
        if (first := self.find(record.id)) is not None:
            return first
        self._mark()
        sizes = {path.rsplit("/", 1)[1]: len(content) for path, content in data.items()}
        for path, content in data.items():
            self.files.write(path, content)
        if weights is not None:
            self.files.write_folder(f"{folder}/weights", weights)
            files = [path for path in weights.rglob("*") if path.is_file()]
            sizes["weights"] = sum(path.stat().st_size for path in files)
        record = record.model_copy(update={"bytes": sizes})
        if self.files.create(f"{folder}/record.json", record.to_json()):
            return record
        return self._parsed(Record, f"{folder}/record.json")

    def write_attempt(self, record: Record) -> None:
        """Keep an attempt that failed, was pruned or was stopped, beside earlier ones."""
        if record.status == "done":
            raise ValueError(f"run {record.id} is done; keep it with write_run")
        self._mark()
        folder = layout.run(record.id)
        number = layout.next_attempt(self.files.find(folder))
        while not self.files.create(f"{folder}/attempt-{number}.json", record.to_json()):
            number += 1

    def metrics(self, id_: str) -> pa.Table:
        """Metrics of a done run, with the columns of `tables.METRICS`."""
        return self._table(id_, "metrics")

    def predictions(self, id_: str, part: str | None = None) -> pa.Table:
        """Predictions of a done run, of one part or all: the columns of `tables.PREDICTIONS`."""
        table = self._table(id_, "predictions")
        if part is None:
            return table
        import pyarrow as pa
        import pyarrow.compute as pc

        return table.filter(pc.call_function("equal", [table["part"], pa.scalar(part)]))

    def weights(self, id_: str) -> str | None:
        """Where a done run's weights lie, or None where none were kept."""
        folder = f"{layout.run(id_)}/weights"
        kept = self.files.exists(f"{layout.run(id_)}/record.json") and self.files.find(folder)
        return self.files.locate(folder) if kept else None

    # --- studies

    def write_trial(self, study_id: str, number: int, data: dict[str, Any]) -> None:
        """Keep what became of a trial: its `settings`, `state`, `value`, `fits` and what else."""
        self._mark()
        content = json.dumps({**data, "number": number}, indent=1, allow_nan=False)
        self.files.write(f"{layout.run(study_id)}/trials/{number}.json", content.encode())

    def trials(self, study_id: str) -> list[dict[str, Any]]:
        """A study's trials by number, each with its `number`, whether the study is done or not."""
        paths = self.files.find(f"{layout.run(study_id)}/trials")
        trials = [json.loads(data) for data in self.files.read_many(paths)]
        return sorted(trials, key=lambda trial: trial["number"])

    # --- splits

    def write_split(self, fingerprint: str, rows: pa.Table, about: dict[str, Any]) -> None:
        """Keep the rows of a split, once; `about` names the task, its source and its options."""
        from w2s_ray.store import tables

        if self.has_split(fingerprint):
            return
        self._mark()
        rows = tables.conform(rows, tables.SPLIT_ROWS, what=f"split {fingerprint}")
        self.files.write(f"{layout.split(fingerprint)}/rows.parquet", tables.to_parquet(rows))
        content = json.dumps(about, indent=1, allow_nan=False)
        self.files.write(f"{layout.split(fingerprint)}/about.json", content.encode())

    def has_split(self, fingerprint: str) -> bool:
        return self.files.exists(f"{layout.split(fingerprint)}/about.json")

    def split(self, fingerprint: str) -> pa.Table:
        """The rows of a split, with the columns of `tables.SPLIT_ROWS`."""
        from w2s_ray.store import tables

        self._check_split(fingerprint)
        return tables.from_parquet(self.files.read(f"{layout.split(fingerprint)}/rows.parquet"))

    def split_about(self, fingerprint: str) -> dict[str, Any]:
        """What `write_split` was told about the split."""
        self._check_split(fingerprint)
        return json.loads(self.files.read(f"{layout.split(fingerprint)}/about.json"))

    def split_fingerprints(self) -> list[str]:
        """Every split that is there whole."""
        paths = self.files.find("splits")
        return [path.split("/")[1] for path in paths if path.endswith("/about.json")]

    # --- sweeps

    def write_manifest(self, manifest: Manifest) -> None:
        """Keep a sweep's manifest; nothing is written where the latest one says the same."""
        said = manifest.model_dump(mode="json", exclude={"created_at"})
        earlier = self.manifests(manifest.name)
        if earlier and earlier[-1].model_dump(mode="json", exclude={"created_at"}) == said:
            return
        self._mark()
        name = digest(manifest.model_dump(mode="json"))[:20]
        self.files.write(f"sweeps/{layout.name(manifest.name)}/{name}.json", manifest.to_json())

    def manifests(self, name: str | None = None) -> list[Manifest]:
        """Manifests of one sweep or of all, oldest first."""
        paths = self.files.find("sweeps" if name is None else f"sweeps/{layout.name(name)}")
        found = self._parsed_many(Manifest, paths)
        return sorted(found, key=lambda manifest: manifest.created_at)

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
        return sorted({path.split("/")[1] for path in self.files.find("sweeps")})

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
        return found - {layout.CLAIMS}

    # --- within

    @property
    def files(self) -> Files:
        return open_files(self.uri)

    def _mark(self) -> None:
        if not self.files.exists("store.json"):
            marker = {"format": layout.FORMAT, "written_by": "w2s_ray"}
            self.files.write("store.json", json.dumps(marker).encode())

    def _parsed(self, model: type[T], path: str) -> T:
        return layout.parse(model, self.files.read(path), where=self.files.locate(path))

    def _parsed_many(self, model: type[T], paths: Sequence[str]) -> Iterator[T]:
        files = self.files
        for path, data in zip(paths, files.read_many(paths), strict=True):
            yield layout.parse(model, data, where=files.locate(path))

    def _check_split(self, fingerprint: str) -> None:
        if not self.has_split(fingerprint):
            raise StoreError(f"split {fingerprint} is not in {self.uri}; its sweep makes it")

    def _table(self, id_: str, name: str) -> pa.Table:
        from w2s_ray.store import tables

        folder = layout.run(id_)
        if not self.files.exists(f"{folder}/record.json"):
            self.record(id_)  # raises, with the reason
        try:
            return tables.from_parquet(self.files.read(f"{folder}/{name}.parquet"))
        except FileNotFoundError:
            raise StoreError(f"run {id_} has no {name}; a study has none") from None
