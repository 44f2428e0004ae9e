"""Every environment variable that w2s_ray sets, in one place, with the reason for each.

Owns the environment of Ray, of its workers and of the libraries in them. What a user has set
already is left alone. It starts nothing.
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
    # A worker group waits for nodes as long as a single process would: until a cloud has some.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "604800",
    # Trials keep the working directory, so that relative paths in a sweep file stay true.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Our store is the record; Tune's CSV and JSON loggers would only write it again.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune's own state is not what a study resumes from, so it need not be saved often.
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
    # A worker group's checkpoint is told to Tune without the study's objective.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # A pruned trial's thread may take longer than the default 2 s to unwind on a busy machine; past
    # it Tune drops the next trial without a word.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # One progress display: ours.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ray says so on stdout, where our table goes, whenever a worker group starts on few cores.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "PYTHON worker processes have been started",
    # Nothing is sent anywhere unasked.
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    # A tracking server that can't be reached is given up after some 15 s; the default is minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    # Ray asks for this to be decided; tasks without GPUs must not see any.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # Ray's metrics agent would log its failure to reach a collector nobody runs.
    "RAY_enable_metrics_collection": "0",
    # The dashboard and the autoscaler would serve Prometheus's metrics to whoever asks, without the
    # token. There is no switch; a port that can't be has them go without.
    "DASHBOARD_METRIC_PORT": "-1",
    "AUTOSCALER_METRIC_PORT": "-1",
    # Ray runs workers at niceness 15; fits are the machine's main job, not its background.
    "RAY_worker_niceness": "0",
    # A worker process that has imported torch is kept for the next fit; the default is 1 s.
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    # glibc gives every freed large tensor back to the kernel, which zeroes its pages again for the
    # next one: a tenth of a small fit's time on CPU. These let a process keep what it freed
    # (https://man7.org/linux/man-pages/man3/mallopt.3.html; 32 MiB is the most it takes).
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
"""What a driver can join: HOST:PORT, through Ray's client, or whatever runs on this machine."""


def ray_address(option: str | None) -> str | None:
    """The cluster to join: `--address`, else `RAY_ADDRESS`; None where Ray is started here.

    Raises:
        InputError: it is no such address; the message names where it was given.
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

    Workers on this machine inherit them; elsewhere they travel in the job's runtime environment.
    Where this process `joins` a cluster, the token is that cluster's, and none is made up.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    _explicit_token_mode(joins=joins)
    if "ray" in sys.modules:  # Ray has read its environment already; have it read it again
        from ray._raylet import Config  # pyright: ignore[reportAttributeAccessIssue]

        Config.initialize("")
    return {name: os.environ[name] for name in VARIABLES}


def _explicit_token_mode(*, joins: bool) -> None:
    """Turn Ray's token authentication on, with a token that only this user can read.

    Left to itself, Ray decides by whether a token file exists and writes one that everybody can
    read (https://docs.ray.io/en/latest/ray-security/token-auth.html).
    """
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode != "token" or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    try:
        _private_token(make=not joins)
    except (OSError, RuntimeError):  # no home, or one that can't be written (OpenShift, HPC)
        if not joins:  # this Ray's processes inherit one that lives as long as they do
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _private_token(*, make: bool) -> None:
    """Have the token at home, if there is one or is to be one, be readable by this user only."""
    path = Path.home() / ".ray" / "auth_token"
    if path.exists():
        path.chmod(0o600)
    elif make:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
