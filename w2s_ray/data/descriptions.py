"""Architectures of models by their configurations, each computed once per machine.

Owns the cache of descriptions. Those of the embedded and the open ladders ship with the package;
the key of any other is the configuration's content and the versions of the libraries. One process
computes all missing descriptions, because it imports torch and transformers, which takes seconds.
It uses no network and runs no code from a model's folder.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from w2s_ray.config import ModelSource
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.hub import snapshot_folder
from w2s_ray.identity import digest
from w2s_ray.ladder import DESCRIPTIONS, OPEN_MODELS

_log = logging.getLogger(__name__)

FORMAT_VERSION = 2
"""Incremented whenever the same configuration gives another description, so that old notes are
ignored."""
_LIBRARIES = ("transformers", "peft")
"""The libraries on which a description depends."""
_TIMEOUT_S = 300
_COMMAND = (sys.executable, "-m", "w2s_ray.learn.describe")

_architectures: dict[str, Architecture | str] = {}
"""Cache of this process: digest of a configuration -> the architecture, or the reason why it is
unknown."""


def architecture_from_config(config: Mapping[str, Any]) -> Architecture | str:
    """The architecture for a config.json, or the reason why it is unknown."""
    load_architectures([config])
    return _architectures[config_digest(config)]


def load_architectures(configs: Iterable[Mapping[str, Any]]) -> None:
    """Load the architectures of all `configs`; one process computes all missing descriptions."""
    missing: dict[str, Mapping[str, Any]] = {}
    for config in configs:
        name = config_digest(config)
        if name in _architectures:
            continue
        found = _parsed(_shipped().get(name), config)
        found = found or _parsed(read_note("models", key=_key(name)), config)
        if found is None:
            missing[name] = config
        else:
            _architectures[name] = found
    if missing:
        _log.info(
            "computing the sizes of %d new model configurations (seconds, once)", len(missing)
        )
    for name, made in zip(missing, run_describe(list(missing.values())), strict=True):
        found = _parsed(made, missing[name])
        if found is None:
            _architectures[name] = (
                "the process that describes models failed; check `python -c 'import torch, peft'`"
            )
        else:
            write_note("models", key=_key(name), note=made)
            _architectures[name] = found


def architecture_of(source: ModelSource) -> Architecture | str:
    """The architecture of the model at `source`, or the reason why it is unknown."""
    config = config_of(source)
    if config is None and source.location in _open_models():
        model = _open_models()[source.location]
        found = _parsed(model["description"], model["config"])
        assert found is not None, source.location
        return found
    if config is None:
        return (
            "config.json is not on this machine; plan again with access to the hub, from which it "
            "downloads this file"
        )
    if source.trust_remote_code and "auto_map" in config:
        return f"{source.name} is not estimated: its folder has its own code"
    found = architecture_from_config(config)
    if isinstance(found, str):
        return f"{source.name} ({config.get('model_type')}) is not estimated: {found}"
    return found


def config_of(source: ModelSource) -> dict[str, Any] | None:
    """The configuration of the model at `source`, from its folder or the hub's cache."""
    folders = [Path(source.location)]
    if source.revision is not None:
        folders.append(snapshot_folder(source.location, source.revision))
    for folder in folders:
        try:
            found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return found if isinstance(found, dict) else None
    return None


def config_digest(config: Mapping[str, Any]) -> str:
    """A digest of the content of a config.json."""
    return digest(json.dumps(config, sort_keys=True))


def run_describe(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The description of each configuration by `learn/describe`, run as a separate process.

    If the process fails or times out on a configuration, its description is empty, and a new
    process continues with the next.
    """
    made: list[dict[str, Any]] = []
    while len(made) < len(configs):
        lines = [json.dumps(config) for config in configs[len(made) :]]
        found = [json.loads(line) for line in _output_of(lines)][: len(lines)]
        made += found if len(found) == len(lines) else [*found, {}]
    return made


def _output_of(lines: Sequence[str]) -> list[str]:
    """The complete lines of output for the input `lines`."""
    environment = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    with process:
        try:
            written, _ = process.communicate("\n".join(lines) + "\n", timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            written, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    return [line for line in written.splitlines(keepends=True) if line.endswith("\n")]


def _parsed(
    description: Mapping[str, Any] | None, config: Mapping[str, Any]
) -> Architecture | str | None:
    """The architecture in a description of the model that `config` declares."""
    match description:
        case {"why": str(reason)}:
            return reason
        case None:
            return None
    try:
        found = Architecture.of(description)
    except (TypeError, KeyError, AttributeError):
        return None
    dtype = config.get("dtype", config.get("torch_dtype"))
    return replace(found, is_bf16=dtype == "bfloat16")


@cache
def _shipped() -> dict[str, Any]:
    """The descriptions of the embedded ladder."""
    return json.loads(DESCRIPTIONS.read_text(encoding="utf-8"))


@cache
def _open_models() -> dict[str, Any]:
    """The open models whose sizes are known without their files."""
    return json.loads(OPEN_MODELS.read_text(encoding="utf-8"))


def _key(name: str) -> list[Any]:
    return [FORMAT_VERSION, _versions(), name]


@cache
def _versions() -> list[str]:
    return [_version(library) for library in _LIBRARIES]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
