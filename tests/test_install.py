"""The installation passes pip's configuration on to uv, and the lock fits the declarations."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def install():
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_uv_settings(install, monkeypatch):
    for name in install.UV_NAME.values():
        monkeypatch.delenv(name, raising=False)


def test_pips_files_are_read(install, tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://mirror.example/simple\n"
        "[install]\nfind-links =\n    /wheels\n    /more wheels\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    found = install.pip_settings()
    assert found["index-url"] == "https://mirror.example/simple"
    assert found["timeout"] == "7"
    assert "/wheels" in found["find-links"]


@pytest.mark.usefixtures("no_uv_settings")
def test_uv_gets_what_pip_is_configured_with(install):
    assert install.uv_settings(
        {
            "index-url": "https://mirror.example/simple",
            "find-links": "/wheels https://more.example",
            "cert": "/ca.pem",
            "trusted-host": "mirror.example",
            "progress-bar": "off",
        }
    ) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_FIND_LINKS": "/wheels,https://more.example",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_INSECURE_HOST": "mirror.example",
    }


@pytest.mark.usefixtures("no_uv_settings")
def test_with_further_indexes_uv_takes_the_best_version_of_all_as_pip_does(install):
    assert install.uv_settings({"extra-index-url": "https://b.example/simple"}) == {
        "UV_INDEX": "https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


@pytest.mark.usefixtures("no_uv_settings")
def test_existing_settings_of_uv_are_kept(install, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine.example/simple")
    assert install.uv_settings({"index-url": "https://pip.example/simple"}) == {}


def test_the_lock_pins_every_declared_dependency():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {
        re.split(r"[\[<>=]", one)[0].lower().replace("_", "-")
        for one in [*declared["project"]["dependencies"], *declared["dependency-groups"]["dev"]]
    }
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lock if "==" in line}
    assert wanted <= {re.sub(r"\[.*", "", name) for name in pinned}
    assert "torch==2.13.0" in lock
