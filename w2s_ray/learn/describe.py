"""Descriptions of models from their configurations alone: sizes, matrices, names of tensors.

A model is built on the meta device, without values, and one row passes through it; its modules, and
the order in which they compute, say what its config.json doesn't. It runs as a program too: one
JSON configuration a line in, one JSON description a line out, so that planning needs no torch in
its own process. It reads no files, and runs no code that a model brings along.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from w2s_ray.config import ModelSource
from w2s_ray.errors import InputError
from w2s_ray.learn.loading import no_warnings
from w2s_ray.learn.models import is_causal, language_part, layer_list
from w2s_ray.learn.tokens import position_limit

MOST_LAYERS = 1_000
"""Of a model that is described: more take long, and no known one has them."""
_TOKENS = 7
"""Of the row that passes through; no model has so many features in a head."""
_ATTENTION = "w2s_described"
"""The name of our attention among those of transformers."""
_ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function", "activation")
_OTHER = "its layers are not each attention and a dense MLP"
_LONGEST_REASON = 200


def description(config: Mapping[str, Any]) -> dict[str, Any]:
    """The description of the model that a config.json declares, as JSON has it.

    Raises:
        InputError: transformers can't build it, or it isn't a stack of equal layers, each of
            attention and a dense MLP.
    """
    with _reasons("transformers can't build it"):
        parsed, backbone = _built(config)
    text = parsed.get_text_config()
    unnamed = ModelSource(name="it", location="it", identity="none")
    causal = is_causal(parsed, source=unnamed)
    try:
        parent, name = layer_list(backbone, text.num_hidden_layers)
    except InputError:
        raise InputError(_OTHER) from None
    stack = parent.get_submodule(name)
    layers = list(stack.children())
    _check_weights(layers)
    in_steps = backbone.config._attn_implementation == "eager"
    with _reasons("it can't be run without values"):
        events, pooled = _passed(backbone, layers)
        of_layers = _of_layers(layers, events, width=text.hidden_size)
        scores = _scores(events) if in_steps else 0
    activations = (getattr(text, name, None) for name in _ACTIVATIONS)
    return {
        "family": text.model_type,
        "layers": len(layers),
        "width": text.hidden_size,
        **of_layers,
        "scores": scores,
        "outside_matrices": _outside(backbone, layers, events),
        "parameters": sum(p.numel() for p in backbone.parameters()),
        "layer_parameters": sum(p.numel() for p in layers[-1].parameters()),
        "activation": next((a for a in activations if isinstance(a, str)), ""),
        "vocabulary": text.vocab_size,
        "longest": position_limit(parsed),
        "causal": causal,
        "pooled": pooled,
        "adapted": _adapted_by_default(text.model_type),
        "skeleton": _skeleton(parsed, backbone, stack, causal=causal),
    }


def _built(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The configuration and the backbone, without values and frozen."""
    from transformers import CONFIG_MAPPING, AttentionInterface, AttentionMaskInterface, AutoModel

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise InputError(f"transformers has no model_type {kind!r}")
    parsed: Any = CONFIG_MAPPING[kind].from_dict(dict(config))
    if parsed.get_text_config().num_hidden_layers > MOST_LAYERS:
        raise InputError(f"it has more than {MOST_LAYERS:,} layers")
    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, lambda *_, **__: None)
    with torch.device("meta"):
        backbone: Any = language_part(AutoModel.from_config(parsed, dtype=torch.float32))
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    return parsed, backbone.eval().requires_grad_(False)


def _check_weights(layers: Sequence[nn.Module]) -> None:
    if any(weight.dim() > 2 for layer in layers for weight in layer.parameters()):
        raise InputError(
            "its layers have weights of more than two dimensions, as mixtures of experts have"
        )


@dataclass(frozen=True, eq=False)
class _Event:
    """Something that happens while a row passes through."""

    what: Literal["matrix", "norm", "attention", "saved", "end"]
    """`saved`: autograd keeps a tensor; `end`: of a layer."""
    module: nn.Module | None = None
    given: tuple[Tensor, ...] = ()
    """Inputs; of attention queries, keys and values."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of attention."""


_EVENTS: list[_Event] = []
"""Of the passage under way: transformers registers an attention for the whole process."""


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **settings: Any
) -> tuple[Tensor, None]:
    """Attention without values. What depends on it needs a gradient, and nothing else does."""
    _EVENTS.append(_Event("attention", module, (query, key, value), settings))
    batch, heads, tokens = query.shape[:3]
    made = query.new_empty(batch, tokens, heads, value.shape[-1])
    return made.requires_grad_() * 1, None


def _passed(backbone: Any, layers: Sequence[nn.Module]) -> tuple[list[_Event], int]:
    """What happens while a row passes through, in order, and the features of a token at the end."""

    def noted(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        kind = "matrix" if _is_matrix(module) else "norm" if _is_norm(module) else None
        if kind is not None and given:
            _EVENTS.append(_Event(kind, module, (given[0],)))

    def ended(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        _EVENTS.append(_Event("end", module))

    def saved(tensor: Tensor) -> Tensor:
        _EVENTS.append(_Event("saved"))
        return tensor

    _EVENTS.clear()
    backbone.set_attn_implementation(_ATTENTION)
    for module in backbone.modules():
        module.register_forward_hook(noted)
    for layer in layers:
        layer.register_forward_hook(ended)
    row = torch.ones(1, _TOKENS, dtype=torch.long, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        made = backbone(input_ids=row, attention_mask=row, use_cache=False)
    return list(_EVENTS), made.last_hidden_state.shape[-1]


def _scores(events: Sequence[_Event]) -> int:
    """Copies of the attention scores that a layer saves where no kernel computes attention.

    Raises:
        InputError: attention isn't the function that transformers' models have for it.
    """
    event = next(event for event in events if event.what == "attention")
    eager = getattr(sys.modules[type(event.module).__module__], "eager_attention_forward", None)
    if eager is None:
        raise InputError("its attention holds every score in memory in a way of its own")
    kept: dict[int, int] = {}

    def saved(tensor: Tensor) -> Tensor:
        if tensor.shape[-2:] == (_TOKENS, _TOKENS):
            kept[tensor.untyped_storage()._cdata] = tensor.numel()
        return tensor

    query, key, value = (t.detach().requires_grad_() for t in event.given)
    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        made, _ = eager(event.module, query, key, value, None, **event.settings)
    assert made.requires_grad
    return sum(kept.values()) // (query.shape[1] * _TOKENS**2)


def _is_matrix(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _matrix(name: str, event: _Event) -> dict[str, Any]:
    module: Any = event.module
    outer, inner = module.weight.shape
    if not isinstance(module, nn.Linear):  # a Conv1D
        inner, outer = outer, inner
    bias, before = module.bias is not None, not event.given[0].requires_grad
    return {"name": name, "inner": inner, "outer": outer, "bias": bias, "before_attention": before}


def _of_layers(
    layers: Sequence[nn.Module], events: Sequence[_Event], *, width: int
) -> dict[str, Any]:
    """What is in every layer; a norm that the first one lacks is counted.

    Raises:
        InputError: the layers differ, or are built otherwise.
    """
    ends = [i for i, event in enumerate(events) if event.what == "end"]
    if [events[i].module for i in ends] != list(layers):
        raise InputError("its layers don't compute one after another")
    parts = [events[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    found = [_layer(layer, part, width) for layer, part in zip(layers, parts, strict=True)]
    first, last = found[0], found[-1]
    if any(_shapes(each) != _shapes(first) for each in found):
        raise InputError("its layers differ from one another")
    return {**last, "matrices": first["matrices"]}


def _shapes(layer: Mapping[str, Any]) -> list[Any]:
    return [layer["attention"], *((m["name"], m["inner"], m["outer"]) for m in layer["matrices"])]


def _layer(layer: nn.Module, events: Sequence[_Event], width: int) -> dict[str, Any]:
    """What one layer has and computes. Features are those of one token."""
    names: dict[Any, str] = {module: name for name, module in layer.named_modules()}
    own = [event for event in events if event.module in names or event.what == "saved"]
    order = [event.what for event in own]
    calls = [i for i, what in enumerate(order) if what == "matrix"]
    if order.count("attention") != 1 or not calls:
        raise InputError(_OTHER)
    matrices = [_matrix(names[own[i].module], own[i]) for i in calls]
    at = order.index("attention")
    reading = sum(i < at for i in calls)
    held = {id(p) for p in layer.parameters() if p.dim() > 1}
    if sorted(held) != sorted(id(own[i].module.weight) for i in calls):  # type: ignore[union-attr]
        raise InputError(_OTHER)
    gated = _is_gated(matrices, reading=reading, width=width)
    query, key, value = own[at].given
    attention = query.shape[1] * query.shape[3]
    if gated is None or value.shape != key.shape or matrices[reading]["inner"] != attention:
        raise InputError(_OTHER)
    stored = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in own[at].given}
    norms = [(event.module, event.given[0]) for event in own if event.what == "norm"]
    return {
        "matrices": matrices,
        "mlp_inputs": len(matrices) - reading - 2,
        "gated": gated,
        "attention": attention,
        "heads": query.shape[1],
        "attended": attention + sum(stored.values()) // (query.element_size() * _TOKENS),
        "by_head": query.stride(1) > query.stride(2),
        "norm_inputs": _features({id(given): given for _, given in norms}.values()),
        "norm_copies": _features(given for module, given in norms if _is_elementwise(module)),
        "ends_in_product": "saved" not in order[calls[-1] :],
    }


def _is_gated(matrices: Sequence[Mapping[str, Any]], *, reading: int, width: int) -> bool | None:
    """Whether the MLP multiplies two maps of its input; None where it isn't an MLP.

    Before it stand the matrices that attention reads from, and the one after attention.
    """
    if len(matrices) < reading + 3:
        return None
    *ups, down = matrices[reading + 1 :]
    if any(m["inner"] != width for m in (*matrices[:reading], *ups)):
        return None
    if {down["outer"], matrices[reading]["outer"]} != {width}:
        return None
    made = sum(m["outer"] for m in ups)
    return {down["inner"]: False, 2 * down["inner"]: True}.get(made)


def _is_elementwise(module: Any) -> bool:
    """Whether a norm with weights is computed step by step, and keeps what it multiplies."""
    return not isinstance(module, nn.LayerNorm) and any(True for _ in module.parameters())


def _features(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors) // _TOKENS


def _outside(
    backbone: Any, layers: Sequence[nn.Module], events: Sequence[_Event]
) -> list[dict[str, Any]]:
    """The matrices before and after the layers."""
    inside = {module for layer in layers for module in layer.modules()}
    names = {module: name for name, module in backbone.named_modules()}
    calls = (e for e in events if e.what == "matrix" and e.module not in inside)
    return [_matrix(names[event.module], event) for event in calls]


def _adapted_by_default(family: str) -> list[str] | None:
    """The modules that get an adapter where nobody names any; None where peft has no default."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    found = KNOWN.get(family)
    return None if found is None else list(found)


def _skeleton(parsed: Any, backbone: Any, stack: nn.Module, *, causal: bool) -> dict[str, Any]:
    """The names of the tensors, within the backbone."""
    from transformers.conversion_mapping import get_model_conversion_mapping

    names = {module: name for name, module in backbone.named_modules()}
    ignored = [re.compile(p) for p in backbone._keys_to_ignore_on_load_missing or ()]
    return {
        "prefix": backbone.base_model_prefix,
        "layers": names[stack],
        "embedding": names[backbone.get_input_embeddings()],
        "head": _heads(parsed) if causal else [],
        "tied": bool(getattr(parsed.get_text_config(), "tie_word_embeddings", False)),
        "tensors": {
            name: list(p.shape)
            for name, p in backbone.named_parameters()
            if not any(pattern.search(name) for pattern in ignored)
        },
        "renamed": parsed.get_text_config() is not parsed
        or bool(get_model_conversion_mapping(backbone, add_legacy=False)),
    }


def _heads(parsed: Any) -> list[str]:
    """The modules of the language model's head, and the names that files have for them."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    writer: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(parsed), None)
    tied = getattr(writer, "_tied_weights_keys", None) or {}
    found = [name.removesuffix(".weight") for name in tied if name.endswith(".weight")]
    changes = get_checkpoint_conversion_mapping(writer.__name__) if found else None
    for change in changes or ():
        sources, targets = (
            [re.sub(r"[\\^$]", "", pattern).strip(".") for pattern in patterns]
            for patterns in (change.source_patterns, change.target_patterns)
        )
        found += sources if set(targets) & set(found) else []
    return found


@contextlib.contextmanager
def _reasons(what: str) -> Iterator[None]:
    """Within it, a library's error about a configuration becomes one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"{what} ({said[:_LONGEST_REASON]})") from error


def answer(config: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a model, or `{"why": ...}` where there is none."""
    try:
        with no_warnings(), _reasons("it can't be described"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return description(config)
    except InputError as error:
        return {"why": str(error)}


def main() -> None:
    """Answer every line of the standard input."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
