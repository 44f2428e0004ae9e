"""The `w2s` command: options, output and exit codes."""

import atexit
import gc
import os
import sys

# Pydantic searches every installed package for plugins, which takes 5 % of the time of `w2s query`.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# Python collects garbage after every 700 new objects, and imports create a hundred thousand. This
# and a last collection at exit take 20 % of the same time.
gc.set_threshold(20_000)

_ended_with: list[int] = []


def _end_process() -> None:
    """End the process with the command's exit code, after all other handlers of its exit.

    Destructors of C++ libraries do not run: Arrow's thread pool has one that sometimes aborts a
    process whose output is complete (https://github.com/apache/arrow/issues/34314).
    """
    if _ended_with:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_ended_with[-1])


atexit.register(_end_process)  # the first to be registered is the last to be called

from w2s_ray.cli.app import app  # noqa: E402

__all__ = ["app", "main"]


def main() -> None:
    """Run the command of this process, whose exit code it gives."""
    try:
        app()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            _ended_with.append(end.code or 0)
        raise
    _ended_with.append(0)
