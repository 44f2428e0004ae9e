"""The rows that an overview describes: those of a split, or of a store's table of a split.

Owns the conversion of both. What a store does not hold (rows dropped, in splits of earlier
versions) is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from w2s_ray.config import FORMS, PARTS, FormName, Part
from w2s_ray.data.example import Example
from w2s_ray.data.split import Split

T = TypeVar("T")
HALVES: tuple[Part, ...] = ("supervisor_half", "student_half")


@dataclass(frozen=True)
class TaskRows:
    """A task's rows by part, and what is known of how they were drawn."""

    task: str
    fingerprint: str
    form: FormName
    parts: Mapping[Part, tuple[Example, ...]]
    near_copies: int | None
    """Test rows that are near copies of training rows; None where it is not known."""
    dropped: Mapping[str, int] | None = None
    unused: int | None = None
    own_test: bool | None = None
    from_store: bool = False

    @property
    def train(self) -> tuple[Example, ...]:
        """The rows of both halves."""
        return tuple(chain(*map(self.parts.__getitem__, HALVES)))

    def all(self) -> Iterator[Example]:
        """The rows of all parts."""
        return chain(*self.parts.values())

    @classmethod
    def of_split(cls, split: Split) -> TaskRows:
        """The rows of a split that was made from the task's data."""
        copies = split.near_copies
        return cls(
            task=split.task,
            fingerprint=split.fingerprint,
            form=split.form,
            parts=split.parts,
            near_copies=None if copies is None else sum(map(bool, copies.values())),
            dropped=split.dropped,
            unused=split.unused,
            own_test=split.own_test,
        )

    @classmethod
    def of_table(
        cls, table: Any, *, task: str, fingerprint: str, about: Mapping[str, Any]
    ) -> TaskRows:
        """The rows of a stored split (an Arrow table), with its stored `about`."""
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        nothing = [None] * len(table)
        read = (*("example_id", "text", "label", "group"), *("second", "answer", "difficulty"))
        cells = [columns.get(name, nothing) for name in (*read, "chat", "choices", "extracted")]
        parts: dict[Part, list[Example]] = {part: [] for part in PARTS}
        for part, id_, text, label, group, *more in zip(columns["part"], *cells, strict=True):
            example = Example(id_, text, label or 0, group or id_, *more)
            if example.choices is not None:
                example = example._replace(choices=tuple(example.choices))
            parts[part].append(example)
        form = _known(about, "form", str)
        return cls(
            task=task,
            fingerprint=fingerprint,
            form=form if form is not None and form in FORMS else _form(columns),
            parts={part: tuple(rows) for part, rows in parts.items()},
            near_copies=_known(about, "near_copies", int),
            dropped=_known(about, "dropped", dict),
            unused=_known(about, "unused", int),
            own_test=_known(about, "own_test", bool),
            from_store=True,
        )


def _known(about: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """A value of a stored `about`; None where it is missing or of another type."""
    value = about.get(name)
    return value if isinstance(value, kind) else None


def _form(columns: Mapping[str, list[Any]]) -> FormName:
    """The form of rows whose `about` has none, as in splits of earlier versions."""
    if any(value is not None for value in columns.get("second", ())):
        return "pairs"
    return "answers" if any(v is not None for v in columns.get("answer", ())) else "classes"
