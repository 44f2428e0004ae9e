"""The files of the user's own that a task reads: one for its pool, and one for a part with a file.

Owns the choice of the one file, or saved data set, at each path. It reads no rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from w2s_ray.config import Columns, OwnPart, Task
from w2s_ray.data.arrow_files import is_saved, saved_split
from w2s_ray.data.cells import name_list
from w2s_ray.data.files import Member, local, members
from w2s_ray.errors import InputError


@dataclass(frozen=True)
class OwnFile:
    """The file of a part, with its columns."""

    part: OwnPart
    member: Member
    columns: Columns
    has_own_labels: bool = False
    """Whether its labels may differ from the training rows'."""

    @property
    def prefix(self) -> str:
        """The beginning of its rows' ids."""
        return id_prefix(self.part)


def id_prefix(part: OwnPart) -> str:
    """The beginning of the ids of rows from a part's own file."""
    return f"{part}_file"


def pool_file(task: Task) -> Member:
    """The file of a generic task's pool.

    Raises:
        InputError: the path is missing, or isn't one file.
    """
    return _only_file(task.path or "", split=task.split, where=f"task {task.name}")


def part_file(task: Task, part: OwnPart) -> Member:
    """The file of a part.

    Raises:
        InputError: as for `pool_file`.
    """
    file = task.part_files[part]
    where = f"task {task.name}: {part}"
    return _only_file(file.path or task.path or "", split=file.split, where=where)


def own_files(task: Task) -> tuple[OwnFile, ...]:
    """The files of the parts of a generic task.

    Raises:
        InputError: as for `pool_file`.
    """
    return tuple(
        OwnFile(
            part,
            part_file(task, part),
            file.columns or task.columns,
            file.columns is not None and file.columns.positive is not None,
        )
        for part, file in task.part_files.items()
        if task.columns is not None
    )


def located(task: Task) -> list[Path]:
    """The absolute paths of all files and folders that the task names.

    Raises:
        InputError: one is missing.
    """
    found = []
    for key, path in task.paths.items():
        part = key.removesuffix("path").rstrip(".")
        where = f"task {task.name}: {part}" if part else f"task {task.name}"
        found.append(local(path, where=where, or_hub=not part and task.columns is None))
    return found


def _only_file(path: str, *, split: str | None, where: str) -> Member:
    found = local(path, where=where, or_hub=False)
    if is_saved(found) or split is not None:
        folder = saved_split(found, split, where=where)
        return Member(folder.name, folder)
    if found.is_dir():
        raise InputError(
            f"{where}: {path} is a folder; with `columns`, give one file as `path`, or a folder "
            "saved by `datasets`"
        )
    files = members(found)
    if len(files) != 1:
        listed = name_list(member.name for member in files)
        raise InputError(
            f"{where}: {path} has {len(files)} files ({listed}); unpack it and give one file "
            "as `path`"
        )
    return files[0]
