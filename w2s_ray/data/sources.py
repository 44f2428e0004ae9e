"""A task's declaration to its examples, from files, the hub or the generator.

Owns which reader serves which task and what is said when a source can't be had. It never splits,
never shuffles and never runs code that comes with a dataset.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from w2s_ray.data.example import Example, Rows
from w2s_ray.data.files import Member, local, matching, members
from w2s_ray.data.formatters import grouped_runs
from w2s_ray.data.hub import without_network
from w2s_ray.data.table import Row, raw_rows, table_rows
from w2s_ray.data.tasks import EMBEDDED, Hub, NamedTask, named_task
from w2s_ray.spec import Task

_SAMPLE_FACTOR = 20
_SAMPLE_LEAST = 200_000
_POOL_SPLITS = ("train", "validation")
"""What ids call the rows of a task's pool files, whatever the files are called."""
_LINE_LABELS = {".neg": 0, ".pos": 1}


class SourceUnavailable(ValueError):
    """A hub dataset that can't be had now; with a connection, or with files, it could."""


def read_rows(task: Task, *, commit: str | None = None, offline: bool = False) -> Rows:
    """All examples of `task`, in the order of its source.

    `commit` pins a hub dataset; with `offline` only what is already downloaded is used.

    Raises:
        ValueError: an unknown task, a missing file or column, labels that aren't two classes.
        SourceUnavailable: a hub dataset that can't be had.
    """
    if task.columns is not None:
        return table_rows(_only_file(task), columns=task.columns)
    if task.name == EMBEDDED:
        return _embedded(task)
    named = named_task(task.name)
    if task.path is not None:
        return _from_files(task, named, local(task.path, where=f"task {task.name}"))
    return _from_hub(task, named, commit, offline)


def on_hub(task: Task) -> Hub | None:
    """The hub dataset that `task` is read from, or None.

    Raises:
        ValueError: an unknown task, or a path for the generated one.
    """
    if task.columns is not None:
        return None
    if task.name == EMBEDDED:
        if task.path is not None:
            raise ValueError(
                f"task {EMBEDDED} is generated and reads no file; leave out `path` "
                f"({task.path!r}), or give `columns` to read it as a table"
            )
        return None
    named = named_task(task.name)
    return named.hub if task.path is None else None


def _only_file(task: Task) -> Member:
    where = f"task {task.name}"
    path = local(task.path or "", where=where)
    if path.is_dir():
        raise ValueError(f"{where}: {task.path} is a folder; with `columns`, `path` is one file")
    found = members(path)
    if len(found) != 1:
        names = ", ".join(member.name for member in found)
        raise ValueError(
            f"{where}: {task.path} holds {len(found)} files ({names}); unpack it and name one file"
        )
    return found[0]


def _embedded(task: Task) -> Rows:
    from w2s_ray.data.embedded import task_rows

    asked = task.train + task.validation + task.test
    made = task_rows(rows=asked + asked // 2 + 500, seed=task.split_seed)
    return Rows(
        tuple(Example(f"row:{i}", text, label, text) for i, (text, label) in enumerate(made))
    )


def _from_files(task: Task, named: NamedTask, path: Path) -> Rows:
    where, found = f"task {task.name}", members(path)
    if found and found[0].path == path and found[0].inside is None:
        return Rows(_examples(_read(found, named), "all", task, named))
    pool: list[Example] = []
    for split, patterns in zip(_POOL_SPLITS, named.files.pool, strict=False):
        files = matching(found, patterns, where=where)
        if not files and not pool:
            names = ", ".join(member.name for member in found[:12]) or "nothing"
            raise ValueError(
                f"{where}: {task.path} has no {' or '.join(patterns)} file (it has {names}); "
                "name the folder of the original files, or one file to split it alone"
            )
        pool += _examples(_read(files, named), split, task, named)
    files = matching(found, named.files.test, where=where)
    return Rows(tuple(pool), _examples(_read(files, named), "test", task, named) or None)


def _read(files: Iterable[Member], named: NamedTask) -> Iterator[Row]:
    for member in files:
        label = _LINE_LABELS.get(member.kind)
        if label is None:
            yield from raw_rows(member, columns=named.files.columns)
            continue
        with member.text(encoding="latin-1") as lines:
            yield from ({"text": line, "label": label} for line in lines)


def _from_hub(task: Task, named: NamedTask, commit: str | None, offline: bool) -> Rows:
    hub = named.hub
    revision = commit or task.revision or hub.revision
    with without_network(offline):
        sets = _load(task.name, hub, revision)
        pool = [e for split in hub.pool for e in _examples(sets[split], split, task, named)]
        test = _examples(sets[hub.test], hub.test, task, named) if hub.test else None
    return Rows(tuple(pool), test)


def _load(task: str, hub: Hub, revision: str | None) -> dict[str, Iterable[Row]]:
    import datasets

    wanted = [*hub.pool, *([hub.test] if hub.test else [])]
    try:
        if hub.files is None:
            found = datasets.load_dataset(hub.name, hub.config, revision=revision)
        else:
            at = f"hf://datasets/{hub.name}" + (f"@{revision}" if revision else "")
            kind = "csv" if hub.files[wanted[0]].endswith(".csv") else "json"
            urls = {split: f"{at}/{hub.files[split]}" for split in wanted}
            found = datasets.load_dataset(kind, data_files=urls)
        return {split: cast("Iterable[Row]", found[split]) for split in wanted}
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise SourceUnavailable(
            f"task {task}: the dataset {hub.name} can't be had from the Hugging Face hub "
            f"({type(error).__name__}: {error}); connect to the hub, or download the original "
            "files and name their folder in `path`"
        ) from error


def _examples(rows: Iterable[Row], split: str, task: Task, named: NamedTask) -> tuple[Example, ...]:
    numbered = enumerate(rows)
    if named.large:
        most = max(_SAMPLE_LEAST, _SAMPLE_FACTOR * (task.train + task.validation + task.test))
        numbered = sampled(numbered, most=most, seed=task.split_seed)
    made: list[Example] = []
    for i, row in numbered:
        try:
            made += named.format(row, id=f"{split}:{i}")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"task {task.name}: {split} row {i + 1} isn't in the task's format "
                f"({type(error).__name__}: {error}; it has {', '.join(map(str, row))}); "
                "name the original files in `path`, or give `columns`"
            ) from None
    return tuple(grouped_runs(made) if named.grouped_runs else made)


def sampled(
    numbered: Iterable[tuple[int, Row]], *, most: int, seed: int
) -> Iterator[tuple[int, Row]]:
    """At most `most` of the rows, chosen by a hash of `seed` and number, in their order."""
    chosen = heapq.nsmallest(most, numbered, key=lambda pair: _rank(seed, pair[0]))
    return iter(sorted(chosen, key=lambda pair: pair[0]))


def _rank(seed: int, number: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
