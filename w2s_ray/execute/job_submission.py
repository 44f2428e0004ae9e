"""A job before its submission: its command, its environment, and its checks.

Owns the checks for what the cluster can't read: folders of this machine, variables that aren't set.
It depends on values and this process's environment alone, and connects to no cluster.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from w2s_ray.config import Sweep, read_sweep
from w2s_ray.config.budget import DEVICE_HOURS, Budget
from w2s_ray.errors import InputError
from w2s_ray.status.cancel import LEAVE_S
from w2s_ray.store.files import absolute

SWEEP, TEXT, STORE, BUDGET = "w2s_sweep", "w2s_text", "w2s_store", "w2s_budget"
"""Keys of a job's metadata: the sweep's name, a digest of its file and overrides, its store, its
budget."""
UNBOUNDED = "none"


@dataclass(frozen=True)
class Submission:
    """A job to be submitted."""

    name: str
    entrypoint: str
    metadata: Mapping[str, str]
    variables: Mapping[str, str]
    files: Mapping[str, Path | str]
    """Files that are sent with it: name in its working directory -> file here, or its text."""


def submission(
    sweep: Sweep,
    *,
    sweep_file: Path,
    overrides: Sequence[str] = (),
    store: str | None = None,
    shared: bool = False,
    variables: Iterable[str] = (),
    budget: Budget | None = None,
) -> Submission:
    """The job that runs `sweep`, with the named `variables` of this process's environment.

    `overrides`: those with which `sweep` was read from `sweep_file`; the job reads it with them.

    `shared`: every node of the cluster has the folders of this machine at the same paths.

    Raises:
        InputError: the cluster can't read the store or an input, or a variable isn't set.
    """
    uri = _cluster_path(store or sweep.store, "store", shared=shared, relative=True)
    for task in sweep.tasks:
        if task.path is not None:
            _cluster_path(task.path, f"task {task.name}: path", shared=shared)
    for model in sweep.models:
        if model.name.startswith((".", "/", "~")) or Path(model.name).is_dir():
            _cluster_path(model.name, f"model {model.label}: folder", shared=shared)
    text = read_sweep(sweep_file).text  # with what it includes: the job has this file alone
    content = b"\0".join(each.encode() for each in (text, *overrides))
    digest = hashlib.sha256(content).hexdigest()[:16]
    run = ["python", "-m", "w2s_ray", "run", sweep_file.name, *overrides, "--store", uri]
    if budget is not None:
        run += ["--budget", f"{budget.amount:.15g} {budget.unit}"]
        if budget.unit != DEVICE_HOURS:
            run += ["--price-per-hour", f"{budget.price:.15g}", "--currency", budget.unit]
    return Submission(
        name=f"w2s-{sweep.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        entrypoint=f"exec {shlex.join(run)}",
        metadata={
            SWEEP: sweep.name,
            TEXT: digest,
            STORE: uri,
            BUDGET: budget.text if budget is not None else UNBOUNDED,
        },
        variables={
            # how long Ray waits for checkpoints between SIGTERM and SIGKILL
            "RAY_JOB_STOP_WAIT_TIME_S": f"{LEAVE_S + 60:.0f}",
            **{name: _variable(name) for name in variables},
        },
        files={sweep_file.name: text},
    )


def _cluster_path(path: str, what: str, *, shared: bool, relative: bool = False) -> str:
    """`path` as the cluster reads it."""
    if "://" in path:
        return path
    if not shared:
        raise InputError(
            f"{what} {path} is a folder of this machine, which the cluster can't read; give a "
            "URI such as s3://bucket/results, or add --shared if all nodes have it at that path"
        )
    if not relative and not Path(path).is_absolute():
        raise InputError(
            f"{what} {path} is relative, and a job runs in another folder; make it absolute"
        )
    return absolute(path)


def _variable(name: str) -> str:
    if "=" in name:
        raise InputError(
            f"--env {name.partition('=')[0]}: give the name alone, the value is taken "
            "from this process's environment"
        )
    if name not in os.environ:
        raise InputError(f"--env {name}: it isn't set here; set it, or leave the option out")
    return os.environ[name]
