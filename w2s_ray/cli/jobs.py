"""`w2s submit` and `w2s cancel`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2s_ray.cli.completion import complete_sweep_file
from w2s_ray.cli.inputs import load_sweep, open_store
from w2s_ray.cli.options import (
    BudgetOption,
    CurrencyOption,
    Overrides,
    PriceOption,
    StoreOption,
    SweepFile,
)
from w2s_ray.errors import InputError
from w2s_ray.printable import printable

if TYPE_CHECKING:
    from w2s_ray.config import Sweep
    from w2s_ray.execute.job_submission import Submission
    from w2s_ray.store import Store


def submit(
    sweep_file: SweepFile,
    address: Annotated[
        str,
        typer.Option(
            help="The cluster's dashboard, such as http://127.0.0.1:8265.",
            metavar="URL",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    store: StoreOption = None,
    shared: Annotated[
        bool,
        typer.Option("--shared", help="Folders of this machine are on every node, at these paths."),
    ] = False,
    env: Annotated[
        list[str] | None,
        typer.Option(help="A variable to copy to the job; repeatable.", metavar="NAME"),
    ] = None,
    image_has_package: Annotated[
        bool,
        typer.Option("--image-has-package", help="Don't send this installation of w2s_ray."),
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Don't follow the log.")] = False,
    budget: BudgetOption = None,
    price_per_hour: PriceOption = None,
    currency: CurrencyOption = None,
) -> None:
    """Run a sweep as a job on a cluster, and follow it. The same command follows it again."""
    from w2s_ray.cli.cost_options import budget_of
    from w2s_ray.execute.job_submission import submission

    limit = budget_of(budget, price_per_hour=price_per_hour, currency=currency)
    job = submission(
        load_sweep(sweep_file, overrides),
        sweep_file=sweep_file,
        overrides=overrides or (),
        store=store,
        shared=shared,
        variables=env or (),
        budget=limit,
    )
    code = _submit(
        job, sweep_file=sweep_file, address=address, package=not image_has_package, detach=detach
    )
    if code:
        raise typer.Exit(code)


def cancel(
    target: Annotated[
        str,
        typer.Argument(
            help="A sweep file; with --address also a job.",
            show_default=False,
            autocompletion=complete_sweep_file,
        ),
    ],
    overrides: Overrides = None,
    store: StoreOption = None,
    address: Annotated[
        str | None,
        typer.Option(help="The dashboard of the cluster whose job is stopped.", metavar="URL"),
    ] = None,
) -> None:
    """Stop a sweep cleanly: fits write a checkpoint first, results stay."""
    sweep = load_sweep(Path(target), overrides) if os.path.isfile(target) else None
    if address is not None:
        _cancel_jobs(target, sweep, address=address)
    elif sweep is not None:
        _cancel_drivers(sweep, open_store(store, sweep))
    else:
        raise InputError(f"{target} is not a sweep file; to cancel a job, add --address URL")


def _submit(job: Submission, *, sweep_file: Path, address: str, package: bool, detach: bool) -> int:
    """Start the job unless the same one is running, and follow its log.

    Returns its exit code; 0 where it is still running.
    """
    from w2s_ray.execute.job_client import Jobs
    from w2s_ray.execute.job_log import follow

    jobs = Jobs(address)
    job_id = jobs.running_alike(job)
    if job_id is None:
        job_id = jobs.start(job, package=package)
        _print_status(f"job {job_id} runs at {jobs.address}")
    else:
        _print_status(f"job {job_id} runs this sweep already")
    hint = (
        f"`w2s submit {sweep_file} --address {jobs.address}` with the same overrides and options "
        f"follows it, `w2s cancel {job_id} --address {jobs.address}` stops it"
    )
    if detach:
        _print_status(hint)
        return 0
    try:
        code = follow(jobs, job_id, write=_write_log, say=_print_status)
    except KeyboardInterrupt:
        _print_status(f"\ndetached, job {job_id} continues: {hint}")
        return 0
    if code:
        _print_status(f"job {job_id} ended with exit code {code}")
    return code


def _cancel_drivers(sweep: Sweep, store: Store) -> None:
    """Stop the sweep's drivers that use `store`, and wait until they have ended.

    Raises:
        InputError: there is none, or one did not end in time.
    """
    from w2s_ray.status.cancel import cancel, drivers_of

    drivers = drivers_of(sweep.name, store)
    if not drivers:
        raise InputError(f"no driver of {sweep.name} is running on {store.uri}")
    for driver in drivers:
        _print_status(f"stop requested: process {driver.holder.pid} on {driver.host}")
    running = cancel(drivers, store)
    if running:
        named = ", ".join(f"process {driver.holder.pid} on {driver.host}" for driver in running)
        raise InputError(
            f"stop requested, and not ended in time: {named}; wait and run the command again, or "
            "end the process there with `kill -9`: results are safe, and `w2s run` resumes"
        )
    _print_status(f"stopped; results are in {store.uri}, and `w2s run` resumes")


def _cancel_jobs(target: str, sweep: Sweep | None, *, address: str) -> None:
    """Stop the jobs of `sweep`, or the job with the id `target`, and wait until they have ended."""
    from w2s_ray.execute.job_client import Jobs
    from w2s_ray.execute.job_log import wait_until_ended

    jobs = Jobs(address)
    if sweep is not None:
        job_ids = [str(job.submission_id) for job in jobs.under_way(sweep.name)]
        if not job_ids:
            raise InputError(f"no job of {sweep.name} is running at {jobs.address}")
    else:
        jobs.details(target)
        job_ids = [target]
    for job_id in job_ids:
        jobs.stop(job_id)
        _print_status(f"stop requested: job {job_id}")
    for job_id in job_ids:
        _print_status(f"job {job_id}: {wait_until_ended(jobs, job_id).lower()}")


def _print_status(text: str) -> None:
    typer.echo(printable(text, keep="\n"), err=True)


def _write_log(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
