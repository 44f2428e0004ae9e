"""Models of every form: a pretrained backbone, loaded, with the form's head and what is trained.

Owns loading, frozen layers, adapters and the switching off of dropout. The heads stand with their
forms; losses, data order and devices are handled elsewhere.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from w2s_ray.config import (
    FORMS,
    FormName,
    LastLayersTuning,
    LoraTuning,
    LpFtTuning,
    ModelSource,
    ProbeTuning,
    Tuning,
)
from w2s_ray.config.execution import Attention
from w2s_ray.config.tuning import Base, base_of, check_package
from w2s_ray.errors import InputError
from w2s_ray.learn.adapters import with_adapters
from w2s_ray.learn.engine import CLASSES
from w2s_ray.learn.forms import MODELS
from w2s_ray.learn.forms.classes import TwoClass
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.loading import check_weights, load_config, load_weights

# bitsandbytes, which peft imports where it is installed, recommends a kernel that is not used here.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def build_model(
    source: ModelSource,
    *,
    tuning: Tuning | None,
    base: Base | None = None,
    seed: int,
    form: FormName = "classes",
    classes: int = CLASSES,
    activation_checkpointing: bool = False,
    attention: Attention = "auto",
) -> FormModel:
    """The model at `source` with fp32 weights, `form`'s head, and what `tuning` trains unfrozen.

    `classes` is the number of outputs of the head of a form with several classes. With None for
    `tuning` all of it is frozen.

    `base` is the format of the linear layers' weights, if `tuning` names none. In 4 bits they are
    quantized when the model is moved to a device.

    Dropout is off everywhere, as in the reference implementation; and the pass that measures a
    batch's threshold must see the same forward as the pass that learns from it. `seed` decides
    the adapters' first weights.

    Raises:
        InputError: no safetensors weights, an encoder-decoder, targets that match no module, an
            attention or a base that the model or this machine can't have.
    """
    from transformers import GenerationConfig

    base = base_of(tuning) or base
    check_package(base)
    _check_weights(source)
    config = load_config(source)
    causal = is_causal(config, source=source)
    _silence(config)
    torch.manual_seed(seed)
    language = FORMS[form].is_language
    if language and not causal:
        raise InputError(
            f"{source.location} is an encoder ({config.model_type}), and rows of the form {form} "
            "need a causal language model"
        )
    whole = load_weights(_loader(form), source, config, attention=attention)
    backbone: Any = language_part(whole)
    if language:
        backbone.generation_config = GenerationConfig()  # a model's own may sample
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # our head reads the hidden state itself
    backbone.requires_grad_(True)
    if activation_checkpointing:
        _checkpoint_activations(backbone)
    text = config.get_text_config()
    width = getattr(text, "word_embed_proj_dim", None) or text.hidden_size
    pad_id = text.pad_token_id if isinstance(text.pad_token_id, int) else 0
    if base is not None:
        from w2s_ray.learn.four_bit import quantize_linear_layers

        quantize_linear_layers(backbone, source=source)
    match tuning:
        case LoraTuning():
            torch.manual_seed(seed)
            backbone = with_adapters(backbone, tuning)
        case ProbeTuning() | LpFtTuning() if language:
            raise InputError(
                f"training.tuning is {tuning.kind}, but a model of the form {form} has no head of "
                "its own to train; choose full, lora or last_layers"
            )
        case ProbeTuning():
            backbone.requires_grad_(False)
        case LastLayersTuning():
            _freeze_below(backbone, tuning.layers, every=text.num_hidden_layers)
        case _:
            pass
    model = MODELS[form](
        backbone, width=width, causal=causal, pad_id=max(pad_id, 0), classes=classes
    )
    if tuning is None:
        model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model.train()


def begin_with_head(model: FormModel, source: ModelSource) -> None:
    """Give `model` the head that another fit trained, if `source` names its folder."""
    if source.head is not None:
        assert isinstance(model, TwoClass), "a language model has no head of its own"
        model.load_head(Path(source.head))


def language_part(model: Any) -> Any:
    """The language model of a multimodal model, which is all that texts need; else `model` itself.

    Towers of images or sound are dropped: nothing adapts, trains, counts or exports them. A model
    with a head whose language model has no class with a head is returned whole.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    text = model.config.get_text_config()
    if text is model.config or model.get_decoder() is model:
        return model
    head = model.get_output_embeddings()
    if head is None:
        return model.get_decoder()
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(text), None)
    if kind is None:
        return model
    with torch.device("meta"):
        part = kind(text)
    setattr(part, part.base_model_prefix, model.get_decoder())
    part.set_output_embeddings(head)
    return part


def check_files(source: ModelSource, *, form: FormName = "classes") -> None:
    """Refuse files that don't fit their configuration, before a model is made of them.

    Raises:
        InputError: names the tensors.
    """
    _check_weights(source)
    check_weights(_loader(form), source, load_config(source))


def _loader(form: FormName) -> Any:
    from transformers import AutoModel, AutoModelForCausalLM

    return AutoModelForCausalLM if FORMS[form].is_language else AutoModel


def _freeze_below(backbone: nn.Module, layers: int, *, every: int) -> None:
    """Freeze all but the last `layers` of `every` layers and what comes after them."""
    if layers > every:
        raise InputError(f"training.tuning.layers is {layers}, but the model has {every} layers")
    parent, name = layer_list(backbone, every)
    names = [child for child, _ in parent.named_children()]
    backbone.requires_grad_(False)
    for after in names[names.index(name) + 1 :]:
        parent.get_submodule(after).requires_grad_(True)
    for layer in list(parent.get_submodule(name).children())[every - layers :]:
        layer.requires_grad_(True)


def layer_list(backbone: Any, every: int) -> tuple[nn.Module, str]:
    """The text model's list of `every` layers: the module that holds it, and its name there.

    Lists within a layer are none, and a multimodal model may have a tower as deep as its text.
    """
    text = backbone.get_decoder() if isinstance(backbone.get_decoder(), nn.Module) else backbone
    found: dict[str, tuple[nn.Module, str]] = {}
    for place, parent in text.named_modules():
        for name, child in parent.named_children():
            at = f"{place}.{name}." if place else f"{name}."
            within = any(at.startswith(outer) for outer in found)
            if isinstance(child, nn.ModuleList) and len(child) == every and not within:
                found[at] = parent, name
    if len(found) != 1:
        what = f"lists {', '.join(at[:-1] for at in found)}" if found else "no list of layers"
        raise InputError(
            f"training.tuning: last_layers finds {what} in this model; use lora or full"
        )
    return next(iter(found.values()))


def is_causal(config: Any, *, source: ModelSource) -> bool:
    """True for a decoder, whose last token has seen the row; False for a BERT-like encoder.

    Raises:
        InputError: an encoder-decoder, which has no single sequence to read.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if config.is_encoder_decoder:
        raise InputError(
            f"{source.location} is an encoder-decoder ({config.model_type}); "
            "use a causal language model or a BERT-like encoder"
        )
    if getattr(config, "is_decoder", False):
        return True
    remote = getattr(config, "auto_map", None) or {}
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return not (masked or "AutoModelForMaskedLM" in remote)


def _check_weights(source: ModelSource) -> None:
    folder = Path(source.location)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} holds no safetensors weights, and pickled ones are never loaded; convert "
            "them once: load the model where you trust it, then model.save_pretrained(folder)"
        )


def _silence(config: Any) -> None:
    """Set every rate of dropout, layer drop and router noise to zero, in nested configs too."""
    config.use_cache = False
    for name, value in list(vars(config).items()):
        if hasattr(value, "get_text_config"):
            _silence(value)
        noisy = "drop" in name or "jitter" in name
        if noisy and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(config, name, 0.0)


def _checkpoint_activations(backbone: Any) -> None:
    """Turn on recomputation in the backward pass, by the name that this transformers has for it."""
    new = getattr(backbone, "activation_checkpointing_enable", None)
    (new or backbone.gradient_checkpointing_enable)({"use_reentrant": False})
