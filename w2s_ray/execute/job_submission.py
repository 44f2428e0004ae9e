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
from w2s_ray.plugins.source import Source
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
    """Files that are sent with it: name in its working directory -> file here, or its text. The
    sweep file is first."""


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
    corpora = [model.pretrain.corpus for model in sweep.models if model.pretrain is not None]
    for task in (*sweep.tasks, *corpora):
        for key, path in task.paths.items():
            _cluster_path(path, f"task {task.name}: {key}", shared=shared)
    for model in sweep.models:
        if model.name.startswith((".", "/", "~")) or Path(model.name).is_dir():
            _cluster_path(model.name, f"model {model.label}: folder", shared=shared)
    sources = [plugin.source for plugin in sweep.plugins]
    text = read_sweep(sweep_file).text  # with what it includes: the job has this file alone
    texts = (text, *overrides, *(source.digest for source in sources))
    content = b"\0".join(each.encode() for each in texts)
    digest = hashlib.sha256(content).hexdigest()[:16]
    sent = _files(sweep_file, sources, shared=shared)
    name = next(iter(sent))
    files: dict[str, Path | str] = {**sent, name: text}
    run = ["python", "-m", "w2s_ray", "run", name, *overrides, "--store", uri]
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
        files=files,
    )


def _files(sweep_file: Path, sources: Sequence[Source], *, shared: bool) -> dict[str, Path]:
    """The sweep file and its plugins: name in the job's working directory -> file here.

    The sweep file is first. Plugin files keep their place relative to it, and packages are at the
    top, from where they are imported.
    """
    beside, modules = list[Path](), dict[str, Path]()
    for source in sources:
        path = Path(source.path)
        if source.text is None:
            top = source.module.partition(".")[0]
            inside = path.rglob("*.py") if path.is_dir() else ()
            modules |= {f"{top}/{file.relative_to(path).as_posix()}": file for file in inside}
            modules |= {path.name: path} if path.is_file() else {}
        elif Path(source.name).expanduser().is_absolute():
            if not shared:
                raise InputError(
                    f"plugin {source.name} is a file of this machine; give its path relative to "
                    "the sweep file, so that it is sent, or add --shared if all nodes have it at "
                    "that path"
                )
        else:
            beside.append(Path(os.path.abspath(path)))
    if not beside:
        return {sweep_file.name: sweep_file, **modules}
    here = Path(os.path.abspath(sweep_file))
    root = os.path.commonpath([file.parent for file in (here, *beside)])
    names = {f"sweep/{file.relative_to(root).as_posix()}": file for file in (here, *beside)}
    return names | modules


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
