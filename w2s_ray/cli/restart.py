"""Restart of `w2s run` in the same process, after the Ray that it started on this machine has died.

Owns the replacement of the process and the limit on restarts. No state is passed on: finished fits
are in the store, and the leases of the dead workers have expired.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

MAX_RESTARTS = 3
COUNT = "W2S_BEGUN_AGAIN"
"""Environment variable with the number of restarts so far."""
SHOW_CURSOR = "\x1b[?25h"


def restart(dead: str) -> NoReturn:
    """Replace this process by the same command after Ray's process `dead` has died.

    After `MAX_RESTARTS` restarts, exit with code 2 instead.
    """
    restarts = int(os.environ.get(COUNT, "0"))
    is_last = restarts >= MAX_RESTARTS
    action = "too often; run the same command again to resume" if is_last else "restarting"
    cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
    print(f"{cursor}Ray's {dead} on this machine has died: {action}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    if is_last:
        os._exit(2)
    os.environ[COUNT] = str(restarts + 1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the new process would inherit it
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
