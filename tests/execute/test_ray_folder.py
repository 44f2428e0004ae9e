"""Ray's folder: private, short enough for sockets, and gone with its process."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from w2s_ray.errors import InputError
from w2s_ray.execute import ray_folder as module
from w2s_ray.execute.ray_folder import (
    LONGEST,
    PREFIX,
    SOCKET_BYTES,
    ray_folder,
    temporary_variables,
)

LISTENER = "/pymp-12345678/listener-12345678"
"""What Python's multiprocessing, which Ray's dashboard uses, appends to `TMPDIR`."""


@pytest.fixture
def base(monkeypatch) -> Path:
    """A short folder for temporary files, as `RAY_TMPDIR`."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def test_the_folder_is_private_short_and_removed_at_the_end(base):
    with ray_folder() as folder:
        assert folder.parent.parent == base
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert len(os.fsencode(folder)) + len(LONGEST) <= SOCKET_BYTES
        folder.mkdir()
        (folder / "socket").write_text("")
    assert list(base.iterdir()) == []


def test_a_full_disk_is_refused_and_nothing_is_left(base, monkeypatch):
    usage = shutil.disk_usage(base)._replace(free=3 * 2**20)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"3 MiB are free there\); set RAY_TMPDIR"), ray_folder():
        pass
    assert list(base.iterdir()) == []


@pytest.mark.parametrize("name", ["t", "x" * 80])
def test_temporary_files_of_started_processes_are_removed_at_the_end(
    name, request, tmp_path, monkeypatch
):
    """Below `TMPDIR`, by a path that is short enough for sockets."""
    short = request.getfixturevalue("base") if name == "t" else tmp_path
    system = short / name
    system.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("W2S_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(system))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with ray_folder() as folder:
        assert len(os.fsencode(folder)) + len(LONGEST) <= SOCKET_BYTES
        variables = temporary_variables(folder)
        named = Path(variables["TMPDIR"])
        assert len(os.fsencode(named)) + len(LISTENER) <= SOCKET_BYTES
        code = "import tempfile; print(tempfile.mkdtemp())"
        environment = {**os.environ, **variables}
        made = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
        assert system in Path(made.strip()).resolve().parents
        assert named.stat().st_mode & 0o077 == 0
        assert Path(variables["W2S_CACHE"]) == tmp_path / ".cache" / "w2s_ray"
    assert list(system.iterdir()) == []
    assert not folder.parent.exists()


def test_folders_of_killed_processes_are_removed_and_those_in_use_stay(base, monkeypatch):
    code = (
        "import sys; from w2s_ray.execute.ray_folder import ray_folder\n"
        "with ray_folder() as folder: print(folder, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        used = Path(other.stdout.readline().strip()).parent
        strange, later = base / f"{PREFIX}a-file", time.time() + 2 * module.NEW_S
        strange.write_text("")
        monkeypatch.setattr(module.time, "time", lambda: later)
        with ray_folder():
            assert used.is_dir(), "its process lives"
        other.kill()
    with ray_folder() as folder:
        assert not used.exists()
        assert {path.name for path in base.iterdir()} == {folder.parent.name, strange.name}
