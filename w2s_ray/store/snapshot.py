"""The runs of a store at one moment, read from the catalog and from the runs' own files.

Owns the rule when a catalog's copy is valid: the run's folder has not changed since the copy was
made, nor has the presence of its split. Every other run is read from its own files, so that reads
give the same with a catalog, without one, and while one is being written.
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
from w2s_ray.store.damage import unless_damaged
from w2s_ray.store.files import Files
from w2s_ray.store.listing import Listing
from w2s_ray.store.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

    from w2s_ray.store.catalog_index import Segment
    from w2s_ray.store.parquet_source import ParquetFiles


@dataclass(frozen=True)
class StoreSnapshot:
    """The runs of a store as they were when it was made; all its values are consistent."""

    files: Files
    listing: Listing
    fresh: Mapping[str, frozenset[str]]
    """Run -> the files in its folder, of the runs that no segment covers."""
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
        wanted = None if ids is None else frozenset(ids)
        parts = [copies.records(self.files, wanted) for copies in self.copies]
        merged = heapq.merge(*parts, self._fresh_records(wanted), key=lambda record: record.id)
        return iter(merged)

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """Records of the runs that are done: all, or those of `ids`; sorted by id."""
        return self.latest(self.done if ids is None else self.done & set(ids))

    def done_of(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are done, and whose record can be read."""
        found = set(ids) & self.done
        unread = found & self.fresh.keys()
        return (found - unread) | {record.id for record in self._fresh_records(unread)}

    def trials(self, studies: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Study -> its trials by number; of a study without any, none."""
        found: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in sorted(set(studies))}
        for copies in self.copies:
            for study, trial in copies.trials(self.files, found.keys()):
                found[study].append(trial)
        for study in found.keys() & self.fresh.keys():
            found[study] = read_trials(self.files, study, self.fresh[study])
        return found

    def fresh_studies(self) -> Iterator[str]:
        """Studies with trials that no segment covers, sorted."""
        for id_, names in sorted(self.fresh.items()):
            if any(name.startswith("trials/") for name in names):
                yield id_

    def _fresh_records(self, wanted: AbstractSet[str] | None) -> Iterator[Record]:
        chosen = self.fresh if wanted is None else self.fresh.keys() & wanted
        outcomes = ((id_, layout.outcomes(self.fresh[id_])) for id_ in sorted(chosen))
        paths = [f"{layout.run(id_)}/{names[-1]}" for id_, names in outcomes if names]
        return runs.outcomes(self.files, paths)


@dataclass(frozen=True)
class Copies:
    """One segment, and which of its rows are valid."""

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

        return frozenset(catalog_index.held(files, self.segment.name).ids) - self.gone

    def done(self, files: Files) -> AbstractSet[str]:
        """Those of them that are done."""
        from w2s_ray.store import catalog_index

        return catalog_index.held(files, self.segment.name).done - self.gone

    def rows(self, files: Files, kind: str) -> ParquetFiles | None:
        """The valid rows of one kind, in the columns that SQL sees; None if there are none."""
        if kind not in self.segment.sizes or not self.count:
            return None
        from w2s_ray.store import catalog_index
        from w2s_ray.store.columns import TABLES
        from w2s_ray.store.parquet_source import ParquetFiles

        path = catalog_index.path(self.segment.name, kind)
        run = catalog_index.RUN_OF[kind]
        return ParquetFiles(files, (path,), TABLES[kind], gone_by=run, gone=self.gone)

    def records(self, files: Files, wanted: AbstractSet[str] | None) -> Iterator[Record]:
        """Records of the runs with valid rows, those of `wanted` if given; sorted by id."""
        from w2s_ray.store import catalog_index, record_rows

        chosen = self._chosen(files, wanted)
        tables = catalog_index.rows_of(
            files, self.segment.name, "runs", record_rows.RECORD_COLUMNS, chosen
        )
        with catalog_index.damage_noted(files, self.segment.name):
            return iter([record for table in tables for record in record_rows.records(table)])
        return self._own(files, wanted)._fresh_records(None)

    def trials(self, files: Files, wanted: AbstractSet[str]) -> Iterator[tuple[str, Any]]:
        """Study and trial, of the studies `wanted` with valid rows."""
        from w2s_ray.store import catalog_index

        if "trials" not in self.segment.sizes:
            return iter(())
        columns, chosen = ["study", "trial"], wanted - self.gone
        tables = catalog_index.rows_of(files, self.segment.name, "trials", columns, chosen)
        with catalog_index.damage_noted(files, self.segment.name):
            found = [row for table in tables for row in table.to_pylist()]
            return iter([(row["study"], json.loads(row["trial"])) for row in found])
        own = self._own(files, wanted)
        read = ((study, read_trials(files, study, names)) for study, names in own.fresh.items())
        return iter([(study, trial) for study, trials in read for trial in trials])

    def _own(self, files: Files, wanted: AbstractSet[str] | None) -> StoreSnapshot:
        """The runs with valid rows, or those of them that are `wanted`, by their own files."""
        ids = self.ids(files) if wanted is None else self.ids(files) & wanted
        fresh = {id_: _names(files, id_) for id_ in sorted(ids)}
        return StoreSnapshot(files, Listing({}, lambda id_: fresh[id_]), fresh, ())

    def source(self, files: Files) -> Callable[[str], Iterator[pa.Table]]:
        """A function that yields its valid rows of a kind, in order."""
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
        """Split, and whether it was there, of the runs with valid rows."""
        from w2s_ray.store import catalog_index

        held, gone = catalog_index.held(files, self.segment.name), self.gone
        runs = zip(held.ids, held.splits, strict=True)
        used = {split for id_, split in runs if id_ not in gone}
        return ((split, there) for split, there in self.segment.splits.items() if split in used)

    def _chosen(self, files: Files, wanted: AbstractSet[str] | None) -> AbstractSet[str] | None:
        """Those of `wanted` that may have valid rows; None for all of the segment."""
        if wanted is not None:
            return wanted - self.gone
        return self.ids(files) if self.gone else None


def read_trials(files: Files, study: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """A study's trials by number, from those of its files that are trials and can be read."""
    paths = [f"{layout.run(study)}/{name}" for name in names if name.startswith("trials/")]
    found = (
        unless_damaged(partial(runs.parsed_trial, path, data, where=files.locate(path)))
        for path, data in zip(paths, files.read_many(paths), strict=True)
    )
    return sorted((trial for trial in found if trial), key=lambda trial: trial["number"])


def take_snapshot(files: Files, *, without: AbstractSet[str] = frozenset()) -> StoreSnapshot:
    """The runs now, as if the segments `without` were not there."""
    from w2s_ray.store import catalog_index

    index, _ = catalog_index.read_index(files)
    listing = files.subfolders("runs")
    usable = tuple(s for s in catalog_index.usable(files, index) if s.name not in without)
    owner = _owners(files, usable, listing) if usable else {}
    others = (id_ for id_ in listing.versions if id_ not in owner and layout.is_name(id_))
    fresh = {id_: listing.names(id_) for id_ in others}
    copies = []
    for place, segment in enumerate(usable):
        ids = catalog_index.held(files, segment.name).ids
        gone = frozenset(id_ for id_ in ids if owner.get(id_) != place)
        copies.append(Copies(segment, gone))
    return StoreSnapshot(files, listing, fresh, tuple(copies))


def take_quick_snapshot(files: Files) -> StoreSnapshot:
    """The runs now, provided that a done run's files are as they were written.

    Where no run came or went since the catalog was written, only those that were not done are
    read. A record that was removed from its folder by hand is not noticed then.
    """
    from w2s_ray.store import catalog_index

    index, _ = catalog_index.read_index(files)
    if index.stood is None or files.version("runs") != index.stood:
        return take_snapshot(files)
    usable = catalog_index.usable(files, index)
    if usable != index.segments or _others(files, usable):
        return take_snapshot(files)
    fresh, copies = set(index.others), []
    for segment in usable:
        not_done = catalog_index.held(files, segment.name).not_done
        runs = ((id_, version) for id_, version in not_done.items() if id_ not in segment.gone)
        changed = {id_ for id_, known in runs if files.version(f"runs/{id_}") != known}
        fresh |= changed
        copies.append(Copies(segment, changed.union(segment.gone)))
    listing = Listing({}, lambda id_: _names(files, id_))
    return StoreSnapshot(files, listing, {id_: _names(files, id_) for id_ in fresh}, tuple(copies))


def _names(files: Files, id_: str) -> frozenset[str]:
    folder = layout.run(id_)
    return frozenset(path[len(folder) + 1 :] for path in files.find(folder))


def _others(files: Files, usable: Sequence[Segment]) -> dict[str, bool]:
    """Splits of some segments that are there now and weren't then, or the other way round."""
    there = {path.split("/")[1] for path in files.find("splits") if path.endswith("/about.json")}
    known = {split: labelled for segment in usable for split, labelled in segment.splits.items()}
    return {split: labelled for split, labelled in known.items() if labelled != (split in there)}


def _owners(files: Files, usable: Sequence[Segment], listing: Listing) -> dict[str, int]:
    """Run -> the place of the newest segment with a valid copy of it."""
    from w2s_ray.store import catalog_index

    owner: dict[str, int] = {}
    for place, segment in enumerate(usable):
        held = catalog_index.held(files, segment.name)
        other = _others(files, [segment])
        for id_, version, split in zip(held.ids, held.versions, held.splits, strict=True):
            if listing.versions.get(id_) == version and split not in other:
                owner[id_] = place
            else:
                owner.pop(id_, None)
    return owner
