"""The files of the user's own that a task reads: which files each of its paths means.

Owns what a path means (a file, a folder, an archive, a pattern, or a folder that `datasets` saved),
the order of its files, and the stamps of all files of a task. It reads no rows.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from w2s_ray.config import OwnPart, Task
from w2s_ray.data.arrow_files import is_saved, saved_split
from w2s_ray.data.cells import name_list
from w2s_ray.data.files import Member, MissingFile, Stamp, is_archive, local, members, stamps
from w2s_ray.errors import InputError
from w2s_ray.printable import one_line

TEXT_FILE = ".txt"
"""The extension of text files, each of which is a row."""
_HIDDEN = (".", "_")
"""First characters of names that are passed over in folders and archives, as Spark's `_SUCCESS`."""


def id_prefix(part: OwnPart) -> str:
    """The beginning of the ids of rows from a part's own file."""
    return f"{part}_file"


def path_members(path: str, *, where: str, split: str | None = None) -> tuple[Member, ...]:
    """The files that `path` means, in the order of their names: at least one, all of one kind.

    A folder that `datasets` saved is one member, that of its `split` if it has splits.

    Raises:
        MissingFile: no such file on this machine.
        InputError: files of several kinds, a single text file, or no such split.
    """
    if _is_pattern(path):
        found = _matches(path)
        if not found:
            raise MissingFile(f"{where}: no file matches {one_line(path)}; correct `path`")
    else:
        at = local(path, where=where, or_hub=False)
        if is_saved(at) or split is not None:
            folder = saved_split(at, split, where=where)
            return (Member(folder.name, folder),)
        found = _contents(at)
    if not found:
        raise InputError(f"{where}: {one_line(path)} has 0 files; give a file or folder with rows")
    kinds = Counter(member.kind for member in found)
    if len(kinds) > 1:
        ordered = sorted(kinds, key=lambda kind: (not kind, -kinds[kind], kind))
        listed = name_list(f"{kinds[kind]:,} {kind or 'without extension'}" for kind in ordered)
        raise InputError(
            f"{where}: {one_line(path)} has files of several kinds ({listed}); give those of one "
            f"kind by a pattern, such as folder/*{ordered[0]}"
        )
    if found[0].kind == TEXT_FILE and len(found) == 1:
        raise InputError(
            f"{found[0]}: a text file is one row; give a folder of text files, or write the texts "
            "as rows of a .csv file"
        )
    return found


def original_file(task: Task, part: OwnPart) -> Member:
    """The one file, in the task's original format, of a part of a task without `columns`.

    Raises:
        MissingFile: no such file on this machine.
        InputError: a folder or an archive with several files.
    """
    path, where = task.part_files[part].path or "", f"task {task.name}: {part}"
    found = members(local(path, where=where, or_hub=False))
    if len(found) != 1:
        listed = name_list(member.name for member in found)
        raise InputError(
            f"{where}: {one_line(path)} has {len(found)} files{f' ({listed})' if found else ''}; "
            "give one file as `path`"
        )
    return found[0]


def task_stamps(task: Task) -> list[Stamp]:
    """The stamps of all files that a task reads, in order. If they are unchanged, so is the data.

    Raises:
        MissingFile, InputError: as for `path_members`.
    """
    paths = dict.fromkeys(_table_paths(task) if task.columns is not None else _originals(task))
    return [stamp for path in paths for stamp in stamps(path)]


def _table_paths(task: Task) -> Iterator[Path]:
    where = f"task {task.name}"
    pool = [task.path] if task.path is not None else [entry.path for entry in task.files]
    sources = [(path, where, task.split) for path in pool]
    if task.join is not None:
        sources.append((task.join.path, f"{where}: join", None))
    for part, file in task.part_files.items():
        sources.append((file.path or task.path or "", f"{where}: {part}", file.split))
    for path, key, split in sources:
        yield from (member.path for member in path_members(path, where=key, split=split))


def _originals(task: Task) -> Iterator[Path]:
    if task.path is not None:
        yield local(task.path, where=f"task {task.name}")
    for part in task.part_files:
        yield original_file(task, part).path


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) and not os.path.exists(os.path.expanduser(path))


def _matches(pattern: str) -> tuple[Member, ...]:
    absolute = str(Path(pattern).expanduser().absolute())
    paths = (Path(name) for name in glob.glob(absolute, recursive=True))
    return tuple(Member(path.name, path) for path in sorted(paths) if path.is_file())


def _contents(path: Path) -> tuple[Member, ...]:
    found = members(path)
    if not path.is_dir() and not is_archive(path):
        return found
    return tuple(
        member
        for member in found
        if not any(part.startswith(_HIDDEN) for part in member.name.split("/"))
    )
