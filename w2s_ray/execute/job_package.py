"""A job's working directory: the installed package, the sweep file, and its plugins.

Owns the folder that becomes the job's working directory, which precedes the image's packages on
every node. It has the contents of a wheel, unpacked: Ray would install a wheel with all its
dependencies, torch included, which the image has already.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "w2s_ray"


def pack(files: Mapping[str, Path | str], *, into: Path, package: bool) -> None:
    """Write `files` (files here or texts) by their names, and the package unless the image has it,
    into a folder.
    """
    for name, file in files.items():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file, Path):
            shutil.copyfile(file, into / name)
        else:
            (into / name).write_text(file, encoding="utf-8")
    if not package:
        return
    installed = Path(__file__).resolve().parents[1]
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(installed, into / PACKAGE, ignore=ignored)
    about = importlib.metadata.distribution(PACKAGE)
    folder = into / f"{PACKAGE}-{about.version}.dist-info"
    folder.mkdir()
    # Run from its source folder, the package has an egg-info, whose METADATA is PKG-INFO.
    texts = {name: about.read_text(name) for name in ("METADATA", "entry_points.txt", "WHEEL")}
    texts["METADATA"] = texts["METADATA"] or about.read_text("PKG-INFO")
    for name, text in texts.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
