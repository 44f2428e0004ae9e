"""Every test has its own cache and a hub that can't be reached unless it says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from w2s_ray.config import Task
from w2s_ray.data import hub, inputs, models

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("W2S_CACHE", str(folder / "w2s"))
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


@pytest.fixture(autouse=True)
def lookups(monkeypatch: pytest.MonkeyPatch) -> hub.Lookups:
    fresh = hub.Lookups()
    monkeypatch.setattr(inputs, "LOOKUPS", fresh)
    monkeypatch.setattr(models, "LOOKUPS", fresh)
    return fresh


@pytest.fixture
def task() -> Callable[..., Task]:
    def make(**changed: Any) -> Task:
        return Task(**{"name": "any", "train": 8, "validation": 2, "test": 2, **changed})

    return make


@pytest.fixture
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip("no folder of real task data at ../shared/data")
    return REAL
