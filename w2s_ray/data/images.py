"""Tasks of images or features with several classes, and feature files.

Owns the rows of these tasks, their pixels by row id, and the features in a feature file by row id.
The digits are read from scikit-learn's data file without importing the library. It computes no
features.
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
from w2s_ray.data.cells import name_list, plain_label
from w2s_ray.data.example import Example, Row, Rows
from w2s_ray.data.files import Member, Stamp, reading, reason, stamp
from w2s_ray.data.generic import cell, check_categories, label_cell, text_cell, weight_of
from w2s_ray.data.own_table import PartTable, Place, Table, part_tables, task_table
from w2s_ray.data.table import npz_arrays
from w2s_ray.data.tasks import DIGITS
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

if TYPE_CHECKING:
    import numpy as np

FEATURE_FILES = (".npz", ".parquet")
FEATURES, ID = "features", "id"
"""The columns of a feature file; without ids its rows are in the order of the task's rows."""
_GREY_LEVELS = 16


def category_rows(table: Table, *, columns: Columns, own: Sequence[PartTable] = ()) -> Rows:
    """A generic task of features: the rows of one table as one pool, and those of `own` tables.

    A row's text is a hash of its image, so that equal images are duplicates and a changed image
    changes the split. Without images it is the row's id.

    Raises:
        InputError: an empty cell, a missing image, fewer than two classes, or a class of a part's
            own file that the pool doesn't have.
    """
    pool = _category_examples(table, columns, "row")
    parts = {its.part: _category_examples(its.table, its.columns, its.prefix) for its in own}
    rows = Rows(
        pool,
        parts.get("test"),
        "features",
        dropped=table.dropped,
        files=table.files,
        validation=parts.get("validation"),
    )
    if len({row.id for row in rows.every}) < len(rows.every):
        raise InputError(
            f"{table.name}: column {columns.id!r} repeats an id; give each row its own"
        )
    check_categories(pool, table, columns, [(parts[its.part], its.table) for its in own])
    return rows


def _category_examples(table: Table, columns: Columns, prefix: str) -> tuple[Example, ...]:
    made: list[Example] = []
    for i, (row, place) in enumerate(zip(table.rows, table.places, strict=True)):
        text = id_ = _row_id(row, i, columns, prefix, place)
        if columns.image is not None:
            text = _image_hash(cell(row, columns.image, place), place.member)
        group = text if columns.group is None else text_cell(row, columns.group, place)
        answer = label_cell(row, columns.category or "", place)
        weight = weight_of(row, columns, place)
        made.append(Example(id_, text, 0, group, answer=answer, weight=weight))
    return tuple(made)


def _row_id(row: Row, i: int, columns: Columns, prefix: str, place: Place) -> str:
    return f"{prefix}:{i}" if columns.id is None else label_cell(row, columns.id, place)


def digit_rows() -> Rows:
    """The rows of `digits`, as one pool."""
    pixels_NHW, labels_N = _digits()
    rows = (
        Example(f"digit:{i}", _hash(image.tobytes()), 0, f"{i}", answer=str(label))
        for i, (image, label) in enumerate(zip(pixels_NHW, labels_N, strict=True))
    )
    return Rows(tuple(rows), form="features")


def has_images(task: Task) -> bool:
    """Whether the rows of a task of features have images."""
    return task.name == DIGITS if task.columns is None else task.columns.image is not None


def image_stamps(task: Task) -> list[Stamp]:
    """The stamps of the image files in a task's table, in order."""
    if task.columns is None or task.columns.image is None:
        return []
    return [
        stamp(_file(name, place.member))
        for table, columns, _ in _tables(task, task.columns)
        for row, place in zip(table.rows, table.places, strict=True)
        if isinstance(name := row.get(columns.image or ""), str)
    ]


def _tables(task: Task, columns: Columns) -> list[tuple[Table, Columns, str]]:
    """The tables of a task, their columns, and the beginning of their rows' ids."""
    own = ((its.table, its.columns, its.prefix) for its in part_tables(task))
    return [(task_table(task), columns, "row"), *own]


def images_of(task: Task, ids: Sequence[str], *, contents: Sequence[str]) -> list[np.ndarray]:
    """The pixels of rows, by id: uint8 [H, W] or [H, W, 3] each.

    `contents` are the rows' texts: the hashes of the images at the time of planning.

    Raises:
        InputError: a row without an image, a changed image, or Pillow isn't installed.
    """
    if task.columns is None:
        pixels_NHW = _digits()[0]
        images = [pixels_NHW[int(id_.partition(":")[2])] for id_ in ids]
        _check_contents([_hash(image.tobytes()) for image in images], ids, contents, "scikit-learn")
        return images
    by_id = {
        _row_id(row, i, columns, prefix, place): (row[columns.image or ""], place.member)
        for table, columns, prefix in _tables(task, task.columns)
        for i, (row, place) in enumerate(zip(table.rows, table.places, strict=True))
    }
    missing = [id_ for id_ in ids if id_ not in by_id]
    if missing:
        raise InputError(
            f"task {task.name}: row {missing[0]!r} is missing; its files changed since it was "
            "planned: plan again"
        )
    hashes = [_image_hash(*by_id[id_]) for id_ in ids]
    _check_contents(hashes, ids, contents, f"task {task.name}")
    return [_pixels(*by_id[id_]) for id_ in ids]


def _check_contents(
    hashes: Sequence[str], ids: Sequence[str], contents: Sequence[str], where: object
) -> None:
    for id_, now, planned in zip(ids, hashes, contents, strict=True):
        if now != planned:
            raise InputError(
                f"{where}: the image of row {id_!r} changed since it was planned: plan again"
            )


def features_in(path: Path, ids: Sequence[str]) -> np.ndarray:
    """The features of rows, by id, from a feature file: float32 [N, D].

    Raises:
        InputError: a missing column, a row without features, or features that aren't finite.
    """
    import numpy as np

    with reading(path):
        if path.suffix == ".npz":
            arrays = npz_arrays(Member(path.name, path), only=(FEATURES, ID))
        else:
            arrays = _columns(path)
    if FEATURES not in arrays:
        raise InputError(
            f"{path}: no array {FEATURES!r} (it has {name_list(arrays) or 'none'}); store the "
            f"features as {FEATURES!r} [rows, width], and the row ids as {ID!r}"
        )
    try:
        all_ND = np.asarray(arrays[FEATURES], dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError(
            f"{path}: {FEATURES} aren't numbers; store an array of numbers [rows, width]"
        ) from None
    if all_ND.ndim != 2:
        raise InputError(
            f"{path}: {FEATURES} has shape {all_ND.shape}; store an array [rows, width]"
        )
    file_ids = arrays.get(ID)
    known = [f"row:{i}" for i in range(len(all_ND))] if file_ids is None else list(file_ids)
    if len(known) != len(all_ND):
        raise InputError(
            f"{path}: {len(known)} ids for {len(all_ND)} rows of {FEATURES}; store one id for each "
            "row"
        )
    index = {plain_label(name): i for i, name in enumerate(known)}
    missing = [id_ for id_ in ids if id_ not in index]
    if missing:
        remedy = f"store the rows' ids as {ID!r}" if file_ids is None else "add them to the file"
        raise InputError(
            f"{path}: no features for row {missing[0]!r} ({len(missing)} of {len(ids)} rows); "
            f"{remedy}"
        )
    rows_ND = all_ND[[index[id_] for id_ in ids]]
    if not np.isfinite(rows_ND).all():
        row = int((~np.isfinite(rows_ND)).any(axis=1).argmax())
        raise InputError(
            f"{path}: the features of row {ids[row]!r} aren't all finite; correct the file"
        )
    return rows_ND


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [N, 8, 8] and labels int64 [N]."""
    import numpy as np

    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputError(f"task {DIGITS} needs scikit-learn; pip install scikit-learn")
    with gzip.open(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz") as file:
        table = np.loadtxt(file, delimiter=",")
    pixels_NHW = np.round(table[:, :-1] * (255 / _GREY_LEVELS)).astype(np.uint8)
    return pixels_NHW.reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def _columns(path: Path) -> Mapping[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        present = [name for name in (FEATURES, ID) if name in pq.read_schema(path).names]
        table = pq.read_table(path, columns=present)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a complete Parquet file ({reason(error)}); write or download it again"
        ) from None
    arrays: dict[str, Any] = {}
    if FEATURES in present:
        column = table[FEATURES].combine_chunks()
        if not hasattr(column, "flatten") or not pa.types.is_nested(column.type):
            raise InputError(
                f"{path}: {FEATURES} is not a column of lists; store a list of numbers for each row"
            )
        flat = column.flatten().to_numpy(zero_copy_only=False)
        width = len(flat) // max(1, len(column))
        if column.null_count or {len(row) for row in column} != {width}:
            raise InputError(
                f"{path}: {FEATURES} differ in length; store as many numbers for every row"
            )
        arrays[FEATURES] = flat.reshape(len(column), width)
    if ID in present:
        arrays[ID] = table[ID].to_pylist()
    return arrays


def _image_hash(image: Any, member: Member) -> str:
    """A hash of a cell's image: of the image file, or of the pixels."""
    import numpy as np

    if isinstance(image, np.ndarray):
        return _hash(np.ascontiguousarray(image).tobytes())
    return _hash(_file(image, member).read_bytes())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _file(name: Any, member: Member) -> Path:
    path = member.path.parent / str(name)
    try:
        exists = path.is_file()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise InputError(
            f"{member}: no image file {shown(name)}; write file names relative to the table's "
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
            "image files need Pillow; pip install 'w2s_ray[vision]', or store the images as an "
            "array in an .npz file"
        ) from None
    path = _file(image, member)
    try:
        with pillow.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise InputError(
            f"{path}: not a complete image ({reason(error)}); write or download it again"
        ) from None
