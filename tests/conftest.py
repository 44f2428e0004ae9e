"""Fixtures of all tests: a finished sweep, an S3 server in a thread, and a store on it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support import SEARCH, SEARCHED, sweep_text, w2s
from w2s_ray.data import descriptions

# A machine that is busy with something else must not fail a property.
hypothesis.settings.register_profile("w2s", deadline=None)
hypothesis.settings.load_profile("w2s")


@pytest.fixture(autouse=True, scope="session")
def _default_sigint():
    """Shells start background commands with SIGINT ignored, and processes of tests inherit that."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def _describe_in_process():
    """Describe models in the process of the tests, which imports torch anyway."""

    def run_describe(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        from w2s_ray.learn.describe import answer

        return [answer(config) for config in configs]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descriptions, "run_describe", run_describe)
        yield


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """A finished sweep with a search, in a folder of its own; it may be run again, not changed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep = folder / "sweep.yaml"
    sweep.write_text(sweep_text(folder, methods=SEARCHED, extra=SEARCH))
    run = w2s("run", sweep)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "a → b" in run.stdout
    assert "(22/22 after" in run.stderr
    return sweep


@pytest.fixture(scope="session")
def s3_server():
    """The session's `S3Server`; its environment is not set."""
    from tests.faulty_s3 import S3Server

    with S3Server() as server:
        yield server


@pytest.fixture
def s3_store(s3_server, monkeypatch) -> str:
    """The URI of an empty store in a bucket of its own; the environment reaches its server."""
    import s3fs

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # they remember the endpoint of earlier tests
    return f"{s3_server.new_bucket()}/results"
