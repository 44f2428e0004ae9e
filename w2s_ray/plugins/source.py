"""The source of a plugin: a Python file, or an importable module, and its digest.

Owns what a name in `plugins` means, and what the digest covers: of a file its text; of a module of
a package the text of every Python file of the package, subpackages included, since any of them may
change what the module computes. Libraries that they import are not covered. It executes a package's
`__init__` to find a module in it, and nothing else.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from w2s_ray.errors import InputError
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.paths import checked_path
from w2s_ray.plugins.guard import guarded
from w2s_ray.printable import shown

GROUP = "w2s_ray.plugins"
"""The group of entry points, which give names to the modules of installed packages."""
LARGEST_BYTES = 1 << 20
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Source:
    """The source of a plugin on this machine."""

    name: str
    """As in the sweep file."""
    module: str
    """The name of its module; of a file, a name made of the digest."""
    digest: str
    path: str
    """The file; of a package, its folder."""
    text: str | None = None
    """The text of a file; None for a module that can be imported."""


def find_source(name: str, *, folder: Path | None = None) -> Source:
    """The source that `name` means: a file relative to `folder`, a module, or an entry point.

    `folder` is by default the current directory.

    Raises:
        InputError: there is no such source; the message names it and the remedy.
    """
    if name.endswith(".py") or "/" in name or "\\" in name:
        path = Path(checked_path(name)).expanduser()
        return _of_file(name, path if path.is_absolute() else (folder or Path()) / path)
    return of_module(name, _module_called(name))


def of_module(name: str, module: str) -> Source:
    """The source of a module that can be imported; `name` is the plugin's.

    Raises:
        InputError: it has no Python source here.
    """
    top = module.partition(".")[0]
    found = _spec(top)
    places = [Path(place) for place in (found and found.submodule_search_locations) or ()]
    if not places:
        origin = Path((found and found.origin) or "")
        if origin.suffix != ".py":
            raise InputError(f"module {module} has no Python source; name a module that has")
        text = {origin.name: _text(origin)}
        return Source(name, module, _digest(text), str(origin))
    texts = {
        str(file.relative_to(place).as_posix()): _text(file)
        for place in places
        for file in sorted(place.rglob("*.py"))
    }
    return Source(name, module, _digest(texts), str(places[0]))


def _of_file(name: str, path: Path) -> Source:
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a Python file, or the name of a module")
    text = _text(path)
    found = digest(text)[:ID_LENGTH]
    return Source(name, f"w2s_plugin_{found}", found, str(path), text)


def _module_called(name: str) -> str:
    """The module that a name in `plugins` means."""
    if _MODULE.fullmatch(name) and _spec(name) is not None:
        return name
    from importlib.metadata import entry_points

    installed = entry_points(group=GROUP)
    if name in installed.names:
        return installed[name].value.partition(":")[0]
    known = ", ".join(sorted(installed.names))
    others = f"; packages here have the plugins {known}" if known else ""
    raise InputError(
        f"{shown(name)} is neither a file nor a module that can be imported here; give the path of "
        f"a .py file, or install the package{others}"
    )


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    """How a module would be imported; None if there is none. Its package is imported."""
    with guarded(module):
        try:
            return importlib.util.find_spec(module)
        except (ModuleNotFoundError, ValueError) as error:
            missing = getattr(error, "name", None)
            if missing is None or module == missing or module.startswith(f"{missing}."):
                return None
            raise


def _text(path: Path) -> str:
    """The text of a Python file, with line breaks as `\\n`, so that its digest is the same on all
    systems.
    """
    try:
        if not stat.S_ISREG((status := path.stat()).st_mode):
            raise InputError(f"{path} is a pipe, a socket or a device; give a Python file")
        if status.st_size > LARGEST_BYTES:
            raise InputError(f"{path} has more than {LARGEST_BYTES:,} bytes; give a smaller file")
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"no plugin file at {path}; restore it or correct the path (`--store` alone reads "
            "finished results without it)"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start:,} is not UTF-8; save the file as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; correct the path") from None


def _digest(texts: dict[str, str]) -> str:
    return digest(sorted([name, text] for name, text in texts.items()))[:ID_LENGTH]
