"""Reads the examples of a task from files, from the Hugging Face hub, or from the generator.

Owns the choice of the reader for each task, and the errors for unavailable sources. It makes no
split, does not shuffle, and never runs code of a dataset.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import cast

from w2s_ray.config import FORMS, FormName, OwnPart, Task
from w2s_ray.data.cells import name_list, text_of
from w2s_ray.data.example import Example, Row, Rows
from w2s_ray.data.fetch import download
from w2s_ray.data.files import Member, is_archive, local, matching, members, reading
from w2s_ray.data.generic import table_rows
from w2s_ray.data.hub import without_network
from w2s_ray.data.images import category_rows, digit_rows
from w2s_ray.data.own_files import id_prefix, original_file
from w2s_ray.data.own_rows import own_rows
from w2s_ray.data.own_table import part_tables, task_table
from w2s_ray.data.phrases import group_phrases
from w2s_ray.data.row_formats import group_answers, group_variants, merge_linked_groups
from w2s_ray.data.tasks import DIGITS, EMBEDDED, TASKS, Hub, NamedTask, named_task
from w2s_ray.errors import InputError
from w2s_ray.network import is_of_the_network
from w2s_ray.printable import one_line

MOST_EMBEDDED = 200_000
"""Largest number of rows of the generated task; they are made in memory."""
_SAMPLE_FACTOR = 20
_SAMPLE_LEAST = 200_000
_SLOW_FACTOR, _SLOW_EXTRA = 2, 50
"""For sources that are slow to read: the sample is this factor times the rows needed, plus this."""
_POOL_SPLITS = ("train", "validation")
"""Prefixes of the ids of rows from a task's pool files, in the order of the files."""
_BUILDERS = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
"""Extension -> the `datasets` builder that reads such files."""


class SourceUnavailable(InputError):
    """A hub dataset is unavailable; it needs a connection or downloaded files."""


def read_rows(task: Task, *, commit: str | None = None, offline: bool = False) -> Rows:
    """All examples of `task`, in the order of its source.

    `commit` pins a hub dataset; with `offline` only downloaded files are used.

    Raises:
        InputError: an unknown task, a missing file or column, more or fewer than two classes.
        SourceUnavailable: an unavailable hub dataset.
    """
    if task.columns is not None:
        read = table_rows if FORMS[task.columns.form].has_texts else category_rows
        rows = read(task_table(task), columns=task.columns, own=part_tables(task))
        return _all_or_no_chat(task, rows)
    if task.own is not None:
        return _all_or_no_chat(task, own_rows(task.own))
    if task.name == EMBEDDED:
        return _embedded(task)
    if task.name == DIGITS:
        return digit_rows()
    named = named_task(task.name)
    if task.path is not None:
        rows = _from_files(task, named, local(task.path, where=f"task {task.name}"))
    else:
        rows = _from_hub(task, _hub(task, named), named, commit, offline)
    own = {part: _from_part_file(task, named, part) for part in task.part_files}
    rows = _all_or_no_chat(task, replace(rows, form=named.form, **own))
    if named.has_phrases:
        return group_phrases(rows)
    return merge_linked_groups(rows) if named.has_shared_texts else rows


def _all_or_no_chat(task: Task, rows: Rows) -> Rows:
    """`rows`, after the check that either all texts are chat messages or none is."""
    first = {row.chat is not None: row.id for row in reversed(rows.every)}
    if len(first) > 1:
        raise InputError(
            f"task {task.name}: {first[True]} has chat messages and {first[False]} has a text; "
            "write every row in the same form"
        )
    return rows


def form_of(task: Task) -> FormName:
    """What a row of `task` is.

    Raises:
        InputError: an unknown task.
    """
    if task.columns is not None:
        return task.columns.form
    if task.own is not None:
        if task.name in (*TASKS, EMBEDDED, DIGITS):
            raise InputError(
                f"the package has a task {task.name} already; give the plugin's function another "
                "name"
            )
        return cast("FormName", task.own.form)
    if task.name == DIGITS:
        return "features"
    return "classes" if task.name == EMBEDDED else named_task(task.name).form


def on_hub(task: Task) -> Hub | None:
    """The hub dataset of `task`, or None.

    Raises:
        InputError: an unknown task, a path for a task without files, or a missing path for a task
            that must be downloaded by hand.
    """
    if task.columns is not None or task.own is not None:
        return None
    if task.name in (EMBEDDED, DIGITS):
        if task.path is not None:
            is_what = "is generated" if task.name == EMBEDDED else "comes with scikit-learn"
            raise InputError(
                f"task {task.name} {is_what} and reads no file; remove `path` "
                f"({task.path!r}), or give `columns` to read it as a table"
            )
        if task.part_files:
            raise InputError(
                f"task {task.name} has no files; give {' and '.join(task.part_files)} as a number "
                "of rows, or `path` and `columns` of a table"
            )
        return None
    named = named_task(task.name)
    return _hub(task, named) if task.path is None else None


def _hub(task: Task, named: NamedTask) -> Hub:
    if named.hub is None:
        raise InputError(
            f"task {task.name} can't be read from the Hugging Face hub; download its original "
            "files and give their folder or zip archive as `path`"
        )
    return named.hub


def _embedded(task: Task) -> Rows:
    from w2s_ray.data.embedded import task_rows

    needed = task.from_pool
    if needed > MOST_EMBEDDED:
        raise InputError(
            f"task {task.name}: it needs {needed:,} rows, and at most {MOST_EMBEDDED:,} can be "
            "generated; lower train, validation or test"
        )
    rows = task_rows(rows=needed + needed // 2 + 500, seed=task.split_seed)
    return Rows(
        tuple(Example(f"row:{i}", text, label, text) for i, (text, label) in enumerate(rows))
    )


def _from_files(task: Task, named: NamedTask, path: Path) -> Rows:
    where, found = f"task {task.name}", members(path)
    if found and found[0].path == path and found[0].inside is None:
        return Rows(_examples(_read(found, named, ()), "all", task, named))
    pool: list[Example] = []
    for split, patterns in zip(_POOL_SPLITS, named.files.pool, strict=False):
        files = matching(found, patterns, where=where)
        if not files and not pool:
            raise InputError(f"{where}: {_no_training_file(task, patterns, found)}")
        pool += _examples(_read(files, named, found), split, task, named)
    if not pool:
        raise InputError(f"{where}: {_no_training_file(task, named.files.pool[0], found)}")
    files = matching(found, named.files.test, where=where)
    return Rows(tuple(pool), _examples(_read(files, named, found), "test", task, named) or None)


def _from_part_file(task: Task, named: NamedTask, part: OwnPart) -> tuple[Example, ...]:
    """The rows of a part's own file, all of them, in the task's original format."""
    member = original_file(task, part)
    rows = _examples(_read([member], named, ()), id_prefix(part), task, named, whole=True)
    if not rows:
        raise InputError(f"{member}: no rows; give a file with rows as `{part}.path`")
    return rows


def _no_training_file(task: Task, patterns: tuple[str, ...], found: tuple[Member, ...]) -> str:
    """The message if none of the files has training rows."""
    listed = name_list(member.name for member in found) or "no files"
    problem = f"{task.path} has no {' or '.join(patterns)} file (it has {listed}); "
    archives = [member for member in found if member.inside is None and is_archive(member.path)]
    for archive in archives:
        alone = len(archives) == 1 and not FORMS[form_of(task)].has_halves
        if alone or PurePath(archive.stem).name == task.name:
            return problem + f"give the archive as `path`: {archive.path}"
    other = "one archive" if archives else "one file"
    return problem + f"give the folder of the original files, or {other}, as `path`"


def _read(files: Iterable[Member], named: NamedTask, found: tuple[Member, ...]) -> Iterator[Row]:
    for member in files:
        with reading(member):
            try:
                yield from named.files.read(member, found)
            except (InputError, UnicodeDecodeError):
                raise
            except _LAYOUT_ERRORS as error:
                raise InputError(
                    f"{member}: not in the layout of the task's original files "
                    f"({_described(error)}); download them again, or give `columns`"
                ) from None


def _from_hub(task: Task, hub: Hub, named: NamedTask, commit: str | None, offline: bool) -> Rows:
    revision = commit or task.revision or hub.revision
    with without_network(offline):
        sets = _load(task.name, hub, revision or "main")
        pool = [e for split in hub.pool for e in _examples(sets[split], split, task, named)]
        test = _examples(sets[hub.test], hub.test, task, named) if hub.test else None
    return Rows(tuple(pool), test)


def _load(task: str, hub: Hub, revision: str) -> dict[str, Iterable[Row]]:
    """Split -> its rows.

    Raises:
        SourceUnavailable: the hub can't be reached.
        InputError: the hub doesn't have the dataset as it is declared.
    """
    import datasets

    splits = [*hub.pool, *([hub.test] if hub.test else [])]
    try:
        if hub.files is None:
            dataset = datasets.load_dataset(hub.name, hub.config, revision=revision)
        else:
            builder = _BUILDERS[PurePath(hub.files[splits[0]]).suffix]
            patterns = [hub.files[split] for split in splits]
            folder = download(hub.name, revision, files=patterns, kind="dataset")
            found = {split: str(folder / hub.files[split]) for split in splits}
            dataset = datasets.load_dataset(builder, data_files=found)
        return {split: cast("Iterable[Row]", dataset[split]) for split in splits}
    except InputError as error:
        raise InputError(f"task {task}: {error}{hub.other_source}") from None
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        unreachable = is_of_the_network(error)
        kind = SourceUnavailable if unreachable else InputError
        reason = one_line(f"{type(error).__name__}: {error}", most=240)
        raise kind(
            f"task {task}: the dataset {hub.name} can't be loaded from the Hugging Face hub "
            f"({reason}); {'connect to the hub, or ' if unreachable else ''}download the original "
            f"files and give their folder as `path`{hub.other_source}"
        ) from error


def _examples(
    rows: Iterable[Row], split: str, task: Task, named: NamedTask, *, whole: bool = False
) -> tuple[Example, ...]:
    """The examples of a split; of a large source a sample, unless the `whole` split is wanted."""
    if named.question:
        rows = group_answers(rows, by=named.question)
    numbered = enumerate(rows)
    needed = task.from_pool
    if named.large and not whole:
        most = max(_SAMPLE_LEAST, _SAMPLE_FACTOR * needed)
        numbered = sampled(numbered, most=most, seed=task.split_seed)
    if named.rows_each and not whole:
        most = _SLOW_EXTRA + _SLOW_FACTOR * needed // named.rows_each
        numbered = sampled(numbered, most=most, seed=task.split_seed)
    examples: list[Example] = []
    for i, row in numbered:
        where = f"task {task.name}: {split} row {i + 1}"
        try:
            examples += map(_encodable, named.format(row, id=f"{split}:{i}"))
        except InputError as error:
            message = str(error).removeprefix(f"{split}:{i}: ")
            raise InputError(f"{where}: {message}") from None
        except _LAYOUT_ERRORS as error:
            raise InputError(
                f"{where} isn't in the task's format ({_described(error)}; it has "
                f"{name_list(row)}); give the original files as `path`, or give `columns`"
            ) from None
    return tuple(group_variants(examples) if named.has_variants else examples)


_LAYOUT_ERRORS = (LookupError, TypeError, AttributeError, ValueError)
"""Errors of a reader or formatter for a row in a different layout."""


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(str(error), most=120)}"


def _encodable(example: Example) -> Example:
    """`example`, after the check that its texts can be encoded as UTF-8."""
    texts = (example.text, example.second, example.answer, example.group)
    for text in (*texts, *(example.choices or ())):
        text_of(text, where=example.id)
    return example


def sampled(
    numbered: Iterable[tuple[int, Row]], *, most: int, seed: int
) -> Iterator[tuple[int, Row]]:
    """A sample of at most `most` rows, by a hash of `seed` and row number, in their order."""
    chosen = heapq.nsmallest(most, numbered, key=lambda pair: _hash(seed, pair[0]))
    return iter(sorted(chosen, key=lambda pair: pair[0]))


def _hash(seed: int, number: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
