"""What `w2s submit` and `w2s cancel` say while they do it. It decides nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from w2s_ray.config import Sweep
from w2s_ray.errors import InputError
from w2s_ray.execute.job_submission import Submission
from w2s_ray.printable import printable
from w2s_ray.store import Store


def submit_sweep(
    wanted: Submission, *, sweep_file: Path, address: str, package: bool, detach: bool
) -> int:
    """Start the job unless one like it runs, and follow it; its exit code, 0 if it goes on."""
    from w2s_ray.execute.job_client import Jobs
    from w2s_ray.execute.job_log import follow

    jobs = Jobs(address)
    job = jobs.running_alike(wanted)
    if job is None:
        job = jobs.start(wanted, package=package)
        _say(f"job {job} runs at {jobs.address}")
    else:
        _say(f"job {job} runs this sweep already")
    again = (
        f"`w2s submit {sweep_file} --address {jobs.address}` with the same options follows it, "
        f"`w2s cancel {job} --address {jobs.address}` stops it"
    )
    if detach:
        _say(again)
        return 0
    try:
        code = follow(jobs, job, write=_write, say=_say)
    except KeyboardInterrupt:
        _say(f"\ndetached, job {job} goes on: {again}")
        return 0
    if code:
        _say(f"job {job} ended with exit code {code}")
    return code


def cancel_drivers(sweep: Sweep, store: Store) -> None:
    """Stop the sweep's drivers that share `store`, and wait until they have ended.

    Raises:
        InputError: there is none, or one did not end in time.
    """
    from w2s_ray.status.cancel import cancel, drivers_of

    drivers = drivers_of(sweep.name, store)
    if not drivers:
        raise InputError(f"no driver of {sweep.name} is at work on {store.uri}")
    for news in drivers:
        _say(f"asked process {news.holder.pid} on {news.host} to stop")
    left = cancel(drivers, store)
    if left:
        named = ", ".join(f"process {news.holder.pid} on {news.host}" for news in left)
        raise InputError(
            f"asked to stop, and not ended in time: {named}; wait and give the command again, or "
            "end it there with `kill -9`: results are safe, and `w2s run` goes on from here"
        )
    _say(f"stopped; results are in {store.uri}, and `w2s run` goes on from here")


def cancel_jobs(target: str, sweep: Sweep | None, *, address: str) -> None:
    """Stop the jobs of `sweep`, or the one called `target`, and wait until they have ended."""
    from w2s_ray.execute.job_client import Jobs
    from w2s_ray.execute.job_log import wait_until_ended

    jobs = Jobs(address)
    if sweep is not None:
        found = [str(job.submission_id) for job in jobs.under_way(sweep.name)]
        if not found:
            raise InputError(f"no job of {sweep.name} is under way at {jobs.address}")
    else:
        jobs.details(target)
        found = [target]
    for job in found:
        jobs.stop(job)
        _say(f"job {job} is asked to stop")
    for job in found:
        _say(f"job {job}: {wait_until_ended(jobs, job).lower()}")


def _say(text: str) -> None:
    typer.echo(printable(text, keep="\n"), err=True)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
