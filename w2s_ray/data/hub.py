"""Resolves names on the Hugging Face hub to commits.

Owns the order of resolution (this project's cache, the local Hugging Face cache, a request to the
hub), and the checks of the hub's answer: access, and weights as safetensors. The answer for a name
and a revision is cached, so that a sweep is resumed with the same commits and without a network.
After one failed request the process makes no more. It downloads no files.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.headers import INDEX, WEIGHTS
from w2s_ray.errors import InputError

RepoType = Literal["model", "dataset"]

TIMEOUT_S = 5.0
"""Timeout of a reply of the hub."""
TIMEOUTS_S = (1.0, TIMEOUT_S, TIMEOUT_S, TIMEOUT_S)
"""Timeouts of a request to the hub: to connect, to read, to write, for a free connection."""
OFFLINE = "HF_HUB_OFFLINE"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRUE = {"1", "on", "yes", "true"}
_NOTES = "hub_commits"
_CONVERTER, _CONVERSION = "SFconvertbot", "Adding `safetensors` variant of this model"
"""Author and title of the hub's pull requests that convert weights to safetensors; transformers
follows the same."""
_OTHER_WEIGHTS = (".bin", ".safetensors", ".h5", ".msgpack", ".gguf", ".pth", ".pt", ".ckpt.index")


class Lookups:
    """Resolves names until the first request fails."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """Why the hub can't be reached; None while it can."""

    def commit(
        self, name: str, *, kind: RepoType, revision: str | None, online: bool = True
    ) -> str | None:
        """The commit of `revision` of `name` (None = main); None if it can't be resolved.

        Of a model without safetensors on main it is the commit of the hub's own conversion.

        Raises:
            InputError: the hub has no such name or revision or gives no access to it, or the model
                has no safetensors weights.
        """
        key = [endpoint(), kind, name, revision or "main"]
        match read_note(_NOTES, key=key):
            case {"commit": str(commit)} if _COMMIT.fullmatch(commit):
                return commit
        pinned = revision is not None and _COMMIT.fullmatch(revision)
        known = revision if pinned else cached_commit(name, kind=kind, revision=revision)
        if known is not None and _is_downloaded(name, known, kind=kind):
            return known
        if not online or not self.reachable():
            return known
        commit = self._request(name, kind, revision)
        if commit is None:
            return known
        write_note(_NOTES, key=key, note={"commit": commit})
        return commit

    def reachable(self) -> bool:
        """Whether requests to the hub are possible."""
        if self.failure is None and os.environ.get(OFFLINE, "").lower() in _TRUE:
            self.failure = f"the Hugging Face hub isn't used: {OFFLINE} is set"
        return self.failure is None

    def why_unresolved(self) -> str:
        """Why a name isn't resolved, and the remedy; the same text for all names."""
        return (
            f"{self.failure or 'planning makes no requests'}; connect to it, or download the files "
            "and give a task's as `path`, a model's folder as `name`"
        )

    def _request(self, name: str, kind: RepoType, revision: str | None) -> str | None:
        from huggingface_hub import errors

        try:
            with with_timeouts():
                if kind == "model":
                    return _commit_of_model(name, revision)
                return _info(name, kind, revision).sha
        except InputError:
            raise
        except errors.RevisionNotFoundError:
            raise InputError(
                f"{kind} {name!r} has no revision {revision!r} on the Hugging Face "
                "hub; give a commit, a tag or a branch, or remove it"
            ) from None
        except errors.GatedRepoError:
            raise InputError(gated(name, kind)) from None
        except (
            errors.RepositoryNotFoundError,
            errors.DisabledRepoError,
            errors.HFValidationError,
        ) as error:
            raise InputError(
                f"no {kind} {name!r} on the Hugging Face hub, or no access to it "
                f"({type(error).__name__}); correct the name, or log in with "
                "`hf auth login`"
            ) from None
        except Exception as error:  # noqa: BLE001 - any other reply is not of a hub, but of a proxy
            self.failure = _unreachable(error)
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


def snapshot_folder(name: str, commit: str, *, kind: RepoType = "model") -> Path:
    """The folder of the files of `name` at `commit` in the hub client's cache; it may not exist."""
    return _repo_folder(name, kind=kind) / "snapshots" / commit


def is_cached(name: str, commit: str) -> bool:
    """Whether the hub client's cache has files of the data set `name` at `commit`."""
    return _is_downloaded(name, commit, kind="dataset")


def _repo_folder(name: str, *, kind: RepoType) -> Path:
    return cache_folder() / f"{kind}s--{name.replace('/', '--')}"


def _is_downloaded(name: str, commit: str, *, kind: RepoType) -> bool:
    """Whether the hub client's cache has files at `commit`: of a model its weights."""
    folder = snapshot_folder(name, commit, kind=kind)
    if kind == "dataset":
        return folder.is_dir()
    return (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()


def endpoint() -> str:
    """The address of the hub."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def _unreachable(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    why = f"HTTP status {status}" if status else type(error).__name__
    return f"the Hugging Face hub can't be reached ({why})"


def _info(name: str, kind: RepoType, revision: str | None) -> Any:
    """The hub's answer about `name`: the commit, the gate, the names of its files."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    look_up: Any = api.model_info if kind == "model" else api.dataset_info
    info = look_up(name, revision=revision, timeout=TIMEOUTS_S)
    if info.gated:
        api.auth_check(name, repo_type=kind)
    return info


def _commit_of_model(name: str, revision: str | None) -> str:
    """The commit of a model, or that of the conversion of its main branch.

    Raises:
        InputError: neither has safetensors weights.
    """
    info = _info(name, "model", revision)
    names = {file.rfilename for file in info.siblings or ()}
    if names & {WEIGHTS, INDEX}:
        return info.sha
    converted = _conversion(name, info.sha) if revision in (None, "main") else None
    if converted is None:
        raise InputError(no_safetensors(name, revision, names))
    return converted


def _conversion(name: str, main: str) -> str | None:
    """The commit of the hub's open pull request that converts the weights of commit `main`."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    for request in api.get_repo_discussions(
        name, author=_CONVERTER, discussion_type="pull_request", discussion_status="open"
    ):
        if request.title == _CONVERSION and request.author == _CONVERTER:
            commits = api.list_repo_commits(name, revision=request.git_reference)
            if [commit.commit_id for commit in commits[1:2]] == [main]:
                return commits[0].commit_id
    return None


def no_safetensors(name: str, revision: str | None, files: Iterable[str] = ()) -> str:
    """The error for a model without safetensors weights; `files` are those that it has."""
    others = sorted(file for file in files if file.endswith(_OTHER_WEIGHTS))[:3]
    instead = f", only {', '.join(others)}" if others else ""
    at = f" at revision {revision}" if revision else ""
    return (
        f"model {name!r}{at} has no {WEIGHTS} on the Hugging Face hub{instead} (pickles are never "
        "loaded); give a `revision` that has it, such as `refs/pr/N` of a conversion, or load the "
        "model with transformers, call save_pretrained and give that folder"
    )


def gated(name: str, kind: RepoType) -> str:
    """The error for a gated model or data set without access."""
    page = f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{name}"
    return (
        f"{kind} {name!r} is gated and this machine has no access; accept its licence at {page}, "
        "then log in with `hf auth login` (or set HF_TOKEN)"
    )


@contextlib.contextmanager
def with_timeouts() -> Iterator[None]:
    """Within it, every request of the hub's library has timeouts; some of them have none."""
    from huggingface_hub.utils import get_session

    session: Any = get_session()
    before = session.timeout
    session.timeout = TIMEOUTS_S
    try:
        yield
    finally:
        session.timeout = before


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
