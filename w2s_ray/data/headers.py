"""Names and shapes of a model's tensors, from the headers of its safetensors files.

Owns the format of the header (8 bytes of length, then JSON), the index of several files, and the
checks that find a truncated or damaged file. It reads no tensor values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from w2s_ray.errors import InputError

TensorShapes = Mapping[str, tuple[int, ...]]
"""Tensor -> shape."""


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: data type, shape and offsets."""

    kind: str
    """The data type, by its name in the format."""
    shape: tuple[int, ...]
    first: int
    """Offset of its first byte in the file."""
    end: int
    """Offset after its last byte."""


WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_LONGEST = 100_000_000
"""Largest size of a header in bytes; the safetensors library refuses longer ones."""
_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
}
"""Data type -> bytes of a value; other types are not checked."""
_POINTER = b"version https://git-lfs"


def model_tensors(folder: Path) -> TensorShapes:
    """The tensors of the model in `folder`, in a single file or in the files of an index.

    Raises:
        InputError: a file that is missing, empty, truncated or damaged, or an index that doesn't
            match the files.
    """
    if (folder / WEIGHTS).is_file():
        tensors = tensors_in(folder / WEIGHTS)
        if not tensors:
            raise InputError(f"{folder / WEIGHTS} has no tensors; save the model again")
        return tensors
    if (folder / INDEX).is_file():
        return _indexed(folder)
    others = ", ".join(sorted(path.name for path in folder.glob("*.safetensors"))[:3])
    raise InputError(
        f"the model folder {folder} has {others}, but neither {WEIGHTS} nor {INDEX}; save the "
        "model with save_pretrained"
    )


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files with the tensors of the model in `folder`."""
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    places = read_object(folder / INDEX).get("weight_map") or {}
    return tuple(folder / name for name in sorted(set(places.values())))


def tensors_in(path: Path) -> TensorShapes:
    """The tensors of one safetensors file.

    Raises:
        InputError: the file is truncated or damaged.
    """
    return {name: tensor.shape for name, tensor in stored_in(path).items()}


def stored_in(path: Path) -> Mapping[str, Stored]:
    """Tensor -> its data type, shape and offsets in one safetensors file.

    Raises:
        InputError: the file is truncated or damaged.
    """
    header, start = _header(path)
    found: dict[str, Stored] = {}
    end = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        match entry:
            case {
                "dtype": str(kind),
                "shape": [*shape],
                "data_offsets": [int(first), int(last)],
            } if all(isinstance(n, int) and n >= 0 for n in shape) and 0 <= first <= last:
                size = _BYTES.get(kind)
                if size is not None and math.prod(shape) * size != last - first:
                    raise _damaged(path, f"the bytes of tensor {name} don't match its shape")
                found[name] = Stored(kind, tuple(shape), start + first, start + last)
                end = max(end, last)
            case _:
                raise _damaged(path, f"its header has an invalid entry for tensor {name}")
    if start + end != (size := path.stat().st_size):
        raise _damaged(path, f"it has {size:,} bytes, but {start + end:,} by its header")
    return found


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header's content, and the offset of the first value in the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if (first + file.read(len(_POINTER) - 8)).startswith(_POINTER):
            raise InputError(f"{path} is a Git LFS pointer; download the file with `git lfs pull`")
        length = int.from_bytes(first, "little")
        if size < 8 or length > min(size - 8, _LONGEST):
            raise _damaged(path, f"it ends within the header, after {size:,} bytes")
        file.seek(8)
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            raise _damaged(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a JSON object")
    return header, 8 + length


def _indexed(folder: Path) -> TensorShapes:
    """The tensors that the index in `folder` lists, with their shapes from its files."""
    index = read_object(folder / INDEX)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{folder / INDEX} has no weight_map; save the model with save_pretrained")
    shapes: dict[str, tuple[int, ...]] = {}
    of_file: dict[str, TensorShapes] = {}
    for tensor, name in places.items():
        if not isinstance(name, str) or name in ("", ".", "..") or PurePosixPath(name).name != name:
            raise InputError(
                f"{folder / INDEX} has tensor {tensor} in {name!r}, which is not a file name of "
                "this folder; save the model with save_pretrained"
            )
        if name not in of_file:
            if not (folder / name).is_file():
                raise InputError(
                    f"{folder / INDEX} lists {name}, which doesn't exist; download the file, or "
                    "save the model with save_pretrained"
                )
            of_file[name] = tensors_in(folder / name)
        if tensor not in of_file[name]:
            raise InputError(
                f"{folder / INDEX} has tensor {tensor} in {name}, which doesn't contain it; save "
                "the model with save_pretrained"
            )
        shapes[tensor] = of_file[name][tensor]
    return shapes


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: the file is not a JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} can't be read ({error.strerror}); correct its permissions"
        ) from None
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(
            f"{path} is not JSON{where}; download it again, or save the model with save_pretrained"
        ) from None
    if not isinstance(found, dict):
        raise InputError(
            f"{path} is a JSON {_KINDS.get(type(found), 'number')}, not an object; save the model "
            "with save_pretrained"
        )
    return found


_KINDS: dict[type, str] = {list: "list", str: "text", type(None): "null", bool: "boolean"}


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is truncated or damaged ({why}); download or save it again")
