"""Downloads files from the Hugging Face hub into the hub client's cache, with progress.

Owns the set of a model's files that a fit reads, and the errors of a download: what the hub lacks
or refuses is the user's to correct, trouble of the network is worth a retry. A model is loaded from
the downloaded folder, so that loading makes no request. Names are resolved elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from w2s_ray.config import ModelSource
from w2s_ray.data.headers import INDEX, WEIGHTS, weight_files
from w2s_ray.data.hub import (
    RepoType,
    cache_folder,
    endpoint,
    gated,
    no_safetensors,
    snapshot_folder,
    with_timeouts,
)
from w2s_ray.errors import InputError
from w2s_ray.network import HubUnreachable, is_answer, is_gated, is_of_the_network
from w2s_ray.printable import one_line

Progress = Callable[[int, int], None]
"""Gets the downloaded bytes, and the bytes in all."""

REPORT_EVERY_S = 2.0
TIMM = "timm:"
_SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "tekken.json",
    "*.model",
    "*.tiktoken",
    INDEX,
)
"""Configuration, tokenizer and the index of the weights."""


def fetch_model(source: ModelSource, *, progress: Progress | None = None) -> ModelSource:
    """`source` with the folder of its files as location; hub models are downloaded if needed.

    `progress` is called regularly while weights are downloaded.

    Raises:
        InputError: the hub has no such files or gives no access to them.
        HubUnreachable: the files are not in the cache, and the hub can't be reached.
    """
    if source.revision is None:
        return source
    name = hub_name(source.location)
    code = ["*.py"] if source.trust_remote_code else []
    folder = download(name, source.revision, files=[*_SMALL_FILES, *code])
    indexed = (folder / INDEX).is_file() and not (folder / WEIGHTS).is_file()
    weights = [path.name for path in weight_files(folder)] if indexed else [WEIGHTS]
    if any(not (folder / file).is_file() for file in weights):
        with _reported(name, source.revision, weights, progress):
            download(name, source.revision, files=weights)
    missing = [file for file in weights if not (folder / file).is_file()]
    if missing:
        raise InputError(no_safetensors(name, source.revision))
    if source.location.startswith(TIMM):
        return source  # timm reads the same files of the cache by name and commit
    return source.model_copy(update={"location": str(folder), "revision": None})


def fetch_config(source: ModelSource) -> None:
    """Download the config.json of a hub model, with which planning checks and estimates it.

    Raises:
        InputError, HubUnreachable: as for `fetch_model`.
    """
    if source.revision is None or source.provisional:
        return
    name = hub_name(source.location)
    if not (snapshot_folder(name, source.revision) / "config.json").is_file():
        download(name, source.revision, files=["config.json"])


def hub_name(location: str) -> str:
    """The name on the hub of the model at `location`."""
    is_timm = location.startswith(TIMM)
    return f"timm/{location.removeprefix(TIMM)}" if is_timm else location


def download(name: str, commit: str, *, files: Iterable[str], kind: RepoType = "model") -> Path:
    """The folder of `name` at `commit` with the files that match `files`, downloaded if needed.

    Raises:
        InputError, HubUnreachable: as for `fetch_model`.
    """
    with errors_of_download(name, kind):
        found: Any = _snapshot(name, commit, files, kind)
        return Path(found)


@contextmanager
def errors_of_download(name: str, kind: RepoType) -> Iterator[None]:
    """Within it, errors of the hub's library become errors of the user or of the network."""
    try:
        yield
    except Exception as error:
        reason = one_line(str(error) or type(error).__name__, most=240).rstrip(".")
        message = f"{kind} {name} can't be downloaded from {endpoint()}: {reason}"
        if is_of_the_network(error):
            raise HubUnreachable(message) from error
        if is_gated(error):
            raise InputError(gated(name, kind)) from error
        if is_answer(error):
            raise InputError(
                f"{message}; correct the name or the revision, or log in with `hf auth login`"
            ) from error
        raise


def _snapshot(
    name: str, commit: str, files: Iterable[str], kind: RepoType, *, dry_run: bool = False
) -> Any:
    from huggingface_hub import snapshot_download

    how: Any = {"dry_run": True} if dry_run else {}
    with _no_progress_bars(), with_timeouts():
        return snapshot_download(
            name,
            repo_type=kind,
            revision=commit,
            cache_dir=str(cache_folder()),
            endpoint=endpoint(),
            allow_patterns=list(files),
            **how,
        )


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _reported(
    name: str, commit: str, files: list[str], progress: Progress | None
) -> Iterator[None]:
    """Within it, `progress` gets the bytes of `files` that are downloaded, every few seconds.

    They are counted in the cache's folder, so that a process that waits for another's download of
    the same model reports it too.
    """
    if progress is None:
        yield
        return
    with errors_of_download(name, "model"):
        planned = _snapshot(name, commit, files, "model", dry_run=True)
    total = sum(file.file_size or 0 for file in planned if file.will_download)
    blobs = cache_folder() / f"models--{name.replace('/', '--')}" / "blobs"
    before, is_over = _bytes_in(blobs, complete=True), threading.Event()

    def report() -> None:
        while True:
            progress(min(total, max(0, _bytes_in(blobs) - before)), total)
            if is_over.wait(REPORT_EVERY_S):
                return

    thread = threading.Thread(target=report, name="w2s-fetch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    progress(total, total)


def _bytes_in(folder: Path, *, complete: bool = False) -> int:
    """Bytes of the files in `folder`, without those of unfinished downloads if `complete`."""
    total = 0
    for path in folder.glob("*"):
        if complete and path.name.endswith(".incomplete"):
            continue
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # renamed when it was complete
            continue
    return total
