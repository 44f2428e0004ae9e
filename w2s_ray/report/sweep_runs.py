"""The runs of a sweep: of its cells, of the trials of its studies, and all others that these use.

Owns which runs a sweep consists of, as `w2s plan` and `w2s cost` count them, their roles, and which
of them the sweep reused. Figures and times are computed elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from w2s_ray.store import Manifest, Record, Store

_CELL_ROLES = ("supervisor", "ceiling", "student")
_STEP = "step"
"""The role of a fit that is in no cell: pretraining, an intermediate model, or a further supervisor
of an ensemble."""


@dataclass(frozen=True)
class SweepRuns:
    """A sweep's runs."""

    roles: Mapping[str, tuple[str, ...]]
    """Run id -> its roles in the sweep, done or not: runs of cells first, in the cells' order."""
    records: Mapping[str, Record]
    """Run id -> its latest record, for runs that were tried."""
    started_at: str
    """The sweep's first start."""

    @property
    def studies(self) -> dict[str, str]:
        """Study id -> the method or the roles whose settings it chooses."""
        return {
            id_: str(self.records[id_].about.get("method") if id_ in self.records else None)
            for id_, roles in self.roles.items()
            if "study" in roles
        }

    @property
    def fits(self) -> dict[str, str]:
        """Fit id -> its roles as one text."""
        return {
            id_: " and ".join(roles) for id_, roles in self.roles.items() if "study" not in roles
        }

    def is_reused(self, id_: str) -> bool:
        """Whether the run was done before the sweep's first start."""
        record = self.records.get(id_)
        if record is None or record.status != "done":
            return False
        return record.ended_at < self.started_at


def sweep_runs(store: Store, sweep: str) -> SweepRuns:
    """The runs of a sweep's latest manifest.

    Raises:
        StoreError: no such sweep.
    """
    manifest = store.manifests.latest(sweep)
    roles = _of_cells(manifest, store)
    roles |= {step: {} for step in manifest.steps or () if step not in roles}
    records = {record.id: record for record in store.latest(roles)}
    if manifest.steps is None:
        for record in _ancestors(records, store):
            roles[record.id], records[record.id] = {}, record
    for id_, of_run in roles.items():
        if not of_run:
            about = records[id_].about if id_ in records else {}
            of_run.update(dict.fromkeys(about.get("roles") or (_STEP,)))
    return SweepRuns(
        {id_: tuple(of_run) for id_, of_run in roles.items()},
        records,
        min(each.created_at for each in store.manifests.all(sweep)),
    )


def _ancestors(records: Mapping[str, Record], store: Store) -> Iterator[Record]:
    """The fits that `records` depend on, directly or not, and that are not among them."""
    seen = set(records)
    latest: Iterable[Record] = records.values()
    while new := {parent for record in latest for parent in record.parents} - seen:
        seen |= new
        latest = [record for record in store.latest(new) if record.kind == "fit"]
        yield from latest


def _of_cells(manifest: Manifest, store: Store) -> dict[str, dict[str, None]]:
    """The runs of the cells, their studies, and the fits of these studies' trials."""
    roles: dict[str, dict[str, None]] = {}
    for cell in manifest.cells:
        for role in _CELL_ROLES:
            id_ = getattr(cell, role)
            if id_ is not None:
                roles.setdefault(id_, {})[role] = None
        for study in cell.studies:
            roles.setdefault(study, {})["study"] = None
    for study in [id_ for id_, of_run in roles.items() if "study" in of_run]:
        for trial in store.trials(study):
            for fit in trial["fits"]:
                roles.setdefault(fit, {})["trial"] = None
    return roles
