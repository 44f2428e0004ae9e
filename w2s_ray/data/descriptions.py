"""Shapes of models by their configurations, each described once on this machine.

Owns where descriptions are kept: those of the embedded ladder ship with the package, others are
notes under the configuration's content and the versions of the libraries. All that are missing are
made by one process, since it imports torch and transformers, which takes seconds. No network is
used, and no code that a model brings along.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from w2s_ray.config import ModelSource
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.hub import snapshot_folder
from w2s_ray.identity import digest
from w2s_ray.ladder import DESCRIPTIONS

_log = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Raised whenever the same configuration gets another description, so that notes are forgotten."""
_LIBRARIES = ("transformers", "peft")
"""Those on which a description depends."""
_TIMEOUT_S = 300
_COMMAND = (sys.executable, "-m", "w2s_ray.learn.describe")

_known: dict[str, Architecture | str] = {}
"""Digest of a configuration -> its model's shape, or why it isn't known; of this process."""


def described(config: Mapping[str, Any]) -> Architecture | str:
    """The shape of the model that a config.json declares, or why it isn't known."""
    describe([config])
    return _known[config_digest(config)]


def describe(configs: Iterable[Mapping[str, Any]]) -> None:
    """Have the shapes of all these ready; those that are missing are made together."""
    missing: dict[str, Mapping[str, Any]] = {}
    for config in configs:
        name = config_digest(config)
        if name in _known:
            continue
        found = _shape(_shipped().get(name)) or _shape(read_note("models", key=_key(name)))
        if found is None:
            missing[name] = config
        else:
            _known[name] = found
    if missing:
        _log.info(
            "computing the sizes of %d new model configurations (seconds, once)", len(missing)
        )
    for name, answer in zip(missing, answers(list(missing.values())), strict=True):
        found = _shape(answer)
        if found is None:
            _known[name] = "the process that describes it failed (`python -c 'import torch, peft'`)"
        else:
            write_note("models", key=_key(name), note=answer)
            _known[name] = found


def architecture_of(source: ModelSource) -> Architecture | str:
    """The shape of the model at `source`, or why it isn't known."""
    config = config_of(source)
    if config is None:
        of = f" --revision {source.revision}" if source.revision else ""
        return (
            f"the config.json of {source.name} is not on this machine; where there is a hub, "
            f"`hf download {source.location} config.json{of}` fetches it alone"
        )
    if source.trust_remote_code and "auto_map" in config:
        return f"{source.name} is not estimated: it brings its own code"
    found = described(config)
    if isinstance(found, str):
        return f"{source.name} ({config.get('model_type')}) is not estimated: {found}"
    return found


def config_of(source: ModelSource) -> dict[str, Any] | None:
    """The configuration of the model at `source`: of its folder, or of the hub's cache."""
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
    """A name for the content of a config.json."""
    return digest(json.dumps(config, sort_keys=True))


def answers(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What `learn/describe` writes of each; empty where it failed on one or ran out of time.

    It begins again after the one on which it failed.
    """
    made: list[dict[str, Any]] = []
    while len(made) < len(configs):
        lines = [json.dumps(config) for config in configs[len(made) :]]
        found = [json.loads(line) for line in _lines(lines)][: len(lines)]
        made += found if len(found) == len(lines) else [*found, {}]
    return made


def _lines(asked: Sequence[str]) -> list[str]:
    """The whole lines that the program writes in answer to those asked."""
    quiet = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **quiet},
    )
    with process:
        try:
            written, _ = process.communicate("\n".join(asked) + "\n", timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            written, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    return [line for line in written.splitlines(keepends=True) if line.endswith("\n")]


def _shape(description: Mapping[str, Any] | None) -> Architecture | str | None:
    match description:
        case {"why": str(why)}:
            return why
        case None:
            return None
    try:
        return Architecture.of(description)
    except (TypeError, KeyError, AttributeError):
        return None


@cache
def _shipped() -> dict[str, Any]:
    """The descriptions of the embedded ladder."""
    return json.loads(DESCRIPTIONS.read_text(encoding="utf-8"))


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
