"""Fixtures for every test: an S3 server in a thread, and a store on it."""

from __future__ import annotations

import pytest


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
