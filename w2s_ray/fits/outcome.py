"""Records of what happened to a planned run, with the environment that it happened in.

Owns the making of store records, for fits and studies, done and not. It writes nothing.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from traceback import format_exception
from typing import Any, Literal

from w2s_ray.fits.failures import Cause, cause_of
from w2s_ray.identity import IDENTITY_VERSION
from w2s_ray.plan import PlannedFit, PlannedStudy
from w2s_ray.store import Record

PACKAGES = ("w2s_ray", "torch", "transformers", "datasets", "deepspeed", "ray", "optuna", "peft")


def outcome_record(
    planned: PlannedFit | PlannedStudy,
    *,
    status: Literal["done", "failed", "pruned", "stopped"],
    cause: Cause | None = None,
    reason: str | None = None,
    traceback: str | None = None,
    started: float | None = None,
    about: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    earlier: Sequence[Record] = (),
) -> Record:
    """The record of a run that ends now and started at `started` (seconds since the epoch).

    `earlier` are its attempts that ended without a result.
    """
    ended = time.time()
    began = ended if started is None else started
    is_fit = isinstance(planned, PlannedFit)
    execution = planned.execution if is_fit else planned.executions[0]
    seconds = ended - began
    return Record(
        id=planned.id,
        kind="fit" if is_fit else "study",
        status=status,
        cause=cause,
        reason=reason,
        traceback=traceback,
        recipe=planned.recipe.model_dump(mode="json"),
        parents=planned.parents,
        about={**about_run(planned), **(about or {})},
        execution=execution.model_dump(mode="json"),
        summary=dict(summary or {}),
        environment={**versions(), **(environment or {})},
        started_at=_iso(began),
        ended_at=_iso(ended),
        seconds=seconds,
        device_seconds=seconds * execution.workers if is_fit else 0.0,
        attempts=len(earlier) + 1,
        retries=dict(Counter(attempt.cause for attempt in earlier if attempt.cause)),
        identity_version=IDENTITY_VERSION,
    )


def failure_record(
    run: PlannedFit | PlannedStudy, error: BaseException, *, started: float | None = None
) -> Record:
    """The record of an attempt that ended with an exception."""
    return outcome_record(
        run,
        status="failed",
        cause=cause_of(error),
        reason=reason_of(error),
        traceback="".join(format_exception(error)),
        started=started,
    )


def reason_of(error: BaseException) -> str:
    """Why something failed, in one line: the innermost cause that Ray wraps, without its frames."""
    failures = getattr(error, "worker_failures", None)
    if failures:
        return reason_of(next(iter(failures.values())))
    cause = getattr(error, "cause", None) or getattr(error, "base_exc", None)
    if isinstance(cause, BaseException) and cause is not error:
        return reason_of(cause)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    wrapped = len(lines) > 1 and ("Traceback" in plain or lines[0].startswith("ray::"))
    line = (lines[-1] if wrapped else lines[0]) if lines else ""
    return line if wrapped else f"{type(error).__name__}: {line}".rstrip(": ")


@cache
def versions() -> dict[str, str]:
    """Versions of what can change a number, and the kind of machine."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def about_run(planned: PlannedFit | PlannedStudy) -> dict[str, Any]:
    """What a run is, in words to display."""
    if isinstance(planned, PlannedFit):
        return {
            "task": planned.task,
            "model": planned.source.name,
            "weak": planned.weak,
            "method": "/".join(planned.methods) or None,
            "roles": list(planned.roles),
            **({"notes": list(planned.notes)} if planned.notes else {}),
            "location": planned.source.location,
            "revision": planned.source.revision,
        }
    return {
        "task": planned.task,
        "model": planned.sources[0].name if planned.method is None else None,
        "method": planned.method,
        "roles": list(planned.roles),
        "tasks": list(planned.tasks),
        "pairs": [list(pair) for pair in planned.pairs],
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
