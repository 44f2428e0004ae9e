"""DeepSpeed's states as safetensors: what is written comes back, and nothing else is loaded."""

from __future__ import annotations

import json
import pickle
import struct
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.deepspeed


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Any:
    from types import SimpleNamespace

    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    from w2s_ray.learn.deepspeed_state import TensorCheckpoints

    return TensorCheckpoints(SimpleNamespace(optimizer=SimpleNamespace(loss_scaler="the engine's")))


class Stage(IntEnum):
    """As DeepSpeed's own, which a state holds."""

    weights = 3


def test_a_state_comes_back(files, tmp_path):
    import torch

    flat = torch.arange(6.0)
    state = {
        "module": OrderedDict(a=flat[:2], b=flat[2:].view(2, 2).t(), same=flat),
        "optimizer_state_dict": {
            "state": {0: {"step": torch.tensor(3.0), "exp_avg": flat.bfloat16()}, 1: {}},
            "param_groups": [{"betas": (0.9, 0.999), "params": [0, 1], "fused": None}],
            "zero_stage": Stage.weights,
            "loss_scaler": object(),
            "param_slice_mappings": [object()],
        },
        "skipped_steps": 0,
        "empty": [(), [], {}, "", float("inf"), True],
    }
    files.save(state, str(tmp_path / "state.pt"))
    back = files.load(str(tmp_path / "state.pt"))
    for name, tensor in state["module"].items():
        assert torch.equal(back["module"][name], tensor)
    optimizer = back["optimizer_state_dict"]
    assert optimizer["state"][0]["step"].shape == ()
    assert torch.equal(optimizer["state"][0]["exp_avg"], flat.bfloat16())
    assert optimizer["state"][1] == {}
    assert optimizer["param_groups"] == [{"betas": (0.9, 0.999), "params": [0, 1], "fused": None}]
    assert (optimizer["zero_stage"], optimizer["loss_scaler"]) == (3, "the engine's")
    assert (back["skipped_steps"], back["empty"]) == (0, [(), [], {}, "", float("inf"), True])


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, {1.5: 0}, Path("x"), {1, 2}, b"x"])
def test_a_value_that_has_no_plain_form_is_refused(files, tmp_path, value):
    with pytest.raises(TypeError, match="a checkpoint of DeepSpeed can't hold"):
        files.save({"what": value}, str(tmp_path / "state.pt"))


class Planted:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def written(values: Any) -> bytes:
    """A safetensors file without tensors, whose header says `values`."""
    header = json.dumps({"__metadata__": {"values": json.dumps(values)}}).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize("form", ["pickle", "torch", "torch, old form"])
def test_a_planted_pickle_runs_nothing(files, tmp_path, form):
    import torch

    path, mark = tmp_path / "mp_rank_00_model_states.pt", tmp_path / "ran"
    planted = {"module": Planted(mark)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(planted))
    else:
        torch.save(planted, path, _use_new_zipfile_serialization="old" not in form)
    with pytest.raises(ValueError, match="is not a checkpoint that this version wrote"):
        files.load(str(path))
    assert not mark.exists()
    torch.load(path, weights_only=False) if form != "pickle" else pickle.loads(path.read_bytes())  # noqa: S301
    assert mark.exists(), "the plant would have worked"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 100,
        struct.pack("<Q", 2) + b"{}",
        written([1]),
        written({"tensor": "0"}),
        written({"dict": [["a"]]}),
        written({"dict": [], "tuple": []}),
        written({"class": "os.system"}),
        written({"dict": [[["a"], 1]]}),
        written({"dict": [["a", {"tensor": "../../etc/passwd"}]]}),
    ],
)
def test_a_damaged_state_is_refused(files, tmp_path, content):
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="delete the fit's folder in the store's work/"):
        files.load(str(path))
