"""The tasks of a sweep file: where their rows are, and how these are split.

Owns the fields of a task and the checks of each task alone. It reads no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PrivateAttr,
    Tag,
    field_validator,
    model_validator,
)

from w2s_ray.config.columns import FILES_LABEL, Columns, Int64
from w2s_ray.config.forms import TASK_FORMS
from w2s_ray.config.names import Line, LocalPath, Name, RowCount, Seed
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.extractors import AnyExtractor, Exact, is_default
from w2s_ray.plugins import OwnTask, usable_task

ALL_ROWS = 1_000_000_001
"""The number of training rows of a corpus with `train: all`, more than any other number."""

if TYPE_CHECKING:
    TrainRows = int
else:
    TrainRows = Annotated[
        RowCount | Annotated[Literal["all"], AfterValidator(lambda _: ALL_ROWS)],
        PlainSerializer(lambda rows: "all" if rows == ALL_ROWS else rows),
    ]

DifficultyBound = Annotated[float, Field(ge=-1e12, le=1e12)]
Bounds = tuple[DifficultyBound | None, DifficultyBound | None]
"""Lowest and highest difficulty, both included; null = no bound."""


def _ordered(bounds: Bounds) -> Bounds:
    least, most = bounds
    if least is not None and most is not None and least > most:
        raise InputError(f"the lower bound {least:g} is above the upper bound {most:g}; swap them")
    return bounds


OrderedBounds = Annotated[Bounds, AfterValidator(_ordered)]


class Difficulty(Frozen):
    """Which rows are used, by difficulty. `[500, 900]` is short for these bounds in both keys."""

    train: OrderedBounds = (None, None)
    """Lowest and highest difficulty of training and validation rows; null = no bound."""
    test: OrderedBounds = (None, None)
    """Lowest and highest difficulty of test rows. A row within both ranges goes to one of them."""

    @model_validator(mode="before")
    @classmethod
    def _same_for_all(cls, value: Any) -> Any:
        return {"train": value, "test": value} if isinstance(value, list | tuple) else value


_LABELS = ("label", "preferred", "chosen", "answer", "category")
"""Columns that decide which prediction is right."""


class LabelledFiles(Frozen):
    """Files whose rows all have one label."""

    path: LocalPath
    """As the task's `path`."""
    label: Line | Int64 | bool
    """The label of every row. Of two labels of a task, `columns.positive` decides which is class 1,
    as for labels in a column. More than two labels of texts are classes as of a column
    `category`."""


class Join(Frozen):
    """A second table with more columns of the same rows."""

    path: LocalPath
    """As the task's `path`."""
    on: Line
    """The column, in both tables, with the id of the row. No id may occur twice in a table. Rows
    whose id is in one table alone are left out and counted."""


OwnPart = Literal["test", "validation"]
"""A part that can have a file of its own."""


class PartFile(Frozen):
    """A file with a part's rows, in place of a number of rows: `test: {path: test.csv}`.

    Rows of `path` that are in this file too, or share a group with one of its rows, are dropped
    and counted; texts that differ only in case, white space or Unicode form are the same. A row of
    both files stays in the test file alone.
    """

    path: LocalPath | None = None
    """A file in the task's original format, or, with `columns`, as the task's `path`; null = the
    task's `path`, for another `split`."""
    split: Line | None = None
    """The split of a saved DatasetDict."""
    columns: Columns | None = None
    """Names or numbers of the same columns where they differ in this file, and `label` where the
    task has `files`. With `positive`, its labels may differ too; null = as the task's."""
    rows: RowCount | None = None
    """Number of rows, balanced as the task's. null = every row that cleaning leaves, without
    balancing."""


def _part_tag(value: Any) -> str:
    return "(file)" if isinstance(value, dict | PartFile) else "(count)"


PartRows = Annotated[
    Annotated[RowCount, Tag("(count)")] | Annotated[PartFile, Tag("(file)")],
    Discriminator(_part_tag),
]


def _has_several(files: Any, columns: Mapping[str, Any]) -> bool:
    """Whether the files of texts have more than two labels."""
    entries = files if isinstance(files, list | tuple) else ()
    labels = {str(entry.get("label")) for entry in entries if isinstance(entry, dict)}
    pairs = {"first", "second", "chosen", "rejected"} & columns.keys()
    return len(labels) > 2 and not pairs


class Task(Frozen):
    """A task and how its rows are split."""

    name: Name
    """A named task, a task of a plugin, or any name for a file with `columns`."""
    path: LocalPath | None = None
    """A file or folder in the task's original format; null = the Hugging Face hub. With `columns`,
    a file, or a folder, an archive or a pattern (`data/*.parquet`) of files of one kind, which are
    one table in the order of their names; or a folder that `datasets` saved."""
    split: Line | None = None
    """The split with the training rows, where `path` is a DatasetDict saved by `datasets`."""
    columns: Columns | None = None
    """Column names, for Parquet, JSON-lines, CSV, TSV, Arrow or .npz files of your own at `path`. A
    text file (.txt) of a folder is a row with the columns `text`, `folder` and `file`."""
    files: tuple[LabelledFiles, ...] = ()
    """In place of `path`, files that have no label column, with their labels: `[{path: good.csv,
    label: 1}, {path: bad.csv, label: 0}]`. For pairs, label 1 means that the first text is
    better."""
    join: Join | None = None
    """A second table, such as the labels of the texts at `path`: `{path: answers.csv, on: id}`."""
    revision: Line | None = None
    """Hub commit, tag or branch; null = the newest commit when this machine first planned it."""
    train: TrainRows
    """Training rows in all. One half trains the supervisor, the other half the student. A corpus
    has no halves; with `all` it is every passage that validation and test leave."""
    validation: PartRows
    """Validation rows, or a file with them. They occur in no other part."""
    test: PartRows
    """Test rows, for the reported accuracy, or a file with them. They occur in no other part."""
    balance: bool = True
    """Undersample each part, after shuffling, to as many positive as negative rows. Without effect
    for tasks of more than two classes, whose parts have them as often as the rows of the source,
    and for tasks without classes."""
    max_words: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Drop rows with more whitespace-separated words than this before splitting. Words and not
    tokens are counted, so that all models get the same rows."""
    dedupe: Literal["near"] | None = None
    """near: no row is used in a part if it is a near copy of a row of an earlier part; the order is
    test, validation, the supervisor's half, the student's half. Near copies share at least 70 % of
    their pairs of neighbouring words. null = near copies are counted and stay."""
    difficulty: Difficulty | None = None
    """Lowest and highest difficulty of the rows to use, such as a puzzle's rating: `[500, 900]`,
    or, for easy-to-hard, `{train: [500, 900], test: [1200, null]}`."""
    extract: AnyExtractor = Field(default=Exact(), exclude_if=is_default)
    """How an answer is taken from a completion and from the right answer, for tasks with answers:
    they are equal if what is taken from both is. A kind without settings can be given as its name
    (`extract: last_number`). Votes (`self_consistency`) and the agreement of models use it, too."""
    split_seed: Seed = 0
    """Seed of the shuffle that makes the split. All seeds of the sweep share the split."""
    _own: OwnTask | None = PrivateAttr(default=None)

    @property
    def own(self) -> OwnTask | None:
        """The plugin's task with this name; None if no plugin has one or a file is given."""
        return self._own

    @model_validator(mode="after")
    def _of_plugin(self) -> Task:
        own = usable_task(self.name) if self.columns is None else None
        if own is None:
            return self
        if self.path is not None:
            raise InputError(f"task {self.name!r} is a plugin's and reads no file; remove `path`")
        if self.part_files:
            raise InputError(
                f"task {self.name!r} is a plugin's and reads no file; give "
                f"{' and '.join(self.part_files)} as a number of rows"
            )
        forms = [name for name, form in TASK_FORMS.items() if form.has_texts]
        if own.form not in forms:
            raise InputError(
                f"task {self.name!r}: @w2s.task has the form {own.form!r}; give one of "
                f"{', '.join(forms)}"
            )
        self._own = own
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_label_of_files(cls, value: Any) -> Any:
        """`columns` with the column of the labels of `files`."""
        columns = value.get("columns") if isinstance(value, dict) and value.get("files") else None
        if not isinstance(columns, dict) or FILES_LABEL in map(columns.get, _LABELS):
            return value
        decided = [key for key in _LABELS if columns.get(key) is not None]
        if decided:
            raise InputError(
                f"`files` has the label of each row, and so has columns.{decided[0]}; remove one "
                "of them"
            )
        key = "category" if _has_several(value["files"], columns) else "label"
        return {**value, "columns": {**columns, key: FILES_LABEL}}

    @field_validator("extract", mode="before")
    @classmethod
    def _from_kind(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _columns_and_files(self) -> Task:
        task, columns = f"task {self.name!r}", self.columns
        if columns is None:
            for key in ("files", "join"):
                if getattr(self, key):
                    raise InputError(f"{task} has {key} but no columns; name them in `columns`")
            if self.split is not None:
                raise InputError(f"{task} has a split but no columns; give `columns`")
        elif self.path is None and not self.files:
            raise InputError(f"{task} has columns but no path; give the file as `path`")
        elif self.join is not None and not columns.has_header:
            raise InputError(
                f"{task} has a join and columns by number; write both files with a header line, "
                "and give names"
            )
        if self.path is not None and self.files:
            raise InputError(f"{task} has path and files; remove one of them")
        for part, file in self.part_files.items():
            self._check_part(part, file)
        return self

    def _check_part(self, part: OwnPart, file: PartFile) -> None:
        where = f"task {self.name!r}: {part}"
        if file.path is None and (file.split is None or self.path is None):
            raise InputError(f"{where} has no path; give its file, or a number of rows")
        if self.columns is None:
            for key in ("split", "columns"):
                if getattr(file, key) is not None:
                    raise InputError(
                        f"{where}.{key} is for a task with `columns`; remove it, or give `columns`"
                    )
            return
        training = {self.path, *(entry.path for entry in self.files)}
        if (file.path or self.path) in training and file.split == self.split:
            raise InputError(f"{where} is the file of the training rows; give another file")
        if self.join is not None:
            raise InputError(
                f"{where} has a path and the task has a join, which is for one pool of rows; give "
                f"{part} as a number of rows, or write the joined training rows to one file"
            )
        if self.files and file.columns is None:
            raise InputError(
                f"{where} has a path and the task has the labels of its `files`; give "
                f"{part}.columns with the label of each row"
            )
        mine, its = (self.columns.roles, (file.columns or self.columns).roles)
        if file.columns is not None and "weight" in its:
            raise InputError(
                f"{where}.columns names weight, but evaluation is not weighted; remove it"
            )
        if its.keys() - {"weight"} != mine.keys() - {"weight"}:
            raise InputError(
                f"{where}.columns names {', '.join(sorted(its))}, but the task's columns name "
                f"{', '.join(sorted(mine))}; name the same ones"
            )

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        name: str,
        columns: Columns | Mapping[str, Any],
        train: int,
        validation: int | None = None,
        test: int | None = None,
        **settings: Any,
    ) -> Task:
        """The task of a Dataset, a pandas frame or an Arrow table, for a sweep made in Python.

        `data` may also be a DatasetDict, or another mapping with the key `train`: its `test` and
        `validation` are then the rows of these parts, all of them or as many as are given. The
        rows are written once, as Parquet, to the cache folder (`W2S_CACHE`). The ids of runs
        follow from the rows, not from the file's path.

        Raises:
            InputError: no table, no rows, or invalid settings.
        """
        from w2s_ray.data.objects import task_of

        sizes = {"train": train, "validation": validation, "test": test}
        given = {part: rows for part, rows in sizes.items() if rows is not None}
        return task_of(data, {"name": name, "columns": columns, **given, **settings})

    @property
    def part_files(self) -> Mapping[OwnPart, PartFile]:
        """The parts with a file of their own, test first."""
        parts: Mapping[OwnPart, Any] = {part: getattr(self, part) for part in get_args(OwnPart)}
        return {part: file for part, file in parts.items() if isinstance(file, PartFile)}

    def size(self, part: OwnPart) -> int | None:
        """Rows of a part; None = all rows of its file."""
        rows: int | PartFile = getattr(self, part)
        return rows.rows if isinstance(rows, PartFile) else rows

    @property
    def from_pool(self) -> int:
        """Rows of the parts that have no file of their own."""
        return self.train + sum(
            self.size(part) or 0 for part in get_args(OwnPart) if part not in self.part_files
        )

    @property
    def paths(self) -> Mapping[str, str]:
        """Key of the sweep file -> the path given there."""
        keys = {
            "path": self.path,
            **{f"files[{i}].path": entry.path for i, entry in enumerate(self.files)},
            "join.path": None if self.join is None else self.join.path,
            **{f"{part}.path": file.path for part, file in self.part_files.items()},
        }
        return {key: path for key, path in keys.items() if path is not None}
