"""What an attempt does to its process."""

from __future__ import annotations

import gc
import itertools

import pytest

from w2s_ray.execute import attempt


def test_only_the_first_attempts_keep_objects_out_of_collections(monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    monkeypatch.setattr(attempt, "_attempts", itertools.count())
    for _ in range(5):
        attempt._keep_out_of_collections()
    assert done == ["collect", "freeze"] * attempt.IMPORTING_ATTEMPTS
