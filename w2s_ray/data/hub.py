"""Resolves names on the Hugging Face hub to commits.

Owns the order of resolution: an explicit commit, the local cache, a request to the hub. After one
failed request the process makes no more, so that it waits for a timeout only once. It downloads no
files.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from w2s_ray.errors import InputError

RepoType = Literal["model", "dataset"]

TIMEOUT_S = 5.0
"""Timeout of a request to the hub."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRUE = {"1", "on", "yes", "true"}


class Lookups:
    """Resolves names until the first request fails."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """Why the hub can't be reached; None while it can."""

    def commit(
        self, name: str, *, kind: RepoType, revision: str | None, online: bool = True
    ) -> str | None:
        """The commit of `revision` of `name` (None = the newest); None if it can't be resolved.

        Raises:
            InputError: the hub has no such name or revision.
        """
        if revision is not None and _COMMIT.fullmatch(revision):
            return revision
        cached = cached_commit(name, kind=kind, revision=revision)
        if cached is not None:
            return cached
        return self._request(name, kind, revision) if online and self.reachable() else None

    def reachable(self) -> bool:
        """Whether requests to the hub are possible."""
        if self.failure is None and os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
            self.failure = "HF_HUB_OFFLINE is set"
        return self.failure is None

    def _request(self, name: str, kind: RepoType, revision: str | None) -> str | None:
        from huggingface_hub import HfApi, errors

        api = HfApi()
        look_up: Any = api.model_info if kind == "model" else api.dataset_info
        try:
            return look_up(name, revision=revision, timeout=TIMEOUT_S).sha
        except errors.RevisionNotFoundError:
            raise InputError(
                f"{kind} {name!r} has no revision {revision!r} on the Hugging Face "
                "hub; give a commit, a tag or a branch, or remove it"
            ) from None
        except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
            raise InputError(
                f"no {kind} {name!r} on the Hugging Face hub, or no access to it "
                f"({type(error).__name__}); correct the name, or log in with "
                "`hf auth login`"
            ) from None
        except Exception as error:  # noqa: BLE001 - any other error counts as unreachable
            self.failure = f"the Hugging Face hub can't be reached ({type(error).__name__})"
            return None


LOOKUPS = Lookups()
"""The look-ups of this process."""


def cached_commit(name: str, *, kind: RepoType, revision: str | None) -> str | None:
    """The commit of `name` in the local Hugging Face cache, or None."""
    folder = _repo_folder(name, kind=kind) / "refs"
    try:
        text = (folder / (revision or "main")).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if _COMMIT.fullmatch(text) else None


def cache_folder() -> Path:
    """The cache folder of the Hugging Face hub client."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME")
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return (Path(home) if home else base).expanduser() / "hub"


def snapshot_folder(name: str, commit: str) -> Path:
    """The folder of a model's files at `commit` in the hub client's cache; it may not exist."""
    return _repo_folder(name, kind="model") / "snapshots" / commit


def _repo_folder(name: str, *, kind: RepoType) -> Path:
    return cache_folder() / f"{kind}s--{name.replace('/', '--')}"


@contextlib.contextmanager
def without_network(offline: bool) -> Iterator[None]:
    """Context in which the hub's libraries use only their caches, if `offline`."""
    if not offline:
        yield
        return
    import datasets.config
    import huggingface_hub.constants

    flags = [(huggingface_hub.constants, "HF_HUB_OFFLINE"), (datasets.config, "HF_HUB_OFFLINE")]
    before = [getattr(module, name, False) for module, name in flags]
    for module, name in flags:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(flags, before, strict=True):
            setattr(module, name, value)
