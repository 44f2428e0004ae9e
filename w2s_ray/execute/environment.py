"""Every environment variable that w2s_ray sets, in one place, with the reason for each.

Owns the environment of Ray, of its workers and of the libraries in them. Variables that a user has
set keep their values. It starts nothing.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

from w2s_ray.errors import InputError

VARIABLES = {
    # Results are reported to the driver of a worker group once per poll; the default of 2 s makes
    # every evaluation of a sharded fit wait for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # A worker group waits for nodes without a limit, as a single worker does.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "604800",
    # The progress tracker finds nodes that are about to end. Ray's watcher of them would be one
    # more process for each worker group, which takes 2 s of CPU time to start.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Trials keep the working directory, so that relative paths in a sweep file stay true.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # The store holds every metric; Tune's CSV and JSON loggers would write them a second time.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A study resumes from the store, so Tune's own state need not be saved often.
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
    # A report without the study's objective must not end Tune's whole run.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # A pruned trial's thread may need more than the default 2 s to end on a busy machine; after
    # that Tune drops the next trial silently.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # w2s_ray has its own progress display.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ray prints this on stdout, where the table goes, when a worker group starts on few cores.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "PYTHON worker processes have been started",
    # Errors of remote calls are handled where their results are awaited. Ray would also print them,
    # as tracebacks, for calls that it repeats by itself when a connection breaks.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    # No usage statistics and error reports are sent.
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    # An unreachable tracking server fails after some 15 s; the default is minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    # Ray warns unless this is set; tasks without GPUs must not see any.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # Ray's metrics agent would log errors, since no collector runs.
    "RAY_enable_metrics_collection": "0",
    # The dashboard and the autoscaler would serve Prometheus metrics without the token. Ray has no
    # option against it; with an invalid port they serve none.
    "DASHBOARD_METRIC_PORT": "-1",
    "AUTOSCALER_METRIC_PORT": "-1",
    # Ray runs workers at niceness 15; fits are the machine's main load.
    "RAY_worker_niceness": "0",
    # A worker process that has imported torch is kept for the next fit; the default is 1 s.
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    # glibc returns every freed large tensor to the kernel, which zeroes its pages again for the
    # next one: a tenth of a small fit's time on CPU. With these a process keeps freed memory
    # (https://man7.org/linux/man-pages/man3/mallopt.3.html; 32 MiB is the largest valid value).
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "67108864",
    # Texts are tokenized before workers fork, and by one process.
    "TOKENIZERS_PARALLELISM": "false",
    # DeepSpeed prints every setting and timer otherwise.
    "DEEPSPEED_LOG_LEVEL": "warning",
    "DS_ACCELERATOR_WARN": "0",
    # Progress bars of libraries in workers would mix with ours.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


ADDRESS = re.compile(r"auto|(ray://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")
"""An address that a driver can join: HOST:PORT, ray://HOST:PORT, or a Ray on this machine."""


def ray_address(option: str | None) -> str | None:
    """The cluster to join: `--address`, else `RAY_ADDRESS`; None where Ray is started here.

    Raises:
        InputError: the address is malformed; the message names where it was given.
    """
    address = option or os.environ.get("RAY_ADDRESS")
    if not address or address == "local":
        return None
    form = ADDRESS.fullmatch(address)
    if form is None or int(form["port"] or 1) > 65535:
        given = f"--address {address}" if option else f"RAY_ADDRESS={address}"
        remedy = "leave it out" if option else "unset it"
        raise InputError(
            f"{given}: a driver joins Ray itself, at HOST:6379; {remedy} to start Ray on this "
            "machine; `w2s submit --address` takes the address of the dashboard"
        )
    return address


def set_variables(*, joins: bool = False) -> dict[str, str]:
    """Set `VARIABLES` and Ray's authentication mode here; return what workers need.

    Workers on this machine inherit them; those on other machines get them from the job's runtime
    environment. Where this process `joins` a cluster, no token is created: it needs the cluster's.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    _enable_token_authentication(joins=joins)
    if "ray" in sys.modules:
        from w2s_ray.execute.ray_internals import read_environment_again

        read_environment_again()
    return {name: os.environ[name] for name in VARIABLES}


def _enable_token_authentication(*, joins: bool) -> None:
    """Turn Ray's token authentication on, with a token that only this user can read.

    By default Ray turns it on only if a token file exists, and writes one that all users can read
    (https://docs.ray.io/en/latest/ray-security/token-auth.html).
    """
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode != "token" or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    try:
        _private_token(make=not joins)
    except (OSError, RuntimeError):  # no home, or one that can't be written (OpenShift, HPC)
        if not joins:  # the processes of this Ray inherit a token for their lifetime
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _private_token(*, make: bool) -> None:
    """Restrict the token file in the home folder to this user; `make` it where there is none."""
    path = Path.home() / ".ray" / "auth_token"
    if path.exists():
        path.chmod(0o600)
    elif make:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
