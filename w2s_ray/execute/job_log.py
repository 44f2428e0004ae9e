"""Following a job's log from afar, over a connection that may break.

Owns the stream: it goes on where it was after a loss, however long that took, until the job has
ended. It starts and stops nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from w2s_ray.execute.job_client import ENDED, JobError, Jobs

QUIET_S = 60.0
"""A log that says nothing for so long is asked for again: the connection may be dead unnoticed."""
LONGEST_PAUSE_S = 30.0
STOPPED = 130
"""The exit code of a job that was stopped, as of a driver that was."""


def follow(
    jobs: Jobs, job: str, *, write: Callable[[str], object], say: Callable[[str], object]
) -> int:
    """Hand the job's log to `write` as it grows; its exit code.

    `say` is told of a lost connection, once for each loss.

    Raises:
        JobError: the cluster has no such job, or no longer takes the token.
    """
    seen, pause_s, lost = 0, 1.0, False
    while True:

        def fresh(text: str) -> None:
            nonlocal seen, pause_s, lost
            seen, pause_s, lost = seen + len(text), 1.0, False
            write(text)

        try:
            asyncio.run(_stream(jobs, job, skip=seen, write=fresh))
            details = jobs.details(job)
            if details.status in ENDED:
                return _code(details.status, details.driver_exit_code)
        except (OSError, RuntimeError, TimeoutError, JobError) as error:
            if isinstance(error, JobError) and not isinstance(error.__cause__, OSError):
                raise
            if not lost:
                say(f"the connection is lost ({str(error).splitlines()[0]}); the job goes on")
            lost = True
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        else:
            time.sleep(1.0)


async def _stream(jobs: Jobs, job: str, *, skip: int, write: Callable[[str], object]) -> None:
    """One connection's worth of log, without its first `skip` characters."""
    import aiohttp

    stream = jobs.client.tail_job_logs(job)
    try:
        while True:
            try:
                text = await asyncio.wait_for(anext(stream), QUIET_S)
            except (StopAsyncIteration, TimeoutError):
                return
            rest = text[skip:]
            skip = max(0, skip - len(text))
            if rest:
                write(rest)
    except aiohttp.WSServerHandshakeError as error:
        if error.status in (401, 403):
            raise jobs.refusal(error.status) from None
        raise ConnectionError(str(error)) from error
    except aiohttp.ClientError as error:
        raise ConnectionError(str(error)) from error


def _code(status: str, driver: int | None) -> int:
    if status == "SUCCEEDED":
        return 0
    if status == "STOPPED":
        return STOPPED
    return driver if driver else 1


def wait_until_ended(jobs: Jobs, job: str) -> str:
    """How a job that is about to end has ended."""
    while True:
        status = str(jobs.details(job).status)
        if status in ENDED:
            return status
        time.sleep(1.0)
