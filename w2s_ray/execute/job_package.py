"""What is sent with a job: the package as it is installed here, the sweep file, a price file.

Owns the folder that becomes the job's working directory, which Ray puts before what the image has
on every node. It holds what a wheel of the package would hold, unpacked: Ray installs wheels with
all they depend on, torch among it, and the image has that already. It sends nothing.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "w2s_ray"


def pack(files: Mapping[str, Path], *, into: Path, package: bool) -> None:
    """Put `files` under their names, and the package unless the image has it, into a folder."""
    for name, file in files.items():
        shutil.copyfile(file, into / name)
    if not package:
        return
    installed = Path(__file__).resolve().parents[1]
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(installed, into / PACKAGE, ignore=ignored)
    about = importlib.metadata.distribution(PACKAGE)
    folder = into / f"{PACKAGE}-{about.version}.dist-info"
    folder.mkdir()
    # Run from its source folder, the package is known by an egg-info, whose METADATA is PKG-INFO.
    texts = {name: about.read_text(name) for name in ("METADATA", "entry_points.txt", "WHEEL")}
    texts["METADATA"] = texts["METADATA"] or about.read_text("PKG-INFO")
    for name, text in texts.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
