"""What a store remembers: the outcome of a run, the cells of a sweep, and the sweep itself.

Owns three frozen models and their JSON form. A record says what happened to a run, done or not;
a manifest says which runs a sweep's cells are made of. They hold facts as they were observed and
know nothing of where they are kept, of how a run is executed, or of PGR.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from w2s_ray.identity import IDENTITY_VERSION, run_id
from w2s_ray.store.checksums import with_checksum

Status = Literal["done", "failed", "pruned", "stopped"]
"""done: all results are there. failed: an error. pruned: the study gave up on it. stopped: ended
from outside, by a limit or by a user."""

Objective = Literal["none", "transfer", "weak_validation", "oracle"]
"""What chose a method's settings; `none` = nothing was searched."""

Figure = float | int | str | bool | None
"""A value of a record's summary."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Ids, fingerprints and sweep names: they are file names in the store."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]

CLOCKS_S = 600.0
"""Clocks of two machines are taken to differ by less."""


def utc_now() -> str:
    """The present as the store writes it: ISO 8601 in UTC, with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _utc(value: str) -> str:
    """`value` in UTC and in one notation, so that times compare as text."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"the time {value!r} has no UTC offset; write it as 2026-01-31T12:00:00Z")
    try:
        return moment.astimezone(UTC).isoformat(timespec="microseconds")
    except OverflowError as error:
        raise ValueError(f"the time {value!r} is out of range") from error


def time_order(moment: str) -> tuple[bool, str]:
    """Sort key of a recorded time; one beyond now is of a wrong clock, and sorts as the oldest."""
    latest = datetime.now(UTC) + timedelta(seconds=CLOCKS_S)
    return moment <= latest.isoformat(timespec="microseconds"), moment


Moment = Annotated[str, AfterValidator(_utc)]


class Stored(BaseModel):
    """Base of everything that is kept as JSON: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def to_json(self) -> bytes:
        """The JSON that the store keeps: indented, to be read by eye, with a checksum."""
        return with_checksum(self.model_dump_json(indent=1).encode())


_SHAPES = {
    **dict.fromkeys(("training", "labels", "loss", "early_stopping", "space"), dict),
    **dict.fromkeys(("split", "train_on", "model", "scheduler"), str),
    "warm_start": list,
}
"""Keys of a recipe that readers look into -> the type of their values, unless they are null."""


class Record(Stored):
    """The outcome of one run: what it was, how it ran and what came out."""

    id: Name
    kind: Literal["fit", "study"]
    status: Status
    cause: str | None = None
    """What kind of thing ended a failed attempt: diverged, error, worker_died, node_lost,
    preempted, out_of_memory, stalled, disk_full or store."""
    reason: str | None = None
    """Why it is not done, in one line; for a done run, why it ended early."""
    traceback: str | None = None
    recipe: dict[str, Any]
    """What was hashed into the id."""
    parents: tuple[Name, ...] = ()
    """Ids of the runs whose results this one used."""
    about: dict[str, Any] = {}
    """Names to display: task, model, weak, method, ..."""
    execution: dict[str, Any] = {}
    """How it ran; not hashed."""
    summary: dict[str, Figure] = {}
    """Final figures. Fits: test_accuracy, validation_accuracy (ground truth), validation_agreement
    (the labels that steer), steps, total_steps, best_step, parameters."""
    environment: dict[str, Any] = {}
    """Versions, devices, host: what a reader needs to explain a difference."""
    started_at: Moment
    ended_at: Moment
    seconds: float = Field(ge=0)
    """Wall-clock time of this attempt."""
    device_seconds: float = Field(default=0.0, ge=0)
    """Seconds times devices held."""
    bytes: dict[str, int] = {}
    """Size of what the store keeps of a done run beside its record, by file: metrics.parquet,
    predictions.parquet, weights (all of the folder)."""
    attempts: int = Field(default=1, ge=1)
    """How often the run was tried, this time included."""
    retries: dict[str, int] = {}
    """Cause -> how many of its earlier attempts it ended."""
    identity_version: int

    @field_validator("recipe")
    @classmethod
    def _has_its_shape(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        """What readers look into is what they take it for, whoever wrote the record."""
        for key, kind in _SHAPES.items():
            if not isinstance(recipe.get(key), kind | None):
                raise ValueError(f"its recipe's {key} is no {kind.__name__}")
        source = (recipe.get("labels") or {}).get("source")
        if not isinstance(source, str | list | tuple | None):
            raise ValueError("its recipe's labels.source is neither a name nor a list")
        return recipe

    @property
    def fits_its_id(self) -> bool:
        """Whether its id is the hash of its recipe; not known of other versions of identity."""
        if self.identity_version != IDENTITY_VERSION:
            return True
        return run_id(kind=self.kind, recipe=self.recipe) == self.id

    @property
    def labels(self) -> str | None:
        """`ground_truth`, `none`, or the ids, joined by `+`, of the fits that labelled its rows."""
        source = (self.recipe.get("labels") or {}).get("source")
        return "+".join(source) if isinstance(source, list | tuple) else source

    @property
    def labelled_by(self) -> tuple[str, ...]:
        """Ids of the fits whose predictions are its labels."""
        source = (self.recipe.get("labels") or {}).get("source")
        return tuple(source) if isinstance(source, list | tuple) else ()


class Cell(Stored):
    """One entry of a sweep's grid: who taught whom, by which method, with which seed."""

    task: str
    weak: str
    strong: str
    method: str
    seed: int
    objective: Objective = "none"
    searched: bool = False
    """True: the study trained this very task and pair, so their labels chose the setting."""
    study: Name | None = None
    supervisor: Name
    ceiling: Name
    student: Name | None = None
    """None: not known yet, because the study that chooses its settings is not done."""


class Manifest(Stored):
    """A sweep as it was started: its file and the runs that its cells are made of."""

    name: Name
    sweep_text: str
    """The sweep file, word for word."""
    created_at: Moment
    cells: tuple[Cell, ...]
