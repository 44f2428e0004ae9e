"""Tasks of images, or of features alone, of several classes; and the files that features lie in.

Owns the rows of such a task, the pixels behind them, and a feature file's arrays by the names of
rows. scikit-learn's digits come from the file that it brings along, which is read without importing
the library. It computes no feature; a worker asks for pixels by the ids of the rows that it needs.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_ray.config import Columns, Task
from w2s_ray.data.cells import names, plain_label, shortened
from w2s_ray.data.example import Example, Rows
from w2s_ray.data.files import Member, Stamp, local, members, reading, reason, stamp
from w2s_ray.data.generic import cell, check_columns, label_cell, text_cell
from w2s_ray.data.table import npz_arrays, raw_rows
from w2s_ray.data.tasks import DIGITS
from w2s_ray.errors import InputError

if TYPE_CHECKING:
    import numpy as np

FEATURE_FILES = (".npz", ".parquet")
FEATURES, ID = "features", "id"
"""The columns of a feature file; without ids its rows are the task's, in order."""
_GREY_LEVELS = 16


def category_rows(member: Member, *, columns: Columns) -> Rows:
    """A generic task of features: the classes of one file's rows, as one pool.

    A row's text is a hash of its image, so that a picture that stands twice is one row and another
    picture is another split; without images it is the row's id.

    Raises:
        InputError: a missing or empty cell, an image that isn't there, or fewer than two classes.
    """
    made: list[Example] = []
    for i, row in enumerate(raw_rows(member)):
        if i == 0:
            check_columns(member, row, columns)
        given = None if columns.id is None else label_cell(row, columns.id, member, i)
        text = id_ = given or f"row:{i}"
        if columns.image is not None:
            text = _content(cell(row, columns.image, member, i), member)
        group = text if columns.group is None else text_cell(row, columns.group, member, i)
        answer = label_cell(row, columns.category or "", member, i)
        made.append(Example(id_, text, 0, group, answer=answer))
    if len({row.id for row in made}) < len(made):
        raise InputError(f"{member}: column {columns.id!r} has an id twice; give each row its own")
    found = sorted({row.answer or "" for row in made})
    if len(found) < 2:
        raise InputError(
            f"{member}: column {columns.category!r} has {len(found)} class(es); a task has two or "
            "more"
        )
    return Rows(tuple(made), form="features")


def digit_rows() -> Rows:
    """The rows of `digits`, as one pool."""
    pixels_NHW, labels_N = _digits()
    rows = (
        Example(f"digit:{i}", _hash(image.tobytes()), 0, f"{i}", answer=str(label))
        for i, (image, label) in enumerate(zip(pixels_NHW, labels_N, strict=True))
    )
    return Rows(tuple(rows), form="features")


def has_images(task: Task) -> bool:
    """Whether pixels stand behind the rows of a task of features."""
    return task.name == DIGITS if task.columns is None else task.columns.image is not None


def image_stamps(task: Task) -> list[Stamp]:
    """The stamps of the image files that a task's table names, in order."""
    if task.columns is None or task.columns.image is None:
        return []
    member, column = (
        members(local(task.path or "", where=f"task {task.name}"))[0],
        task.columns.image,
    )
    images = (row.get(column) for row in raw_rows(member))
    return [stamp(_file(name, member)) for name in images if isinstance(name, str)]


def images_of(task: Task, ids: Sequence[str], *, contents: Sequence[str]) -> list[np.ndarray]:
    """The pixels of rows, by id: uint8 [H, W] or [H, W, 3] each.

    `contents` are the rows' texts: hashes of the images that the split was made of.

    Raises:
        InputError: a row without an image, another image, or Pillow is needed and not installed.
    """
    if task.columns is None:
        pixels_NHW = _digits()[0]
        found = [pixels_NHW[int(id_.partition(":")[2])] for id_ in ids]
        _check_contents([_hash(image.tobytes()) for image in found], ids, contents, "scikit-learn")
        return found
    member = members(local(task.path or "", where=f"task {task.name}"))[0]
    name, column = task.columns.id, task.columns.image or ""
    by_id = {
        f"row:{i}" if name is None else plain_label(row[name]): row[column]
        for i, row in enumerate(raw_rows(member))
    }
    missing = [id_ for id_ in ids if id_ not in by_id]
    if missing:
        raise InputError(
            f"{member}: no row {missing[0]!r} any more; the file changed since it was planned: "
            "plan again"
        )
    _check_contents([_content(by_id[id_], member) for id_ in ids], ids, contents, member)
    return [_pixels(by_id[id_], member) for id_ in ids]


def _check_contents(
    found: Sequence[str], ids: Sequence[str], contents: Sequence[str], where: object
) -> None:
    for id_, now, planned in zip(ids, found, contents, strict=True):
        if now != planned:
            raise InputError(
                f"{where}: the image of row {id_!r} changed since it was planned: plan again"
            )


def features_in(path: Path, ids: Sequence[str]) -> np.ndarray:
    """The features of rows, by id, from a feature file: float32 [N, D].

    Raises:
        InputError: no such columns, a row without features, or features that aren't finite.
    """
    import numpy as np

    with reading(path):
        if path.suffix == ".npz":
            arrays = npz_arrays(Member(path.name, path), only=(FEATURES, ID))
        else:
            arrays = _columns(path)
    if FEATURES not in arrays:
        raise InputError(
            f"{path}: no array {FEATURES!r}; it has {names(arrays) or 'none'}. A feature file "
            f"has {FEATURES!r} [rows, width] and, unless its rows are the task's in order, {ID!r}"
        )
    try:
        all_ND = np.asarray(arrays[FEATURES], dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{path}: {FEATURES} aren't numbers; give [rows, width]") from None
    if all_ND.ndim != 2:
        raise InputError(f"{path}: {FEATURES} has shape {all_ND.shape}; give [rows, width]")
    given = arrays.get(ID)
    known = [f"row:{i}" for i in range(len(all_ND))] if given is None else list(given)
    if len(known) != len(all_ND):
        raise InputError(f"{path}: {len(known)} ids for {len(all_ND)} rows of {FEATURES}")
    place = {plain_label(name): i for i, name in enumerate(known)}
    missing = [id_ for id_ in ids if id_ not in place]
    if missing:
        has = "has no array 'id', so its rows are row:0 and on" if given is None else "lacks it"
        raise InputError(
            f"{path}: no features for row {missing[0]!r} ({len(missing)} of {len(ids)} rows); the "
            f"file {has}"
        )
    found_ND = all_ND[[place[id_] for id_ in ids]]
    if not np.isfinite(found_ND).all():
        row = int((~np.isfinite(found_ND)).any(axis=1).argmax())
        raise InputError(f"{path}: the features of row {ids[row]!r} aren't all finite numbers")
    return found_ND


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [N, 8, 8] and labels int64 [N]."""
    import numpy as np

    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputError(f"task {DIGITS} is scikit-learn's; pip install scikit-learn")
    with gzip.open(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz") as file:
        table = np.loadtxt(file, delimiter=",")
    pixels_NHW = np.round(table[:, :-1] * (255 / _GREY_LEVELS)).astype(np.uint8)
    return pixels_NHW.reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def _columns(path: Path) -> Mapping[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        wanted = [name for name in (FEATURES, ID) if name in pq.read_schema(path).names]
        table = pq.read_table(path, columns=wanted)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a whole Parquet file ({reason(error)}); write or download it again"
        ) from None
    found: dict[str, Any] = {}
    if FEATURES in wanted:
        column = table[FEATURES].combine_chunks()
        if not hasattr(column, "flatten") or not pa.types.is_nested(column.type):
            raise InputError(f"{path}: {FEATURES} is no column of lists; give [rows, width]")
        flat = column.flatten().to_numpy(zero_copy_only=False)
        width = len(flat) // max(1, len(column))
        if column.null_count or {len(row) for row in column} != {width}:
            raise InputError(f"{path}: {FEATURES} differ in length; give every row as many")
        found[FEATURES] = flat.reshape(len(column), width)
    if ID in wanted:
        found[ID] = table[ID].to_pylist()
    return found


def _content(image: Any, member: Member) -> str:
    """A hash of what a cell shows: of the file it names, or of its own pixels."""
    import numpy as np

    if isinstance(image, np.ndarray):
        return _hash(np.ascontiguousarray(image).tobytes())
    return _hash(_file(image, member).read_bytes())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _file(name: Any, member: Member) -> Path:
    path = member.path.parent / str(name)
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError(
            f"{member}: no image file {shortened(repr(name))}; names are relative to the table's "
            "folder"
        )
    return path


def _pixels(image: Any, member: Member) -> np.ndarray:
    import numpy as np

    if isinstance(image, np.ndarray):
        return image
    try:
        pillow = import_module("PIL.Image")
    except ImportError:
        raise InputError(
            "image files are read by Pillow; pip install 'w2s_ray[vision]', or give the images as "
            "an array in an .npz file"
        ) from None
    path = _file(image, member)
    try:
        with pillow.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise InputError(
            f"{path}: not a whole image ({reason(error)}); write or download it again"
        ) from None
