"""The same command once more, in the same process: for `w2s run` when its Ray has died under it.

Owns the replacement of the process and its bound. It keeps nothing: what is done is in the store,
and the claims of the dead are free.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

MOST = 3
COUNT = "W2S_BEGUN_AGAIN"
"""Environment variable that tells the new process how often that was done."""
SHOW_CURSOR = "\x1b[?25h"


def begin_again(dead: str) -> NoReturn:
    """Become the same command, because Ray's process `dead` has died; `MOST` times, then end."""
    begun = int(os.environ.get(COUNT, "0"))
    last = begun >= MOST
    then = "too often; the same command goes on from here" if last else "beginning again"
    cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
    print(f"{cursor}Ray's {dead} on this machine has died: {then}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    if last:
        os._exit(2)
    os.environ[COUNT] = str(begun + 1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the new process would inherit it
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
