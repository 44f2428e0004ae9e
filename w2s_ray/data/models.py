"""Resolves a sweep's model names to identities.

Owns the digest over a local model's files, and the set of files that it covers. The identity of a
hub model is its name and commit, of a feature file its content. It loads no models.
"""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from w2s_ray.config import Model, ModelSource
from w2s_ray.config.ladders import is_pickled
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.fetch import TIMM, hub_name
from w2s_ray.data.files import stamp
from w2s_ray.data.finite import hashed
from w2s_ray.data.folders import folder_of, model_files, refuse_adapter
from w2s_ray.data.headers import weight_files
from w2s_ray.data.hub import LOOKUPS, no_safetensors
from w2s_ray.data.images import FEATURE_FILES
from w2s_ray.errors import InputError
from w2s_ray.identity import canonical_json

_EMBEDDED = "embedded:"
_PIXELS = "pixels:"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_CONTENT = re.compile(r"sha256:[0-9a-f]{64}")
"""The identity of a local model: the digest of its files."""
_COUNTED = (
    "config.json",
    "preprocessor_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "*.tiktoken",
    "*.py",
)
"""Files in the digest: configuration, weights, tokenizer and code, which determine the output."""

_NOT_READ = frozenset({"pooler", "masked_bias"})
"""Parts of the names of tensors that no fit uses; `masked_bias` is infinite in half precision."""


def model_source(model: Model, *, online: bool = True) -> ModelSource:
    """The location and the identity of `model`.

    Raises:
        InputError: no such folder or hub name, or a folder without configuration or safetensors
            weights.
    """
    name = model.name
    if name.startswith(_EMBEDDED):
        from w2s_ray.ladder import folder

        return _local(model, folder(name.removeprefix(_EMBEDDED)))
    if name.startswith(_PIXELS):
        return _pixels(model, name.removeprefix(_PIXELS))
    if Path(name).suffix in FEATURE_FILES:
        return _feature_file(model, Path(name).expanduser().absolute())
    if name.startswith(TIMM):
        return _timm(model, name.removeprefix(TIMM), online)
    if name.startswith((".", "/", "~")) or Path(name).is_dir():
        return _local(model, Path(name).expanduser().absolute())
    if not _HUB_NAME.fullmatch(name):
        raise InputError(
            f"model {name!r} is neither an existing folder nor a hub name; write a hub name as "
            "'org/name', or a folder with ./, / or ~ at the beginning"
        )
    commit = LOOKUPS.commit(name, kind="model", revision=model.revision, online=online)
    resolved = f"hub:{name}@{commit}"
    return ModelSource(
        name=model.label or name,
        location=name,
        revision=commit or model.revision,
        identity=resolved if commit else f"hub:{name}@unresolved:{model.revision or 'main'}",
        trust_remote_code=model.trust_remote_code,
        provisional=commit is None,
        note="" if commit else _why_unresolved(name, model.revision),
    )


def _why_unresolved(name: str, revision: str | None) -> str:
    """Why a hub model isn't resolved: that it can't be, where this is known without the hub."""
    if revision in (None, "main") and is_pickled(name):
        return no_safetensors(name, None)
    return LOOKUPS.why_unresolved()


def makes_features_only(model: Model) -> bool:
    """Whether `model` computes or stores features and reads no text."""
    return model.name.startswith((_PIXELS, TIMM)) or Path(model.name).suffix in FEATURE_FILES


def needs_images(model: Model) -> bool:
    """Whether `model` computes features of images; a feature file needs no images."""
    return Path(model.name).suffix not in FEATURE_FILES


def _pixels(model: Model, blocks: str) -> ModelSource:
    if not blocks.isdecimal() or int(blocks) == 0:
        raise InputError(
            f"model {model.name!r}: write the number of blocks a side after {_PIXELS}, such as "
            f"{_PIXELS}8"
        )
    name = f"{_PIXELS}{int(blocks)}"
    return ModelSource(name=model.label or name, location=name, identity=name)


def _feature_file(model: Model, path: Path) -> ModelSource:
    if not path.exists():
        return ModelSource(
            name=model.label or model.name,
            location=str(path),
            identity=f"unresolved:{model.name}",
            provisional=True,
            note=f"no feature file at {path}; correct the path",
        )
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a feature file as `name`")
    digest = _file_digest(path)
    return ModelSource(
        name=model.label or model.name, location=str(path), identity=f"sha256:{digest}"
    )


def _timm(model: Model, name: str, online: bool) -> ModelSource:
    if find_spec("timm") is None:
        raise InputError(
            f"model {model.name!r} needs timm, which is not installed; pip install "
            "'w2s_ray[vision]', or give a transformers model or a feature file"
        )
    revision = model.revision
    commit = LOOKUPS.commit(hub_name(model.name), kind="model", revision=revision, online=online)
    pinned = commit or f"unresolved:{revision or 'main'}"
    return ModelSource(
        name=model.label or model.name,
        location=model.name,
        revision=commit or revision,
        identity=f"timm:timm/{name}@{pinned}",
        provisional=commit is None,
        note="" if commit else LOOKUPS.why_unresolved(),
    )


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the model's files in `folder`.

    It doesn't depend on the folder's path.

    Raises:
        InputError: no folder, no config.json, or no safetensors weights.
    """
    _check(folder)
    files = sorted(
        {path for pattern in _COUNTED for path in folder.glob(pattern) if path.is_file()}
    )
    contents = [[path.name, _file_digest(path)] for path in files]
    return hashlib.sha256(canonical_json(contents).encode()).hexdigest()


def check_values(source: ModelSource) -> None:
    """Refuse a model on this machine whose weights have NaN or infinite values.

    Raises:
        InputError: names the tensor, its file and the remedy.
    """
    files, folder = model_files(source), folder_of(source)
    if folder is None or files is None or not files.tensors:
        return
    for path in weight_files(folder):
        wrong = [name for name in _note(path)["not_finite"] if _is_read(name)]
        if wrong:
            others = f" and {len(wrong) - 1} others have" if len(wrong) > 1 else " has"
            raise InputError(
                f"tensor {wrong[0]}{others} NaN or infinite values in {path}; the file is damaged "
                "or its training diverged: download or save it again, or give another model"
            )


def check_unchanged(source: ModelSource) -> None:
    """Refuse a local model or feature file that changed since it was planned.

    Raises:
        InputError: its content doesn't match its identity.
    """
    if not _CONTENT.fullmatch(source.identity):
        return
    path = Path(source.location)
    one_file = path.suffix in FEATURE_FILES and path.is_file()
    found = _file_digest(path) if one_file else folder_digest(path)
    if f"sha256:{found}" != source.identity:
        raise InputError(
            f"{path} changed since the sweep was planned; run the sweep again to plan it again, or "
            "restore the files"
        )


def _is_read(tensor: str) -> bool:
    return _NOT_READ.isdisjoint(tensor.split("."))


def _local(model: Model, folder: Path) -> ModelSource:
    return ModelSource(
        name=model.label or model.name,
        location=str(folder),
        identity=f"sha256:{folder_digest(folder)}",
        trust_remote_code=model.trust_remote_code,
    )


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(
            f"no model folder at {folder}; correct the path, or give a hub name such as org/name"
        )
    refuse_adapter(folder)
    if not (folder / "config.json").is_file():
        raise InputError(
            f"the model folder {folder} has no config.json; give a folder that "
            "save_pretrained wrote"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        remedy = "save the model with save_pretrained"
        if pickled:
            remedy = (
                f"its {', '.join(pickled)} are pickles, which are never loaded: if you trust them, "
                "load the model with transformers and call save_pretrained, which writes "
                "safetensors"
            )
        raise InputError(f"the model folder {folder} has no *.safetensors weights; {remedy}")


def _file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return _note(path)["sha256"]


def _note(path: Path) -> dict[str, Any]:
    """Digest and tensors that aren't finite of a file, from the cache if its stamp is unchanged."""
    key = [list(stamp(path.resolve()))]
    weights = path.suffix == ".safetensors"
    match read_note("file_digests", key=key):
        case {"sha256": str()} as note if not weights:
            return note
        case {"sha256": str(), "not_finite": list()} as note:
            return note
    if weights:
        digest, tensors = hashed(path)
        note = {"sha256": digest, "not_finite": tensors}
    else:
        with path.open("rb") as file:
            note = {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    write_note("file_digests", key=key, note=note)
    return note
