"""Stores of every kind, for tests of their common guarantees."""

from __future__ import annotations

import uuid

import pytest

from w2s_ray.store import Store
from w2s_ray.store.files import Files, open_files


@pytest.fixture(params=["folder", "memory", "s3"])
def any_uri(request, tmp_path) -> str:
    """The URI of an empty store: a folder, one in memory, one on S3."""
    match request.param:
        case "folder":
            return str(tmp_path / "results")
        case "memory":
            return f"memory://{uuid.uuid4().hex}/results"
        case _:
            return request.getfixturevalue("s3_store")


@pytest.fixture
def any_store(any_uri) -> Store:
    return Store.open(any_uri)


@pytest.fixture
def any_files(any_uri) -> Files:
    return open_files(any_uri)
