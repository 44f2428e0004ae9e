"""A task's declaration to its examples, from files, the hub or the generator.

Owns which reader serves which task and what is said when a source can't be had. It never splits,
never shuffles and never runs code that comes with a dataset.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import cast

from w2s_ray.config import FORMS, FormName, Task
from w2s_ray.data.cells import names, shortened, text_of
from w2s_ray.data.example import Example, Row, Rows
from w2s_ray.data.files import Member, is_archive, local, matching, members, reading
from w2s_ray.data.generic import table_rows
from w2s_ray.data.hub import without_network
from w2s_ray.data.images import category_rows, digit_rows
from w2s_ray.data.row_formats import gathered, grouped_runs, linked
from w2s_ray.data.tasks import DIGITS, EMBEDDED, Hub, NamedTask, named_task
from w2s_ray.errors import InputError

MOST_EMBEDDED = 200_000
"""Rows of the generated task, which are made in memory."""
_SAMPLE_FACTOR = 20
_SAMPLE_LEAST = 200_000
_SURE_FACTOR, _SURE_LEAST = 2, 50
"""Of what is slow to read, so many times what would do, and so many more."""
_POOL_SPLITS = ("train", "validation")
"""What ids call the rows of a task's pool files, whatever the files are called."""
_BUILDERS = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
"""Extension -> the `datasets` builder that reads such files."""


class SourceUnavailable(InputError):
    """A hub dataset that can't be had now; with a connection, or with files, it could."""


def read_rows(task: Task, *, commit: str | None = None, offline: bool = False) -> Rows:
    """All examples of `task`, in the order of its source.

    `commit` pins a hub dataset; with `offline` only what is already downloaded is used.

    Raises:
        InputError: an unknown task, a missing file or column, labels that aren't two classes.
        SourceUnavailable: a hub dataset that can't be had.
    """
    if task.columns is not None and not FORMS[task.columns.form].has_texts:
        return category_rows(_only_file(task), columns=task.columns)
    if task.columns is not None:
        return _of_one_kind(task, table_rows(_only_file(task), columns=task.columns))
    if task.name == EMBEDDED:
        return _embedded(task)
    if task.name == DIGITS:
        return digit_rows()
    named = named_task(task.name)
    if task.path is not None:
        rows = _from_files(task, named, local(task.path, where=f"task {task.name}"))
    else:
        rows = _from_hub(task, _hub(task, named), named, commit, offline)
    rows = _of_one_kind(task, replace(rows, form=named.form))
    return linked(rows) if named.linked else rows


def _of_one_kind(task: Task, rows: Rows) -> Rows:
    """`rows`, whose texts are all chat messages, or none are."""
    every = (*rows.pool, *(rows.test or ()))
    first = {row.chat is not None: row.id for row in reversed(every)}
    if len(first) > 1:
        raise InputError(
            f"task {task.name}: {first[True]} holds chat messages and {first[False]} a text; give "
            "every row one of them"
        )
    return rows


def form_of(task: Task) -> FormName:
    """What a row of `task` is.

    Raises:
        InputError: an unknown task.
    """
    if task.columns is not None:
        return task.columns.form
    if task.name == DIGITS:
        return "features"
    return "classes" if task.name == EMBEDDED else named_task(task.name).form


def on_hub(task: Task) -> Hub | None:
    """The hub dataset that `task` is read from, or None.

    Raises:
        InputError: an unknown task, a path for the generated one, or none for one that has to be
            downloaded by hand.
    """
    if task.columns is not None:
        return None
    if task.name in (EMBEDDED, DIGITS):
        if task.path is not None:
            is_what = "is generated" if task.name == EMBEDDED else "comes with scikit-learn"
            raise InputError(
                f"task {task.name} {is_what} and reads no file; leave out `path` "
                f"({task.path!r}), or give `columns` to read it as a table"
            )
        return None
    named = named_task(task.name)
    return _hub(task, named) if task.path is None else None


def _hub(task: Task, named: NamedTask) -> Hub:
    if named.hub is None:
        raise InputError(
            f"task {task.name} isn't read from the Hugging Face hub; download its original files "
            "and name their folder or zip archive in `path`"
        )
    return named.hub


def _only_file(task: Task) -> Member:
    where = f"task {task.name}"
    path = local(task.path or "", where=where)
    if path.is_dir():
        raise InputError(f"{where}: {task.path} is a folder; with `columns`, `path` is one file")
    found = members(path)
    if len(found) != 1:
        listed = names(member.name for member in found)
        raise InputError(
            f"{where}: {task.path} holds {len(found)} files ({listed}); unpack it and name one file"
        )
    return found[0]


def _embedded(task: Task) -> Rows:
    from w2s_ray.data.embedded import task_rows

    asked = task.train + task.validation + task.test
    if asked > MOST_EMBEDDED:
        raise InputError(
            f"task {task.name}: {asked:,} rows are asked for, and at most {MOST_EMBEDDED:,} are "
            "generated; lower train, validation or test"
        )
    made = task_rows(rows=asked + asked // 2 + 500, seed=task.split_seed)
    return Rows(
        tuple(Example(f"row:{i}", text, label, text) for i, (text, label) in enumerate(made))
    )


def _from_files(task: Task, named: NamedTask, path: Path) -> Rows:
    where, found = f"task {task.name}", members(path)
    if found and found[0].path == path and found[0].inside is None:
        return Rows(_examples(_read(found, named, ()), "all", task, named))
    pool: list[Example] = []
    for split, patterns in zip(_POOL_SPLITS, named.files.pool, strict=False):
        files = matching(found, patterns, where=where)
        if not files and not pool:
            raise InputError(f"{where}: {_nothing_fits(task, patterns, found)}")
        pool += _examples(_read(files, named, found), split, task, named)
    if not pool:
        raise InputError(f"{where}: {_nothing_fits(task, named.files.pool[0], found)}")
    files = matching(found, named.files.test, where=where)
    return Rows(tuple(pool), _examples(_read(files, named, found), "test", task, named) or None)


def _nothing_fits(task: Task, patterns: tuple[str, ...], found: tuple[Member, ...]) -> str:
    """What is wrong and what to do, where none of the files found is training rows."""
    there = names(member.name for member in found) or "nothing"
    wrong = f"{task.path} has no {' or '.join(patterns)} file (it has {there}); "
    archives = [member for member in found if member.inside is None and is_archive(member.path)]
    for archive in archives:
        alone = len(archives) == 1 and not FORMS[form_of(task)].has_halves
        if alone or PurePath(archive.stem).name == task.name:
            return wrong + f"name the archive in `path`: {archive.path}"
    holder = "one archive of them" if archives else "one file to split it alone"
    return wrong + f"name the folder of the original files, or {holder}"


def _read(files: Iterable[Member], named: NamedTask, found: tuple[Member, ...]) -> Iterator[Row]:
    for member in files:
        with reading(member):
            try:
                yield from named.files.read(member, found)
            except (InputError, UnicodeDecodeError):
                raise
            except _NOT_THE_LAYOUT as error:
                raise InputError(
                    f"{member}: not laid out as the task's original files ({_said(error)}); "
                    "download them again, or give `columns`"
                ) from None


def _from_hub(task: Task, hub: Hub, named: NamedTask, commit: str | None, offline: bool) -> Rows:
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
            kind = _BUILDERS[PurePath(hub.files[wanted[0]]).suffix]
            urls = {split: f"{at}/{hub.files[split]}" for split in wanted}
            found = datasets.load_dataset(kind, data_files=urls)
        return {split: cast("Iterable[Row]", found[split]) for split in wanted}
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        doubt = f"; unconfirmed: {hub.unconfirmed}" if hub.unconfirmed else ""
        raise SourceUnavailable(
            f"task {task}: the dataset {hub.name} can't be had from the Hugging Face hub "
            f"({type(error).__name__}: {error}{doubt}); connect to the hub, or download the "
            "original files and name their folder in `path`"
        ) from error


def _examples(rows: Iterable[Row], split: str, task: Task, named: NamedTask) -> tuple[Example, ...]:
    if named.question:
        rows = gathered(rows, by=named.question)
    numbered = enumerate(rows)
    asked = task.train + task.validation + task.test
    if named.large:
        most = max(_SAMPLE_LEAST, _SAMPLE_FACTOR * asked)
        numbered = sampled(numbered, most=most, seed=task.split_seed)
    if named.rows_each:
        most = _SURE_LEAST + _SURE_FACTOR * asked // named.rows_each
        numbered = sampled(numbered, most=most, seed=task.split_seed)
    made: list[Example] = []
    for i, row in numbered:
        where = f"task {task.name}: {split} row {i + 1}"
        try:
            made += map(_whole, named.format(row, id=f"{split}:{i}"))
        except InputError as error:
            said = str(error).removeprefix(f"{split}:{i}: ")
            raise InputError(f"{where}: {said}") from None
        except _NOT_THE_LAYOUT as error:
            raise InputError(
                f"{where} isn't in the task's format ({_said(error)}; it has {names(row)}); "
                "name the original files in `path`, or give `columns`"
            ) from None
    return tuple(grouped_runs(made) if named.grouped_runs else made)


_NOT_THE_LAYOUT = (LookupError, TypeError, AttributeError, ValueError)
"""What reading a row in a layout raises where it has another."""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {shortened(str(error), most=120)}"


def _whole(example: Example) -> Example:
    """`example`, whose texts are characters that files and tokenizers can hold."""
    for text in (example.text, example.second, example.answer, example.group):
        text_of(text, where=example.id)
    return example


def sampled(
    numbered: Iterable[tuple[int, Row]], *, most: int, seed: int
) -> Iterator[tuple[int, Row]]:
    """At most `most` of the rows, chosen by a hash of `seed` and number, in their order."""
    chosen = heapq.nsmallest(most, numbered, key=lambda pair: _rank(seed, pair[0]))
    return iter(sorted(chosen, key=lambda pair: pair[0]))


def _rank(seed: int, number: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
