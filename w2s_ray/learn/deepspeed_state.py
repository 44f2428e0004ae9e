"""DeepSpeed's checkpoint files in a form that runs no code when it is loaded.

Owns the format: one safetensors file for each state that DeepSpeed saves, with its tensors and, as
JSON in the header, the plain values around them. DeepSpeed's own format is a pickle. The
caller decides what is saved and where.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from w2s_ray.errors import InputError

_VALUES = "values"
"""Key of the header that holds the JSON."""
_OBJECTS = frozenset({"loss_scaler", "param_slice_mappings"})
"""Keys whose values are objects: the engine makes the first anew, only DeepSpeed's converter to
universal checkpoints reads the second."""


class TensorCheckpoints(CheckpointEngine):
    """What DeepSpeed calls to write and read each state of a checkpoint."""

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self.name = "TensorCheckpoints"
        self._engine = engine

    def create(self, info: Any) -> Any:
        pass

    def save(self, state_dict: dict[str, Any], path: str) -> Any:
        tensors: dict[str, Tensor] = {}
        values = _encoded(state_dict, tensors)
        save_file(tensors, path, metadata={_VALUES: json.dumps(values)})

    def load(self, path: str, map_location: Any = None) -> Any:
        """The state in `path`, its tensors on the CPU whatever `map_location` is.

        Raises:
            InputError: it is damaged, or a pickle.
        """
        try:
            with safe_open(path, "pt", device="cpu") as file:
                values = json.loads((file.metadata() or {})[_VALUES])
                state = _decoded(values, file)
            assert isinstance(state, dict), "the values are no mapping"
        except (SafetensorError, OSError, LookupError, TypeError, ValueError, AssertionError) as e:
            raise InputError(
                f"{path} is not a checkpoint that this version wrote ({type(e).__name__}: {e}); "
                "delete the fit's folder in the store's work/ to train it from the start"
            ) from e
        if "optimizer_state_dict" in state:
            state["optimizer_state_dict"]["loss_scaler"] = self._engine.optimizer.loss_scaler
        return state

    def commit(self, info: Any) -> Any:
        return True

    def preserves_storage_sharing(self) -> Any:
        return False


def _encoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON can hold it; its tensors are put into `tensors`, by number."""
    match value:
        case Tensor():
            number = str(len(tensors))
            tensors[number] = _alone(value)
            return {"tensor": number}
        case dict():
            kept = ((key, each) for key, each in value.items() if key not in _OBJECTS)
            return {"dict": [[_key(key), _encoded(each, tensors)] for key, each in kept]}
        case tuple():
            return {"tuple": [_encoded(each, tensors) for each in value]}
        case list():
            return [_encoded(each, tensors) for each in value]
        case None | bool() | float() | str():
            return value
        case int():  # DeepSpeed's stage is an enumeration
            return int(value)
    raise TypeError(f"a checkpoint of DeepSpeed can't hold a {type(value).__name__}: {value!r}")


def _key(key: Any) -> str | int:
    if type(key) not in (str, int):
        raise TypeError(f"a checkpoint of DeepSpeed can't hold the key {key!r}")
    return key


def _alone(tensor: Tensor) -> Tensor:
    """`tensor` on the CPU, with memory of its own."""
    found = tensor.detach()
    whole = found.is_contiguous() and found.untyped_storage().nbytes() == found.nbytes
    if found.device.type == "cpu" and whole:
        return found
    return found.to("cpu", copy=True, memory_format=torch.contiguous_format)


def _decoded(value: Any, file: Any) -> Any:
    """What `_encoded` was given."""
    if isinstance(value, list):
        return [_decoded(each, file) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "tensor":
            return file.get_tensor(content)
        case "dict":
            return {_key(key): _decoded(each, file) for key, each in content}
        case "tuple":
            return tuple(_decoded(each, file) for each in content)
    raise ValueError(f"unknown kind {kind!r}")
