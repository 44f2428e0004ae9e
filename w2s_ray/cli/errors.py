"""Exceptions of a command as exit codes: 2 bad input, 70 a bug, 130 interrupted.

Bad input and full disks give one line on standard error, bugs their traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

import typer

from w2s_ray.cli.standard_streams import pipe_closed
from w2s_ray.errors import InputError

DEBUG = "W2S_DEBUG"
"""Environment variable that adds the traceback to the one line of an `InputError`."""

ENVIRONMENT = {
    errno.ENOSPC: "free some space, then run the same command again to resume",
    errno.EDQUOT: "free some of your quota, then run the same command again to resume",
    errno.EROFS: "name a writable folder",
    errno.EMFILE: "allow more open files (ulimit -n 65536)",
    errno.ENFILE: "the machine's limit of open files is reached; end the processes that hold them",
    errno.ENOMEM: "the machine has no free memory; end the processes that use it",
}
"""System errors whose cause is the machine and not a bug -> the remedy."""

BUG = (
    "This is a bug in w2s_ray: please report it to its maintainers with the traceback above, the "
    "command and the sweep file. Results in the store are safe."
)


@contextlib.contextmanager
def error_boundary() -> Iterator[None]:
    """Report an exception on standard error and exit with its code."""
    try:
        yield
    except InputError as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("stopped; run the same command again to resume", err=True)
        sys.exit(130)
    except BrokenPipeError:
        if pipe_closed():
            raise
        _report_bug()
    except typer.Exit:
        raise
    except OSError as error:
        if error.errno not in ENVIRONMENT:
            _report_bug()
        where = f" ({error.filename})" if error.filename else ""
        typer.echo(f"error: {error.strerror}{where}: {ENVIRONMENT[error.errno]}", err=True)
        sys.exit(2)
    except Exception:  # noqa: BLE001  # the outermost handler: every other exception is a bug
        _report_bug()


def _report_bug() -> NoReturn:
    traceback.print_exc()
    typer.echo(BUG, err=True)
    sys.exit(70)
