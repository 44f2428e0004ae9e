"""The stored values: the outcome of a run, the cells of a sweep, and the sweep itself.

Owns three frozen models and their JSON form. A record describes a run, done or not; a manifest
lists the runs that a sweep's cells consist of. They hold observed facts; they read no files, run
nothing and compute no PGR.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from w2s_ray.identity import IDENTITY_VERSION, run_id
from w2s_ray.store.checksums import with_checksum

Status = Literal["done", "failed", "pruned", "stopped"]
"""done: all results are stored. failed: an error. pruned: the study ended it early. stopped: a
limit or a user ended it."""

Objective = Literal["none", "transfer", "weak_validation", "oracle"]
"""The objective that chose a method's settings; `none` = there was no search."""

Figure = float | int | str | bool | None
"""A value of a record's summary."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""The pattern of ids, fingerprints and sweep names, which are file names in the store."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]

CLOCKS_S = 600.0
"""Largest assumed difference between the clocks of two machines."""


def utc_now() -> str:
    """The present time in the store's format: ISO 8601 in UTC, with microseconds."""
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
    """Sort key of a recorded time; a future time comes from a wrong clock and sorts first."""
    latest = datetime.now(UTC) + timedelta(seconds=CLOCKS_S)
    return moment <= latest.isoformat(timespec="microseconds"), moment


Moment = Annotated[str, AfterValidator(_utc)]


class Stored(BaseModel):
    """Base of every value that is stored as JSON: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def to_json(self) -> bytes:
        """The stored JSON: indented for human readers, with a checksum."""
        return with_checksum(self.model_dump_json(indent=1).encode())


_SHAPES = {
    **dict.fromkeys(("training", "labels", "loss", "early_stopping", "space"), dict),
    **dict.fromkeys(("split", "train_on", "model", "scheduler"), str),
    "warm_start": list,
}
"""Keys of a recipe that this program reads -> the type of their values, unless they are null."""


class Record(Stored):
    """The outcome of one run: its recipe, its execution and its results."""

    id: Name
    kind: Literal["fit", "study"]
    status: Status
    cause: str | None = None
    """The kind of failure that ended the attempt: diverged, error, worker_died, node_lost,
    preempted, out_of_memory, stalled, disk_full, store or network."""
    reason: str | None = None
    """Why it is not done, in one line; for a done run, why it ended early."""
    traceback: str | None = None
    recipe: dict[str, Any]
    """The values that the id is a hash of."""
    parents: tuple[Name, ...] = ()
    """Ids of the runs whose results this run used."""
    about: dict[str, Any] = {}
    """Names to display: task, model, weak, method, ..."""
    execution: dict[str, Any] = {}
    """How it ran; not hashed."""
    summary: dict[str, Figure] = {}
    """Final figures. Fits: test_accuracy, validation_accuracy (ground truth), validation_agreement
    (the fit's own validation labels), steps, total_steps, best_step, parameters."""
    environment: dict[str, Any] = {}
    """Versions, devices and host, to explain differences between runs."""
    started_at: Moment
    ended_at: Moment
    seconds: float = Field(ge=0)
    """Wall-clock time of this attempt."""
    device_seconds: float = Field(default=0.0, ge=0)
    """Seconds times devices held."""
    bytes: dict[str, int] = {}
    """Size of a done run's stored files apart from its record, by file: metrics.parquet,
    predictions.parquet, weights (the whole folder)."""
    attempts: int = Field(default=1, ge=1)
    """Number of attempts at the run, including this one."""
    retries: dict[str, int] = {}
    """Cause -> number of earlier attempts that failed with it."""
    identity_version: int

    @field_validator("recipe")
    @classmethod
    def _check_types(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        """Check the types of the values that are read later; any program may write a record."""
        for key, kind in _SHAPES.items():
            if not isinstance(recipe.get(key), kind | None):
                raise ValueError(f"the recipe's {key} is not a {kind.__name__}")
        source = (recipe.get("labels") or {}).get("source")
        if not isinstance(source, str | list | tuple | None):
            raise ValueError("the recipe's labels.source is neither a name nor a list")
        return recipe

    @property
    def matches_id(self) -> bool:
        """Whether its id is the hash of its recipe; True for other versions of identity."""
        if self.identity_version != IDENTITY_VERSION:
            return True
        return run_id(kind=self.kind, recipe=self.recipe) == self.id

    @property
    def labels(self) -> str | None:
        """`ground_truth`, `random`, `none`, or the ids of the fits that labelled its rows, joined
        by `+`.
        """
        source = (self.recipe.get("labels") or {}).get("source")
        return "+".join(source) if isinstance(source, list | tuple) else source

    @property
    def labelled_by(self) -> tuple[str, ...]:
        """Ids of the fits whose predictions are its labels."""
        source = (self.recipe.get("labels") or {}).get("source")
        return tuple(source) if isinstance(source, list | tuple) else ()


class Cell(Stored):
    """One entry of a sweep's grid: task, supervisor, student, method and seed."""

    task: str
    weak: str
    strong: str
    method: str
    seed: int
    objective: Objective = "none"
    searched: bool = False
    """True: the study trained this task and pair, so their labels chose the setting."""
    study: Name | None = None
    """The study that chooses the student's settings."""
    supervisor_study: Name | None = None
    """The study that chooses the supervisor's settings."""
    ceiling_study: Name | None = None
    """The study that chooses the ceiling's settings."""
    supervisor: Name | None = None
    """None: not known yet, because a study that it depends on is not done; so for all three."""
    ceiling: Name | None = None
    student: Name | None = None
    control: bool = Field(default=False, exclude_if=lambda control: not control)
    """True: the method is a control."""

    @property
    def runs(self) -> tuple[str, ...]:
        """Ids of its fits that are known."""
        return tuple(run for run in (self.supervisor, self.ceiling, self.student) if run)

    @property
    def studies(self) -> tuple[str, ...]:
        """Ids of the studies that choose settings of its fits."""
        studies = (self.study, self.supervisor_study, self.ceiling_study)
        return tuple(dict.fromkeys(study for study in studies if study))


class Manifest(Stored):
    """A sweep at its start: its file and the runs that its cells consist of."""

    name: Name
    sweep_text: str
    """The text of the sweep file."""
    created_at: Moment
    cells: tuple[Cell, ...]
    steps: tuple[Name, ...] | None = Field(default=None, exclude_if=lambda steps: steps is None)
    """Ids of its fits that are in no cell: pretraining, intermediate models, and further
    supervisors of ensembles. None in manifests of earlier versions."""
    sealed: bool = Field(default=False, exclude_if=lambda sealed: not sealed)
    """True: its fits got no test labels, and looks at its test figures are counted."""
