"""Python's start-up hook for sweeps under test: a store on a disk that is full for a while.

While the file named by W2S_TEST_DISK_FULL is there, writing a file of a store fails as the kernel
would have it, with ENOSPC, and a file beside it says that somebody met that; what a driver says of
itself fails too, but doesn't count.
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
