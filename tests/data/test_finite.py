"""NaN and infinity in safetensors files, found in every type of values."""

from __future__ import annotations

import hashlib
import sys

import pytest
import torch
from safetensors.torch import save_file

from w2s_ray.cli.command_types import announcements
from w2s_ray.config import Model
from w2s_ray.data import finite, model_source, models
from w2s_ray.data.finite import hashed
from w2s_ray.ladder import folder as embedded

TYPES = (
    *(torch.float64, torch.float32, torch.bfloat16, torch.float16),
    *(torch.float8_e5m2, torch.float8_e4m3fn),
)


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", None])
def test_a_value_that_is_not_finite_is_found(kind, value, tmp_path, monkeypatch):
    monkeypatch.setattr(finite, "_CHUNK", 64)
    largest = torch.finfo(kind)
    tensors = {
        name: torch.tensor([largest.max, largest.min, 0.0] * 33, dtype=torch.float64).to(kind)
        for name in ("a", "b", "c")
    }
    tensors["d"] = torch.full((100,), -1, dtype=torch.int64)
    if value is not None:
        tensors["b"][77] = torch.tensor(float(value)).to(kind)
    path = tmp_path / "m.safetensors"
    save_file(tensors, path)
    digest, found = hashed(path)
    # a type without infinity has NaN or its largest value instead
    assert found == [name for name, t in tensors.items() if not t.double().isfinite().all()]
    assert found in ([], ["b"])
    assert (found == []) == (value is None) or kind is torch.float8_e4m3fn
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -1])
def test_a_damaged_file_is_hashed_whole(keep, tmp_path):
    whole = (embedded("m") / "model.safetensors").read_bytes()
    path = tmp_path / "m.safetensors"
    path.write_bytes(whole[:keep])
    assert hashed(path) == (hashlib.sha256(whole[:keep]).hexdigest(), [])


def test_a_large_file_is_announced_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(finite, "_ANNOUNCED", 10)
    path = embedded("m") / "model.safetensors"
    for terminal, lines in ((False, 0), (True, 1)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with announcements():
            hashed(path)
        hashed(path)
        assert capsys.readouterr().err.count(f"reading the weights in {path}") == lines


def test_weights_are_read_once(tmp_path, monkeypatch):
    read = []
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    monkeypatch.setattr(models, "hashed", lambda path: read.append(path) or hashed(path))
    for _ in range(3):
        models.check_values(model_source(Model.model_validate({"name": "embedded:m"})))
    assert len(read) == 1
