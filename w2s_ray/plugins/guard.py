"""Running a plugin's code: its errors in one line with its file and line, its output on stderr.

Owns this conversion alone. An `InputError` of the package's own checks gets the place, too.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator

from w2s_ray.errors import InputError
from w2s_ray.printable import one_line


@contextlib.contextmanager
def guarded(where: str, *, code: str | None = None) -> Iterator[None]:
    """Within it, an exception of a plugin becomes an `InputError`, and stdout is stderr.

    The message begins with the file and line in `code`, a file or a folder, that was executed last;
    otherwise with `where`.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SyntaxError as error:
        place = f"{error.filename or where}:{error.lineno}"
        raise InputError(f"{place}: not valid Python: {error.msg}; correct it") from None
    except InputError as error:
        raise InputError(f"{_place(where, error, code)}: {error}") from None
    except (Exception, SystemExit) as error:
        message = one_line(f"{type(error).__name__}: {error}", most=300).rstrip(": ")
        raise InputError(f"{_place(where, error, code)}: {message}; correct the plugin") from error


def _place(where: str, error: BaseException, code: str | None) -> str:
    """The place in `code` that an error's traceback has last, or else `where`."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if code is not None and frame.filename.startswith(code)]
    return f"{inside[-1].filename}:{inside[-1].lineno}" if inside else where
