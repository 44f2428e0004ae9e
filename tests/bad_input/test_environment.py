"""Environments that can't work, or only just: one line and exit code 2, or it works."""

from __future__ import annotations

import errno
import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import sweep_text
from w2s_ray import cli
from w2s_ray.cli import standard_streams
from w2s_ray.errors import InputError
from w2s_ray.execute import driver, environment, local_ray
from w2s_ray.execute.environment import ray_address, set_variables
from w2s_ray.execute.ray_folder import BASE_BYTES, ray_folder
from w2s_ray.printable import printable

NO_ADDRESSES = (
    "http://127.0.0.1:8265",
    "https://head.example.org",
    "127.0.0.1",
    "head",
    ":6379",
    "head:",
    "head:port",
    "head:99999",
    "head:0x10",
    "head: 6379",
    "head:6379/path",
    "ray://",
    "ray://head",
    "gcs://head:6379",
    "h\u00e9ad :6379",
    "[::1]",
    "a:b:6379",
)
ADDRESSES = ("head:6379", "127.0.0.1:6379", "[::1]:6379", "ray://head:10001", "auto")


@pytest.mark.parametrize("address", NO_ADDRESSES)
@pytest.mark.parametrize("given", ["variable", "option"])
def test_an_address_that_no_driver_can_join_is_named_with_where_it_was_given(
    monkeypatch, address, given
):
    monkeypatch.setenv("RAY_ADDRESS", address if given == "variable" else "head:6379")
    with pytest.raises(InputError) as refused:
        ray_address(address if given == "option" else None)
    where = {"variable": f"RAY_ADDRESS={address}: ", "option": f"--address {address}: "}[given]
    assert str(refused.value).startswith(where)
    assert "a driver joins Ray itself, at HOST:6379" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_a_driver_can_join_are_taken(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert ray_address(None) == address
    assert ray_address("other:6379") == "other:6379"


@pytest.mark.parametrize("address", ["", "local"])
def test_without_an_address_ray_is_started_here(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert ray_address(None) is None
    monkeypatch.delenv("RAY_ADDRESS")
    assert ray_address(None) is None


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.yaml").write_text(sweep_text(folder))
    return folder / "sweep.yaml"


def test_run_refuses_such_an_address_before_it_reads_anything(sweep, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    ended = CliRunner().invoke(cli.app, ["run", str(sweep)])
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: RAY_ADDRESS=http://127.0.0.1:8265: ")
    assert len(ended.stderr.splitlines()) == 1
    assert not (sweep.parent / "results").exists()


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("/proc/none", "No such file or directory"),
        ("/dev/null", "Not a directory"),
        ("/" + "x" * BASE_BYTES, f"its path is longer than {BASE_BYTES} bytes"),
        ("/" + "\u00e9" * BASE_BYTES, f"its path is longer than {BASE_BYTES} bytes"),
        ("/x\udcff", "No such file or directory"),
    ],
)
def test_a_folder_that_cannot_hold_rays_files_is_named_with_the_remedy(monkeypatch, folder, why):
    monkeypatch.setenv("RAY_TMPDIR", folder)
    with pytest.raises(InputError) as refused, ray_folder():
        pass
    line = str(refused.value)
    assert line.startswith(f"{printable(folder)} can't hold the files of Ray ({why}); ")
    assert "set RAY_TMPDIR to a folder" in line


@pytest.mark.parametrize("home", ["/proc/none", "/dev/null/home", None])
@pytest.mark.parametrize("joins", [False, True])
def test_without_a_home_that_can_be_written_the_token_is_in_the_environment(
    monkeypatch, home, joins
):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is taken back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    if home is None:  # a user without an entry in the system's list, as on OpenShift
        monkeypatch.setattr(environment.Path, "home", no_home)
    else:
        monkeypatch.setenv("HOME", home)
    set_variables(joins=joins)
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    assert len(token) == (0 if joins else 64)


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("most", [0, 20, 64])
def test_too_few_open_files_are_refused_before_ray_hangs_without_them(monkeypatch, most):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (min(most, 10), most))
    with pytest.raises(InputError, match=f"may have {most} open files .ulimit -Hn.") as refused:
        local_ray.check_open_files()
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("most", [4096, resource.RLIM_INFINITY])
def test_enough_open_files_are_enough(monkeypatch, most):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, most))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    local_ray.check_open_files()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE])
def test_missing_resources_of_the_machine_are_one_line_errors(sweep, monkeypatch, number):
    def fail(plan: object, store: object) -> None:
        raise OSError(number, os.strerror(number), "/the/file")

    monkeypatch.setattr(driver, "materialize", fail)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ended = CliRunner().invoke(cli.app, ["run", str(sweep)])
    assert ended.exit_code == 2
    *steps, line = ended.stderr.splitlines()
    assert line.startswith(f"error: {os.strerror(number)} (/the/file): ")
    assert not [each for each in steps if "error" in each]


TEXTS = ("xs → s ━┇┃ – ±", "名前", "€", "\ud83d", "😀", "e\u0301")
ENCODINGS = ("latin-1", "ascii", "cp437", "utf-16", "utf-8", "koi8-r")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "text", ["xs → s ━╇┃ – ±", "名前", "\u20ac", "\ud83d", "\U0001f600", "e\u0301"]
)
def test_every_text_can_be_printed_in_every_encoding(monkeypatch, encoding, text):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, errors="strict", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    standard_streams.replace_unencodable()
    print(text)
    print("the end", flush=True)
    assert written.getvalue().decode(encoding).endswith("the end\n")


def test_replacements_of_characters_keep_the_width():
    assert {len(replacement) for replacement in standard_streams.REPLACEMENTS.values()} == {1}
    assert "".join(standard_streams.REPLACEMENTS.values()).isascii()


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["latin-1", "ascii", "C locale"],
)
def test_a_command_prints_names_that_the_terminal_lacks(sweep, variables):
    text = sweep.read_text().replace("naive: {}", '"naïve→名": {}')
    other = sweep.with_name("names.yaml")
    other.write_text(text, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "w2s_ray", "plan", str(other)],
        capture_output=True,
        check=False,
        env={**os.environ, **variables},
    )
    assert ended.returncode == 0, ended.stderr
    assert rb"\u540d" in ended.stdout
