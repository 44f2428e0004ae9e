"""Names on the Hugging Face hub to commits.

Owns the order in which a name is resolved: an explicit commit, the local cache, the network. One
failed look-up is enough for a process: after it nothing waits for the network again. It downloads
nothing, and knows nothing of tasks and models beyond their names.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from w2s_ray.errors import InputError

Kind = Literal["model", "dataset"]

TIMEOUT_S = 5.0
"""Longest wait for one answer of the hub."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRUE = {"1", "on", "yes", "true"}


class Lookups:
    """Resolves names, and remembers that the hub could not be reached."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """Why the hub can't be asked; null while it can."""

    def commit(
        self, name: str, *, kind: Kind, revision: str | None, online: bool = True
    ) -> str | None:
        """The commit that `revision` of `name` stands for (null = the newest), or None.

        Raises:
            InputError: the hub was asked, and has no such name or revision.
        """
        if revision is not None and _COMMIT.fullmatch(revision):
            return revision
        cached = cached_commit(name, kind=kind, revision=revision)
        if cached is not None:
            return cached
        return self._ask(name, kind, revision) if online and self.reachable() else None

    def reachable(self) -> bool:
        """Whether the network may be asked."""
        if self.failure is None and os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
            self.failure = "HF_HUB_OFFLINE is set"
        return self.failure is None

    def _ask(self, name: str, kind: Kind, revision: str | None) -> str | None:
        from huggingface_hub import HfApi, errors

        api = HfApi()
        look_up: Any = api.model_info if kind == "model" else api.dataset_info
        try:
            return look_up(name, revision=revision, timeout=TIMEOUT_S).sha
        except errors.RevisionNotFoundError:
            raise InputError(
                f"{kind} {name!r} has no revision {revision!r} on the Hugging Face "
                "hub; name a commit, a tag or a branch, or leave it out"
            ) from None
        except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
            raise InputError(
                f"no {kind} {name!r} on the Hugging Face hub, or no access to it "
                f"({type(error).__name__}); correct the name, or log in with "
                "`hf auth login`"
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever else fails, the hub did not answer
            self.failure = f"the Hugging Face hub did not answer ({type(error).__name__})"
            return None


LOOKUPS = Lookups()
"""The look-ups of this process."""


def cached_commit(name: str, *, kind: Kind, revision: str | None) -> str | None:
    """The commit of `name` that the local Hugging Face cache has, or None."""
    folder = cache_folder() / f"{kind}s--{name.replace('/', '--')}" / "refs"
    try:
        text = (folder / (revision or "main")).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if _COMMIT.fullmatch(text) else None


def cache_folder() -> Path:
    """Where the Hugging Face hub client keeps what it downloaded."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME")
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return (Path(home) if home else base).expanduser() / "hub"


@contextlib.contextmanager
def without_network(offline: bool) -> Iterator[None]:
    """Within it, if `offline`, the hub's libraries use their caches and don't try the network."""
    if not offline:
        yield
        return
    import datasets.config
    import huggingface_hub.constants

    places = [(huggingface_hub.constants, "HF_HUB_OFFLINE"), (datasets.config, "HF_HUB_OFFLINE")]
    before = [getattr(module, name, False) for module, name in places]
    for module, name in places:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            setattr(module, name, value)
