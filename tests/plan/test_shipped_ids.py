"""The run ids of every shipped sweep stay what they are: stores made by them go on being valid."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from w2s_ray.config import load_sweep
from w2s_ray.data import resolve
from w2s_ray.errors import InputError
from w2s_ray.plan import make_plan

SWEEPS = Path(__file__).resolve().parents[2] / "sweeps"
GOLDEN = json.loads(Path(__file__).with_name("shipped_ids.json").read_text())
"""Sweep file -> how many runs it plans offline, and a digest of their sorted ids."""


@pytest.fixture(autouse=True)
def _no_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)  # no data or models that a checkout happens to have


def planned(name: str) -> dict[str, object] | None:
    """None where a sweep needs files that don't ship."""
    sweep = load_sweep(SWEEPS / name)
    try:
        plan = make_plan(sweep, resolve(sweep, online=False))
    except InputError:
        return None
    ids = sorted([*plan.fits, *plan.studies])
    return {"runs": len(ids), "sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest()}


def test_every_shipped_sweep_is_listed():
    assert set(GOLDEN) == {str(path.relative_to(SWEEPS)) for path in SWEEPS.rglob("*.yaml")}
    assert sum(found is not None for found in GOLDEN.values()) > 10


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_its_run_ids_are_the_same(name):
    assert planned(name) == GOLDEN[name]
