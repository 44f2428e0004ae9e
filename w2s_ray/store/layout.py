"""Names of files and folders in a store, and the checks on their contents.

Owns the paths, the format version, and the rule which of a run's files holds its status. Its
functions take names and bytes, and open no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from w2s_ray.errors import InputError
from w2s_ray.store.checksums import without_checksum
from w2s_ray.store.damage import RESTORE, Damaged
from w2s_ray.store.errors import StoreError
from w2s_ray.store.records import NAME_PATTERN, Stored

FORMAT = 1
"""Version of the layout; a store with a newer one is refused."""

TOP = ("catalog", "runs", "splits", "store.json", "sweeps", "work")
"""Names in the folder of a store; others in it are not its own."""

WEIGHT_SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".md", ".jinja")
"""Suffixes of the files that a folder of weights may hold: tensors, configuration and tokenizer;
nothing pickled."""

_ATTEMPT = re.compile(r"attempt-(\d+)\.json")

T = TypeVar("T", bound=Stored)


def is_name(value: str) -> bool:
    """Whether `value` can be the id of a run or a split, or the name of a sweep."""
    return re.fullmatch(NAME_PATTERN, value) is not None


def checked_name(value: str) -> str:
    """`value` if it can be a file name in every store.

    Raises:
        StoreError: it can't (empty, a path, a hidden name).
    """
    if not is_name(value):
        raise StoreError(
            f"{value!r} can't name a run, split or sweep; use letters, digits, '.', '_' and '-'"
        )
    return value


def is_relative_path(path: str) -> bool:
    """Whether `path` is relative and stays below any folder that it is joined to."""
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def checked_path(path: str) -> str:
    """`path`, which may be read from a store's files, if it may be joined to a folder.

    Raises:
        StoreError: it is absolute, empty, or has a part such as `..`.
    """
    if not is_relative_path(path):
        raise StoreError(
            f"the path {path!r} in a store is not a relative path below its folder, and may have "
            "been written to reach other files: remove it, and check who can write to the store"
        )
    return path


def run(id_: str) -> str:
    """The folder of a run."""
    return f"runs/{checked_name(id_)}"


def split(fingerprint: str) -> str:
    """The folder of a split."""
    return f"splits/{checked_name(fingerprint)}"


CLAIMS = "claims"
"""The folder of leases, beside the folders of fits."""


def claim(lease: str) -> str:
    """The file of a lease."""
    return f"work/{CLAIMS}/{checked_name(lease)}.json"


LIVE = "live"
"""The folder of the states of running drivers, beside the folders of fits."""


def driver_state(driver: str) -> str:
    """The file with the state of a running driver."""
    return f"work/{LIVE}/{checked_name(driver)}.json"


STOP = ".stop"
"""Suffix of a stop request."""


def stop_request(driver: str) -> str:
    """The file whose presence requests that a driver stop."""
    return f"work/{LIVE}/{checked_name(driver)}{STOP}"


def work(fit_id: str) -> str:
    """The folder of a fit's files while it runs."""
    return f"work/{checked_name(fit_id)}"


def cached_table(table: str) -> str:
    """The file of a table that can be computed again."""
    return f"catalog/derived/{checked_name(table)}.parquet"


ACTIVATIONS = "catalog/activations"
"""The folder of activations, which can be computed again."""


def activations_about(of: str) -> str:
    """The file by whose presence activations are there whole."""
    return f"{ACTIVATIONS}/{checked_name(of)}/about.json"


def activations_file(of: str, sha256: str) -> str:
    """The file of activations with this content."""
    return f"{ACTIVATIONS}/{checked_name(of)}/{checked_name(sha256)}.safetensors"


def outcomes(names: Iterable[str]) -> list[str]:
    """A run's record and attempts among the names of its files; the last one is current."""
    names = set(names)
    matches = map(_ATTEMPT.fullmatch, names)
    attempts = sorted((int(match[1]), match[0]) for match in matches if match)
    return [path for _, path in attempts] + ["record.json"] * ("record.json" in names)


def is_known(names: Iterable[str]) -> bool:
    """Whether these are the files of a run with an outcome, or of a study with trials."""
    return any(path.startswith("trials/") for path in names) or bool(outcomes(names))


def next_attempt(paths: Iterable[str]) -> int:
    """The number of the attempt after the ones among `paths`."""
    matches = (_ATTEMPT.fullmatch(path.rsplit("/", 1)[-1]) for path in paths)
    return 1 + max((int(match[1]) for match in matches if match), default=0)


def match_id(prefix: str, known: Iterable[str], *, uri: str) -> str:
    """The one id among `known` that begins with `prefix`.

    Raises:
        StoreError: no id or several ids do.
    """
    known = sorted(known)
    matches = [id_ for id_ in known if prefix and id_.startswith(prefix)]
    if prefix in matches or len(matches) == 1:
        return prefix if prefix in matches else matches[0]
    if not matches:
        raise StoreError(f"no run {prefix!r} in {uri}, which holds {len(known)} runs")
    shown = ", ".join(matches[:5]) + (", ..." if len(matches) > 5 else "")
    raise StoreError(f"{prefix!r} begins {len(matches)} run ids ({shown}); give more digits")


def check_format(marker: object, uri: str) -> None:
    """Raises StoreError where `store.json` is damaged, or of a store of a newer version."""
    version = marker.get("format") if isinstance(marker, dict) else None
    if version is None:
        raise StoreError(
            f"{uri}/store.json is damaged: it has no format; if this is a store of w2s_ray, "
            f'put {{"format": {FORMAT}}} in that file'
        )
    if not isinstance(version, int) or version > FORMAT:
        raise StoreError(
            f"the store {uri} has format {version!r}, and this version reads up to {FORMAT}; "
            "upgrade w2s_ray, or name another store"
        )


def check_weights(folder: Path) -> None:
    """Raises InputError if `folder` holds files other than safetensors and text files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    refused = sorted(path.name for path in files if path.suffix not in WEIGHT_SUFFIXES)
    if refused or not files:
        raise InputError(
            f"weights in {folder}: {', '.join(refused) or 'no files'}; keep safetensors, and only "
            f"files that end in {', '.join(WEIGHT_SUFFIXES)}"
        )


def parse(model: type[T], data: bytes, *, where: str, costs: str = "", remedy: str = "") -> T:
    """A record, manifest or other stored value from its JSON.

    Raises:
        Damaged: it is damaged, or was written by another version of this program.
    """
    costs, remedy = costs or "it can't be read", remedy or RESTORE
    try:
        return model.model_validate_json(without_checksum(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        why = f"not a {model.__name__.lower()} of this version: {place}: {first['msg']}"
        raise Damaged(where, why, costs=costs, remedy=remedy) from error
    except ValueError as error:
        raise Damaged(where, error, costs=costs, remedy=remedy) from error
