"""Python's start-up hook for sweeps under test: a store on a disk that is full for a while.

While the file named by W2S_TEST_DISK_FULL exists, writing a file of a store fails with ENOSPC, and
a marker file beside it records the failure. Writes of a driver's heartbeat fail too, without a
marker.
"""

import errno
import os
import pathlib

_flag = os.environ.get("W2S_TEST_DISK_FULL")
if _flag:
    _open = pathlib.Path.open

    def _open_unless_full(self, mode="r", *arguments, **options):
        if "w" in mode and "results" in self.parts and os.path.exists(_flag):
            if "live" not in self.parts:
                pathlib.Path(f"{_flag}-met").touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return _open(self, mode, *arguments, **options)

    pathlib.Path.open = _open_unless_full
