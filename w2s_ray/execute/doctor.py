"""Checks of this machine before a sweep: versions, Ray, GPU, hub, store and disk space.

Each check takes seconds at most and starts nothing. A finding is `broken` only if no sweep can run
with it; a sweep can do without a hub, a token or a GPU.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from w2s_ray.data.cache import cache_folder
from w2s_ray.data.hub import OFFLINE, endpoint
from w2s_ray.errors import InputError
from w2s_ray.execute.environment import ray_address
from w2s_ray.store import Store

NEEDED = ("w2s_ray", "ray", "torch", "transformers", "deepspeed", "optuna", "datasets")
LEAST_BYTES = 2**30
"""Free space with which a store or a cache is reported as full."""
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    state: Literal["ok", "note", "broken"]
    detail: str
    remedy: str = ""


def examine(store: Store) -> list[Finding]:
    """The findings of every check, with results in `store`."""
    checks: dict[str, Callable[[], Finding]] = {
        "versions": _versions,
        "Ray": _ray,
        "GPU": _gpu,
        "hub": _hub,
        "token": _token,
        "store": lambda: _store(store),
        "disk": lambda: _disk(store),
    }
    return [_found(name, check) for name, check in checks.items()]


def _found(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (InputError, OSError) as error:
        return Finding(name, "broken", *_divided(str(error)))


def _divided(message: str) -> tuple[str, str]:
    """An error's message as what is wrong and the remedy."""
    wrong, _, remedy = message.rpartition("; ")
    return (wrong, remedy) if wrong else (message, "")


def _versions() -> Finding:
    found, missing = [], []
    for package in NEEDED:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        detail = f"{', '.join(missing)} can't be found"
        return Finding("versions", "broken", detail, f"pip install {' '.join(missing)}")
    return Finding("versions", "ok", ", ".join(found))


def _ray() -> Finding:
    address = ray_address(None)
    if address is not None:
        return _cluster(address)
    from w2s_ray.execute.local_ray import check_open_files
    from w2s_ray.execute.ray_folder import ray_folder

    check_open_files()
    with ray_folder() as folder:
        place = folder.parent.parent
    return Finding("Ray", "ok", f"can be started here: {os.cpu_count()} CPUs, its files in {place}")


def _cluster(address: str) -> Finding:
    """Whether the head of the cluster in `RAY_ADDRESS` accepts connections."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return Finding(
            "Ray", "note", f"RAY_ADDRESS={address}: the running Ray is found at the start"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_S).close()
    except OSError as error:
        detail = f"no cluster answers at RAY_ADDRESS={address} ({error})"
        return Finding(
            "Ray", "broken", detail, "start it, or unset RAY_ADDRESS to use this machine"
        )
    return Finding("Ray", "ok", f"a process accepts connections at RAY_ADDRESS={address}")


def _gpu() -> Finding:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    none = Finding("GPU", "note", "no NVIDIA GPU: fits on this machine use CPUs")
    try:
        asked = subprocess.run(
            query, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return none
    except subprocess.TimeoutExpired:
        detail = f"nvidia-smi has not answered in {TIMEOUT_S:.0f} s"
        return Finding("GPU", "broken", detail, "restart the driver or the machine")
    names = [line.strip() for line in asked.stdout.splitlines() if line.strip()]
    if asked.returncode != 0 or not names:
        return none
    import torch

    if not torch.cuda.is_available():
        detail = f"torch {torch.__version__} can't use {'; '.join(names)}"
        return Finding("GPU", "broken", detail, "install a torch for the driver's CUDA version")
    return Finding("GPU", "ok", "; ".join(names))


def _hub() -> Finding:
    if os.environ.get(OFFLINE):
        return Finding("hub", "note", f"not used: {OFFLINE} is set")
    import httpx

    try:
        httpx.head(endpoint(), timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        detail = f"{endpoint()} can't be reached ({type(error).__name__})"
        remedy = "connect to it, or use models and data that are on this machine"
        return Finding("hub", "note", detail, remedy)
    return Finding("hub", "ok", f"{endpoint()} answers")


def _token() -> Finding:
    from huggingface_hub import get_token

    if get_token():
        return Finding("token", "ok", "a token of the Hugging Face hub is set")
    detail = "no token of the Hugging Face hub; gated models and private data need one"
    return Finding("token", "note", detail, "`hf auth login`, or set HF_TOKEN")


def _store(store: Store) -> Finding:
    if store.exists():
        store.check_writable()
        return Finding("store", "ok", f"{store.uri} can be written, with conditional writes")
    place = store.uri if "://" in store.uri else str(_existing(Path(store.uri)))
    Store.open(place).check_conditional_writes()
    return Finding("store", "ok", f"{store.uri} can be made, with conditional writes")


def _disk(store: Store) -> Finding:
    folders = [cache_folder(), *([] if "://" in store.uri else [_existing(Path(store.uri))])]
    free = {folder: shutil.disk_usage(folder).free for folder in dict.fromkeys(folders)}
    detail = ", ".join(f"{bytes_ / 1e9:.0f} GB free in {folder}" for folder, bytes_ in free.items())
    if min(free.values()) < LEAST_BYTES:
        return Finding("disk", "broken", detail, "free some space, or set W2S_CACHE and --store")
    return Finding("disk", "ok", detail)


def _existing(folder: Path) -> Path:
    """`folder`, or its nearest parent that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
