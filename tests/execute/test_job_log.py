"""A job's log over a connection that breaks: nothing twice, nothing lost, one word of it."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from w2s_ray.execute import job_log as follow_module
from w2s_ray.execute.job_client import JobError
from w2s_ray.execute.job_log import STOPPED, follow

LOG = ["one\n", "two\n", "three\n", "four\n"]


class Cluster:
    """A dashboard whose connections send a set number of chunks, then break."""

    def __init__(self, *connections: int, ends: str = "SUCCEEDED", code: int | None = 0) -> None:
        self.connections = list(connections)
        self.client = self
        self.ends, self.code = ends, code

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        chunks = self.connections.pop(0) if self.connections else len(LOG)
        if chunks < 0:
            raise aiohttp.ClientConnectionError("refused")
        for text in LOG[:chunks]:
            yield text
        if chunks < len(LOG):
            raise RuntimeError("WebSocket connection closed unexpectedly with close code 1006")

    def details(self, job: str) -> Any:
        return types.SimpleNamespace(status=self.ends, driver_exit_code=self.code)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(follow_module.time, "sleep", lambda seconds: None)


def test_after_a_lost_connection_the_log_resumes_at_its_position():
    read: list[str] = []
    messages: list[str] = []
    code = follow(Cluster(2, -1, -1, 3), "job", write=read.append, say=messages.append)  # type: ignore[arg-type]
    assert "".join(read) == "".join(LOG)
    assert code == 0
    assert len(messages) == 2, "one word for each loss, however many attempts it took"
    assert all("connection is lost" in each for each in messages)


@pytest.mark.parametrize(
    ("ends", "code", "expected"),
    [("FAILED", 2, 2), ("FAILED", None, 1), ("STOPPED", -15, STOPPED), ("SUCCEEDED", 0, 0)],
)
def test_the_jobs_exit_code_is_returned(ends, code, expected):
    cluster = Cluster(ends=ends, code=code)
    assert follow(cluster, "job", write=str, say=str) == expected  # type: ignore[arg-type]


def test_a_missing_job_is_not_a_lost_connection():
    class Empty(Cluster):
        def details(self, job: str) -> Any:
            raise JobError("http://host has no job job")

    with pytest.raises(JobError, match="has no job"):
        follow(Empty(-1), "job", write=str, say=str)  # type: ignore[arg-type]
