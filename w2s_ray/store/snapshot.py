"""The runs of a store at one moment, read from the catalog and from the runs' own files.

Owns the rule when a catalog's copy is valid: since the copy was made, the run's folder has not
changed, and its split was neither added nor removed. Every other run is read from its own files, so
that reads return the same with a catalog, without one, and while one is being written.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from w2s_ray.store import layout, runs
from w2s_ray.store.damage import none_if_damaged
from w2s_ray.store.files import Files
from w2s_ray.store.listing import Listing
from w2s_ray.store.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

    from w2s_ray.store.catalog_index import Segment
    from w2s_ray.store.parquet_source import ParquetFiles


@dataclass(frozen=True)
class StoreSnapshot:
    """The runs of a store at one moment; all its values are consistent."""

    files: Files
    listing: Listing
    fresh: Mapping[str, frozenset[str]]
    """Run -> the files in its folder, for the runs without a valid copy in a segment."""
    copies: Sequence[Copies]
    """The segments' valid rows, oldest first."""

    @cached_property
    def done(self) -> AbstractSet[str]:
        """Runs that are done."""
        fresh = {id_ for id_, names in self.fresh.items() if "record.json" in names}
        return frozenset(fresh.union(*(copies.done(self.files) for copies in self.copies)))

    @property
    def known(self) -> list[str]:
        """Ids of the runs with a record, an attempt or trials, sorted."""
        fresh = (id_ for id_, names in self.fresh.items() if layout.is_known(names))
        return sorted([*fresh, *(id_ for copies in self.copies for id_ in copies.ids(self.files))])

    def latest(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Each run's record if it is done, else its last attempt; sorted by id."""
        requested = None if ids is None else frozenset(ids)
        parts = [copies.records(self.files, requested) for copies in self.copies]
        merged = heapq.merge(*parts, self._fresh_records(requested), key=lambda record: record.id)
        return iter(merged)

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Records of done runs, sorted by id: of all, or of the runs `ids`."""
        return self.latest(self.done if ids is None else self.done & set(ids))

    def done_of(self, ids: Iterable[str]) -> set[str]:
        """The ids among `ids` of runs that are done and whose record can be read."""
        found = set(ids) & self.done
        unread = found & self.fresh.keys()
        return (found - unread) | {record.id for record in self._fresh_records(unread)}

    def trials(self, studies: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Study -> its trials by number; an empty list for a study without trials."""
        found: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in sorted(set(studies))}
        for copies in self.copies:
            for study, trial in copies.trials(self.files, found.keys()):
                found[study].append(trial)
        for study in found.keys() & self.fresh.keys():
            found[study] = read_trials(self.files, study, self.fresh[study])
        return found

    def fresh_studies(self) -> Iterator[str]:
        """Studies with trials but without a valid copy in a segment, sorted."""
        for id_, names in sorted(self.fresh.items()):
            if any(name.startswith("trials/") for name in names):
                yield id_

    def _fresh_records(self, requested: AbstractSet[str] | None) -> Iterator[Record]:
        chosen = self.fresh if requested is None else self.fresh.keys() & requested
        outcomes = ((id_, layout.outcomes(self.fresh[id_])) for id_ in sorted(chosen))
        paths = [f"{layout.run(id_)}/{names[-1]}" for id_, names in outcomes if names]
        return runs.outcomes(self.files, paths)


@dataclass(frozen=True)
class Copies:
    """A segment, with the information which of its rows are valid."""

    segment: Segment
    gone: AbstractSet[str]
    """Runs whose rows in this segment are no longer valid."""

    @property
    def count(self) -> int:
        """The number of runs with valid rows."""
        return self.segment.runs - len(self.gone)

    def ids(self, files: Files) -> AbstractSet[str]:
        """The runs with valid rows."""
        from w2s_ray.store import catalog_index

        return frozenset(catalog_index.segment_runs(files, self.segment.name).ids) - self.gone

    def done(self, files: Files) -> AbstractSet[str]:
        """The done runs with valid rows."""
        from w2s_ray.store import catalog_index

        return catalog_index.segment_runs(files, self.segment.name).done - self.gone

    def rows(self, files: Files, kind: str) -> ParquetFiles | None:
        """The valid rows of one kind, with the columns of the SQL table; None if there are none."""
        if kind not in self.segment.sizes or not self.count:
            return None
        from w2s_ray.store import catalog_index
        from w2s_ray.store.columns import TABLES
        from w2s_ray.store.parquet_source import ParquetFiles

        path = catalog_index.path(self.segment.name, kind)
        run = catalog_index.RUN_OF[kind]
        return ParquetFiles(files, (path,), TABLES[kind], gone_by=run, gone=self.gone)

    def records(self, files: Files, requested: AbstractSet[str] | None) -> Iterator[Record]:
        """Records of the runs with valid rows, sorted by id: of all, or of those in `requested`."""
        from w2s_ray.store import catalog_index, record_rows

        chosen = self._chosen(files, requested)
        tables = catalog_index.rows_of(
            files, self.segment.name, "runs", record_rows.RECORD_COLUMNS, chosen
        )
        with catalog_index.damage_noted(files, self.segment.name):
            return iter([record for table in tables for record in record_rows.records(table)])
        return self._from_own_files(files, requested)._fresh_records(None)

    def trials(self, files: Files, requested: AbstractSet[str]) -> Iterator[tuple[str, Any]]:
        """Pairs of a study and a trial, of the studies in `requested` with valid rows."""
        from w2s_ray.store import catalog_index

        if "trials" not in self.segment.sizes:
            return iter(())
        columns, chosen = ["study", "trial"], requested - self.gone
        tables = catalog_index.rows_of(files, self.segment.name, "trials", columns, chosen)
        with catalog_index.damage_noted(files, self.segment.name):
            found = [row for table in tables for row in table.to_pylist()]
            return iter([(row["study"], json.loads(row["trial"])) for row in found])
        own = self._from_own_files(files, requested)
        read = ((study, read_trials(files, study, names)) for study, names in own.fresh.items())
        return iter([(study, trial) for study, trials in read for trial in trials])

    def _from_own_files(self, files: Files, requested: AbstractSet[str] | None) -> StoreSnapshot:
        """The runs with valid rows, or those in `requested`, for reading from their own files."""
        ids = self.ids(files) if requested is None else self.ids(files) & requested
        fresh = {id_: _names(files, id_) for id_ in sorted(ids)}
        return StoreSnapshot(files, Listing({}, lambda id_: fresh[id_]), fresh, ())

    def source(self, files: Files) -> Callable[[str], Iterator[pa.Table]]:
        """A function from a kind to the valid rows of that kind, in order."""
        from w2s_ray.store import catalog_index

        def rows(kind: str) -> Iterator[pa.Table]:
            if kind not in self.segment.sizes:
                return iter(())
            names = catalog_index.KINDS[kind].names
            return catalog_index.rows_of(
                files, self.segment.name, kind, names, self._chosen(files, None)
            )

        return rows

    def splits(self, files: Files) -> Iterator[tuple[str, bool]]:
        """Pairs of a split and whether it existed, of the runs with valid rows."""
        from w2s_ray.store import catalog_index

        held, gone = catalog_index.segment_runs(files, self.segment.name), self.gone
        runs = zip(held.ids, held.splits, strict=True)
        used = {split for id_, split in runs if id_ not in gone}
        return ((split, existed) for split, existed in self.segment.splits.items() if split in used)

    def _chosen(self, files: Files, requested: AbstractSet[str] | None) -> AbstractSet[str] | None:
        """The runs in `requested` that may have valid rows; None: all runs of the segment."""
        if requested is not None:
            return requested - self.gone
        return self.ids(files) if self.gone else None


def read_trials(files: Files, study: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """A study's trials by number, from its files `names`; unreadable trials are left out."""
    paths = [f"{layout.run(study)}/{name}" for name in names if name.startswith("trials/")]
    found = (
        none_if_damaged(partial(runs.parsed_trial, path, data, where=files.locate(path)))
        for path, data in zip(paths, files.read_many(paths), strict=True)
    )
    return sorted((trial for trial in found if trial), key=lambda trial: trial["number"])


def take_snapshot(files: Files, *, without: AbstractSet[str] = frozenset()) -> StoreSnapshot:
    """The present runs, read without the segments `without`."""
    from w2s_ray.store import catalog_index

    index, _ = catalog_index.read_index(files)
    listing = files.subfolders("runs")
    usable = tuple(s for s in catalog_index.usable(files, index) if s.name not in without)
    owner = _owners(files, usable, listing) if usable else {}
    others = (id_ for id_ in listing.versions if id_ not in owner and layout.is_name(id_))
    fresh = {id_: listing.names(id_) for id_ in others}
    copies = []
    for place, segment in enumerate(usable):
        ids = catalog_index.segment_runs(files, segment.name).ids
        gone = frozenset(id_ for id_ in ids if owner.get(id_) != place)
        copies.append(Copies(segment, gone))
    return StoreSnapshot(files, listing, fresh, tuple(copies))


def take_quick_snapshot(files: Files) -> StoreSnapshot:
    """The present runs, on the assumption that the files of done runs have not changed.

    If no run was added or removed since the catalog was written, only the runs that were not done
    are read. The manual removal of a record from its folder is then not detected.
    """
    from w2s_ray.store import catalog_index

    index, _ = catalog_index.read_index(files)
    if index.stood is None or files.version("runs") != index.stood:
        return take_snapshot(files)
    usable = catalog_index.usable(files, index)
    if usable != index.segments or _changed_splits(files, usable):
        return take_snapshot(files)
    fresh, copies = set(index.others), []
    for segment in usable:
        not_done = catalog_index.segment_runs(files, segment.name).not_done
        runs = ((id_, version) for id_, version in not_done.items() if id_ not in segment.gone)
        changed = {id_ for id_, known in runs if files.version(f"runs/{id_}") != known}
        fresh |= changed
        copies.append(Copies(segment, changed.union(segment.gone)))
    listing = Listing({}, lambda id_: _names(files, id_))
    return StoreSnapshot(files, listing, {id_: _names(files, id_) for id_ in fresh}, tuple(copies))


def _names(files: Files, id_: str) -> frozenset[str]:
    folder = layout.run(id_)
    return frozenset(path[len(folder) + 1 :] for path in files.find(folder))


def _changed_splits(files: Files, usable: Sequence[Segment]) -> set[str]:
    """Splits of some segments that were added or removed since the segments were written."""
    present = {path.split("/")[1] for path in files.find("splits") if path.endswith("/about.json")}
    existed = {split: then for segment in usable for split, then in segment.splits.items()}
    return {split for split, then in existed.items() if then != (split in present)}


def _owners(files: Files, usable: Sequence[Segment], listing: Listing) -> dict[str, int]:
    """Run -> the place of the newest segment with a valid copy of it."""
    from w2s_ray.store import catalog_index

    owner: dict[str, int] = {}
    for place, segment in enumerate(usable):
        held = catalog_index.segment_runs(files, segment.name)
        changed = _changed_splits(files, [segment])
        for id_, version, split in zip(held.ids, held.versions, held.splits, strict=True):
            if listing.versions.get(id_) == version and split not in changed:
                owner[id_] = place
            else:
                owner.pop(id_, None)
    return owner
