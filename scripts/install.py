"""Creates .venv with the locked versions and this package, through uv.

Owns the installation of a checkout and imports nothing outside the standard library. uv comes from
PATH, or else from pip into .venv; if pip can't install it, pip installs everything. pip's
configuration on this machine (indexes, links, certificates, constraints) is passed on to uv.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
LOCK = ROOT / "requirements.lock"

UV_NAME = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "no-index": "UV_NO_INDEX",
}
"""pip's options and the environment variables of uv that mean the same."""

COMMA_SEPARATED = ("UV_FIND_LINKS",)


def main() -> None:
    """Install the package; exit with one line if that is impossible."""
    if sys.version_info < (3, 11):  # noqa: UP036  # run before any version was chosen
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"w2s_ray needs Python 3.11 or newer, and {sys.executable} is {found}: "
            "make PYTHON=/path/to/python3.11"
        )
    uv, environment = find_uv(), os.environ | uv_settings(pip_settings())
    if not PYTHON.exists():
        report(f"creating {VENV.name} with Python {sys.version.split()[0]}")
        if uv is None or run(
            [*uv, "venv", "--quiet", "--seed", "--python", sys.executable, VENV], environment
        ):
            run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    if uv is None:
        report("getting uv, which installs in seconds what takes pip minutes")
        if run([PYTHON, "-m", "pip", "install", "--quiet", "uv"]) == 0:
            uv = [str(PYTHON), "-m", "uv"]
    if uv is None or not install([*uv, "pip", "install", "--python", PYTHON], environment):
        report("uv can't install here; pip installs instead, which takes some minutes")
        if not install([PYTHON, "-m", "pip", "install"], dict(os.environ)):
            sys.exit("the installation failed; see pip's messages above")


def install(command: list[str | Path], environment: dict[str, str]) -> bool:
    """Whether `command` could install the lock and then this package."""
    report(f"installing {LOCK.name} (torch and Ray are most of it)")
    return (
        run([*command, "-r", LOCK], environment) == 0
        and run([*command, "--quiet", "--no-deps", "-e", ROOT], environment) == 0
    )


def find_uv() -> list[str] | None:
    """The command that starts uv on this machine; None where there is none that works."""
    for command in (["uv"], [sys.executable, "-m", "uv"]):
        if shutil.which(command[0]):
            tried = subprocess.run([*command, "--version"], capture_output=True, check=False)
            if tried.returncode == 0:
                return command
    return None


def pip_settings() -> dict[str, str]:
    """What pip is configured with by files and environment: option -> value."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    settings = {}
    for line in listed.stdout.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            settings[key.rpartition(".")[2]] = " ".join(shlex.split(value))
    return settings


def uv_settings(pip: dict[str, str]) -> dict[str, str]:
    """The environment variables of uv for pip's options; those already set are kept."""
    found = {}
    for option, value in pip.items():
        name = UV_NAME.get(option)
        if name is not None and name not in os.environ:
            found[name] = ",".join(value.split()) if name in COMMA_SEPARATED else value
    if "UV_INDEX" in found:  # pip takes the best version of all indexes, uv that of the first
        found.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return found


def run(
    command: list[str | Path], environment: dict[str, str] | None = None, *, check: bool = False
) -> int:
    """The exit code of `command`, whose output goes to the terminal."""
    return subprocess.run([str(part) for part in command], env=environment, check=check).returncode


def report(line: str) -> None:
    """Print a line before what it announces."""
    print(f"install: {line}", flush=True)


if __name__ == "__main__":
    main()
