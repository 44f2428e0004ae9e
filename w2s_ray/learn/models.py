"""Models of every form: a pretrained backbone with a head of our own, or its own.

Owns loading, the head, pooling, adapters and the switching off of dropout. It knows nothing of
losses, data order or devices, and asks DeepSpeed for nothing but access to sharded weights.
Shapes: B rows, L tokens, D width of the backbone, C two classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from w2s_ray.errors import InputError
from w2s_ray.learn.language import LanguageModel, export_language
from w2s_ray.spec import (
    Form,
    LastLayersTuning,
    LoraTuning,
    LpFtTuning,
    ModelSource,
    ProbeTuning,
    Tuning,
)

CLASSES = 2


class Head(nn.Module):
    """A linear map without bias from D to C, zero at first, so that the first loss is ln 2.

    It computes in fp32 whatever the backbone's precision is: bf16 logits would tie, and a
    threshold over a batch needs an order.
    """

    def __init__(self, width: int, *, outputs: int = CLASSES) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, width))

    def forward(self, pooled_BD: Tensor) -> Tensor:
        with torch.autocast(pooled_BD.device.type, enabled=False):
            return nn.functional.linear(pooled_BD.float(), self.weight.float())


class TwoClass(nn.Module):
    """Backbone and head. Rows are padded on the right and known by their lengths, never by an id.

    A causal decoder is read at its last real token and needs no attention mask: no real token
    looks to its right, where the padding is. An encoder (BERT-like) is read at its first token,
    [CLS], and gets a mask built from the lengths.
    """

    def __init__(self, backbone: nn.Module, *, width: int, causal: bool, pad_id: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = Head(width)
        self.causal = causal
        self.pad_id = pad_id

    def forward(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """logits_BC in fp32."""
        return self.head(self.pooled(input_ids_BL, lengths_B))

    def pooled(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """pooled_BD, the hidden state that the head reads."""
        if self.causal:
            hidden_BLD = self.backbone(input_ids=input_ids_BL, use_cache=False).last_hidden_state
            row_B = torch.arange(len(lengths_B), device=lengths_B.device)
            return hidden_BLD[row_B, lengths_B - 1]
        column_L = torch.arange(input_ids_BL.shape[1], device=lengths_B.device)
        mask_BL = (column_L < lengths_B[:, None]).long()
        hidden_BLD = self.backbone(input_ids=input_ids_BL, attention_mask=mask_BL).last_hidden_state
        return hidden_BLD[:, 0]


class Pairwise(TwoClass):
    """Two texts, each read by itself and given one number: the better one gets the higher.

    Class 1 = the first text is the better one, with the sigmoid of the difference as probability.
    """

    def __init__(self, backbone: nn.Module, *, width: int, causal: bool, pad_id: int) -> None:
        super().__init__(backbone, width=width, causal=causal, pad_id=pad_id)
        self.head = Head(width, outputs=1)

    def forward(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """logits_BC in fp32 of B pairs: the first B rows' texts against the last B rows'."""
        first_B1, second_B1 = self.head(self.pooled(input_ids_BL, lengths_B)).chunk(2)
        difference_B1 = first_B1 - second_B1
        return torch.cat([torch.zeros_like(difference_B1), difference_B1], dim=1)


AnyModel = TwoClass | LanguageModel


def build_model(
    source: ModelSource,
    *,
    tuning: Tuning,
    seed: int,
    form: Form = "classes",
    activation_checkpointing: bool = False,
) -> AnyModel:
    """The model at `source` with fp32 weights, `form`'s head, and what `tuning` trains unfrozen.

    Dropout is off everywhere, as in the reference implementation; and the pass that measures a
    batch's threshold must see the same forward as the pass that learns from it. `seed` decides
    the adapters' first weights.

    Raises:
        InputError: no safetensors weights, an encoder-decoder, or targets that match no module.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, GenerationConfig

    _check_weights(source)
    at = {"revision": source.revision, "trust_remote_code": source.trust_remote_code}
    config = AutoConfig.from_pretrained(source.location, **at)
    causal = is_causal(config, source=source)
    _silence(config)
    torch.manual_seed(seed)
    language = form in ("answers", "text")
    if language and not causal:
        raise InputError(
            f"{source.location} is an encoder ({config.model_type}), and rows of the form {form} "
            "need a causal language model"
        )
    loader = AutoModelForCausalLM if language else AutoModel
    with no_progress_bars():
        backbone: Any = loader.from_pretrained(
            source.location, config=config, use_safetensors=True, dtype=torch.float32, **at
        )
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
    match tuning:
        case LoraTuning():
            torch.manual_seed(seed)
            backbone = _with_adapters(backbone, tuning)
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
    pad_id = max(pad_id, 0)
    if language:
        model: AnyModel = LanguageModel(backbone, pad_id=pad_id)
    else:
        kind = Pairwise if form == "pairs" else TwoClass
        model = kind(backbone, width=width, causal=causal, pad_id=pad_id)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model.train()


def _freeze_below(backbone: nn.Module, layers: int, *, every: int) -> None:
    """Freeze all but the last `layers` of `every` layers and what stands after them."""
    if layers > every:
        raise InputError(f"training.tuning.layers is {layers}, but the model has {every} layers")
    found = [
        (parent, name)
        for parent in backbone.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == every
    ]
    if not found:
        raise InputError(
            "training.tuning: last_layers finds no list of layers in this model; use lora or full"
        )
    parent, name = found[0]
    names = [child for child, _ in parent.named_children()]
    backbone.requires_grad_(False)
    for after in names[names.index(name) + 1 :]:
        parent.get_submodule(after).requires_grad_(True)
    for layer in list(parent.get_submodule(name).children())[every - layers :]:
        layer.requires_grad_(True)


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


def merged_weights(model: AnyModel, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's weights under their pretrained names, adapters added into what they adapt.

    `state` holds the whole model's weights by `model`'s parameter names.
    """
    prefix = "backbone."
    weights = {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}
    for name, module in model.backbone.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        down = weights.pop(f"{name}.lora_A.default.weight")
        up = weights.pop(f"{name}.lora_B.default.weight")
        delta = (up.float() @ down.float()) * module.scaling["default"]  # pyright: ignore
        delta = delta.T if module.fan_in_fan_out else delta
        whole = weights[f"{name}.base_layer.weight"]
        weights[f"{name}.base_layer.weight"] = (whole.float() + delta).to(whole.dtype)
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): value.contiguous()
        for name, value in weights.items()
    }


def export_model(model: AnyModel, state: dict[str, Tensor], folder: Path) -> None:
    """Write `state` to `folder` as a pretrained model, with the head in `head.safetensors`.

    The folder can be a `ModelSource`'s location again; its head is then a new one.
    """
    from safetensors.torch import save_file

    if isinstance(model, LanguageModel):
        export_language(model, state, folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    backbone: Any = model.backbone
    inner = backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone
    with no_progress_bars():
        inner.save_pretrained(folder, state_dict=merged_weights(model, state))
    save_file({"weight": state["head.weight"].contiguous()}, folder / "head.safetensors")


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


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Within it, transformers draws no bars."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _with_adapters(backbone: nn.Module, tuning: LoraTuning) -> nn.Module:
    from peft import LoraConfig, TaskType, get_peft_model

    targets = list(tuning.targets) if tuning.targets is not None else None
    adapters = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=tuning.rank,
        lora_alpha=tuning.alpha,  # pyright: ignore
        target_modules=targets,
        lora_dropout=0.0,
        bias="none",
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fan_in_fan_out")
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
            return get_peft_model(backbone, adapters, autocast_adapter_dtype=False)
    except ValueError as error:
        raise InputError(
            f"training.tuning.targets is {targets}: {error}; name modules of the model, "
            "such as [q_proj, v_proj]"
        ) from error
