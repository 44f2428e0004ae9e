"""Following a job's log over a connection that may break.

Owns the stream: after a lost connection it resumes at the same position, until the job has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from w2s_ray.execute.job_client import ENDED, JobError, Jobs

SILENCE_S = 60.0
"""After this time without output the connection is opened anew: it may be dead."""
LONGEST_PAUSE_S = 30.0
STOPPED = 130
"""The exit code of a stopped job, equal to that of a stopped driver."""


def follow(
    jobs: Jobs, job: str, *, write: Callable[[str], object], say: Callable[[str], object]
) -> int:
    """Pass the job's log to `write` as it grows; the job's exit code.

    `say` gets a line for each lost connection.

    Raises:
        JobError: the cluster has no such job, or no longer accepts the token.
    """
    received, pause_s, lost = 0, 1.0, False
    while True:

        def receive(text: str) -> None:
            nonlocal received, pause_s, lost
            received, pause_s, lost = received + len(text), 1.0, False
            write(text)

        try:
            asyncio.run(_stream(jobs, job, skip=received, write=receive))
            details = jobs.details(job)
            if details.status in ENDED:
                return _exit_code(details.status, details.driver_exit_code)
        except (OSError, RuntimeError, TimeoutError, JobError) as error:
            if isinstance(error, JobError) and not isinstance(error.__cause__, OSError):
                raise
            if not lost:
                say(f"the connection is lost ({str(error).splitlines()[0]}); the job continues")
            lost = True
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        else:
            time.sleep(1.0)


async def _stream(jobs: Jobs, job: str, *, skip: int, write: Callable[[str], object]) -> None:
    """Pass on the log of one connection, without its first `skip` characters."""
    import aiohttp

    stream = jobs.client.tail_job_logs(job)
    try:
        while True:
            try:
                text = await asyncio.wait_for(anext(stream), SILENCE_S)
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


def _exit_code(status: str, driver: int | None) -> int:
    if status == "SUCCEEDED":
        return 0
    if status == "STOPPED":
        return STOPPED
    return driver if driver else 1


def wait_until_ended(jobs: Jobs, job: str) -> str:
    """Wait for the end of a job that has been stopped; its status."""
    while True:
        status = str(jobs.details(job).status)
        if status in ENDED:
            return status
        time.sleep(1.0)
