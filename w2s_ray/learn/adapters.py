"""Low-rank adapters, made and merged by the peft library.

Owns which modules get one, and the merge of trained adapters into the weights that they adapt. What
can't be merged is refused before training. Heads, engines and files are handled elsewhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from w2s_ray.config import LoraTuning
from w2s_ray.errors import InputError

_ADAPTER = "default"
"""peft's name of the only adapter."""


def with_adapters(backbone: Any, tuning: LoraTuning) -> nn.Module:
    """`backbone` with an adapter on every module that `tuning` names, everything else frozen.

    Raises:
        InputError: a target that matches no module, or one whose adapter can't be merged.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    targets = list(tuning.targets) if tuning.targets is not None else None
    known = _some(backbone)
    _check_targets(backbone, targets or ())
    adapters = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=tuning.rank,
        lora_alpha=tuning.alpha,  # pyright: ignore
        target_modules=targets,
        lora_dropout=0.0,
        bias="none",
    )
    shared = _tied(backbone)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out")
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
            warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
            adapted = get_peft_model(backbone, adapters, autocast_adapter_dtype=False)
    except ValueError as error:
        reason = " ".join(str(error).split()).partition("(")[0]
        raise InputError(
            f"training.tuning.targets is {targets}: {reason.strip()}; name modules of the model, "
            f"which has {known}"
        ) from error
    _check_mergeable(adapted, shared, known)
    return adapted


def merged_adapters(backbone: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` under their pretrained names, adapters merged into what they adapt.

    `weights` holds the whole of `backbone` by its parameter names; `backbone`'s own may be sharded.
    """
    left = dict(weights)
    for name, module in _adapters(backbone):
        inner = f"{name}."
        own = {key.removeprefix(inner): left[key] for key in weights if key.startswith(inner)}
        delta = torch.func.functional_call(
            _Delta(module), {f"layer.{key}": value.float() for key, value in own.items()}, ()
        )
        if getattr(module.get_base_layer(), "transposed", False):
            delta = delta.T
        whole = own["base_layer.weight"]
        for key in own:
            if key.startswith("lora_"):
                del left[inner + key]
        left[f"{inner}base_layer.weight"] = (whole.float() + delta).to(whole.dtype)
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): value.contiguous()
        for name, value in left.items()
    }


class _Delta(nn.Module):
    """What a layer's adapter adds to its weight, as peft computes it."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self) -> Tensor:
        return self.layer.get_delta_weight(_ADAPTER)


def _adapters(backbone: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and layers that have an adapter."""
    from peft.tuners.lora import LoraLayer

    for name, module in backbone.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def _check_targets(backbone: nn.Module, targets: Sequence[str]) -> None:
    for target in targets:
        found = [
            module
            for name, module in backbone.named_modules()
            if name == target or name.endswith(f".{target}")
        ]
        if not found:
            why = "matches no module of the model"
        elif not any(map(_is_adaptable, found)):
            why = f"is a {type(found[0]).__name__}, which takes no adapter"
        else:
            continue
        raise InputError(f"training.tuning.targets: {target!r} {why}; it has {_some(backbone)}")


def _check_mergeable(adapted: nn.Module, shared: set[int], known: str) -> None:
    for name, module in _adapters(adapted):
        target = name.removeprefix("base_model.model.")
        weight = getattr(module.get_base_layer(), "weight", None)
        if not isinstance(getattr(module, "base_layer", None), nn.Module) or weight is None:
            raise InputError(
                f"training.tuning.targets: the adapter of {target} can't be merged into its "
                f"weights; leave it out, and name some of {known}"
            )
        if id(weight) in shared:
            raise InputError(
                f"training.tuning.targets: the weights of {target} are the embedding's and the "
                "head's at once (tie_word_embeddings), and an adapter would change one of them "
                "alone; leave it out"
            )


def _tied(backbone: Any) -> set[int]:
    """Identities of weights that the embedding and the head share."""
    output = backbone.get_output_embeddings()
    weight = backbone.get_input_embeddings().weight
    return {id(weight)} if output is not None and output.weight is weight else set()


def _is_adaptable(module: nn.Module) -> bool:
    """Whether a module is one product: a linear map, a convolution or an embedding."""
    weight: Any = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and len(getattr(weight, "ds_shape", weight.shape)) > 1


def _some(backbone: nn.Module) -> str:
    """The last parts of the names of modules that can have an adapter, each once."""
    found = (
        name.rpartition(".")[2]
        for name, module in backbone.named_modules()
        if _is_adaptable(module)
    )
    return f"[{', '.join(dict.fromkeys(name for name in found if not name.isdecimal()))}]"
