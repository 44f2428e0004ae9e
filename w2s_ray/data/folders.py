"""Checks of a model's folder before it is loaded: configuration, weights, tokenizer.

Owns the checks that need neither torch nor transformers, so that planning refuses models that can't
be loaded. Other faults are found when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from w2s_ray.config import ModelSource
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.descriptions import architecture_from_config
from w2s_ray.data.files import stamp
from w2s_ray.data.headers import TensorShapes, model_tensors, read_object
from w2s_ray.data.hub import snapshot_folder
from w2s_ray.data.skeletons import tensor_mismatch
from w2s_ray.errors import InputError

NEW = "new:"
"""Prefix of the identity of a model that the sweep pretrains; it has no files yet."""
ADAPTER = "adapter_config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_TOKENIZERS = (TOKENIZER, "*.model", "vocab.*", "*.tiktoken", "tekken.json")
"""Files of a tokenizer; it has at least one of them."""
_COUNTS = (
    *("hidden_size", "n_embd", "d_model", "num_hidden_layers", "n_layer", "num_attention_heads"),
    *("n_head", "num_key_value_heads", "head_dim", "intermediate_size", "ffn_dim", "n_inner"),
    *("vocab_size", "max_position_embeddings", "n_positions", "word_embed_proj_dim"),
)
"""Settings of config.json that must be whole numbers above 0."""
_WIDTHS, _HEADS = ("hidden_size", "n_embd"), ("num_attention_heads", "n_head")
_DIVIDED = ("gpt2", "gpt_neox", "opt", "bert", "roberta")
"""Families whose width must be divisible by the number of heads."""
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
_MOST_LAYERS = 10_000


@dataclass(frozen=True)
class ModelFiles:
    """The configuration and the tensors of a model, read from its files."""

    config: Mapping[str, Any]
    """The content of config.json."""
    tensors: TensorShapes
    """Names and shapes of its weights; empty if they are not on this machine."""
    own_code: bool = False
    """Whether the model's folder has its own code, which is trusted."""

    @property
    def text(self) -> Mapping[str, Any]:
        """The configuration of the text model; for multimodal models a part of config.json."""
        inner = self.config.get("text_config")
        return inner if isinstance(inner, dict) else self.config

    @property
    def layers(self) -> int | None:
        """Layers of the text model; None if config.json has no such key."""
        return next((self.text[k] for k in _LAYERS if isinstance(self.text.get(k), int)), None)

    @property
    def architecture(self) -> Architecture | None:
        """The architecture; None if it is unknown."""
        if self.own_code or "quantization_config" in self.config:
            return None
        found = architecture_from_config(self.config)
        return None if isinstance(found, str) else found


def model_files(source: ModelSource) -> ModelFiles | None:
    """The files of the model at `source`; None if they are not on this machine.

    Raises:
        InputError: a file that is missing or damaged, or does not belong to a model.
    """
    folder = folder_of(source)
    if folder is None:
        return None
    trusted = source.trust_remote_code
    refuse_adapter(folder)
    config = _config(folder, trusted=trusted)
    if source.revision is None:
        return _files(config, model_tensors(folder), trusted)
    try:
        return _files(config, model_tensors(folder), trusted)
    except InputError:  # the cache needn't have the weights yet, or all of them
        return _files(config, {}, trusted)


def _files(config: Mapping[str, Any], tensors: TensorShapes, trusted: bool) -> ModelFiles:
    return ModelFiles(config, tensors, own_code=trusted and "auto_map" in config)


def folder_of(source: ModelSource) -> Path | None:
    """The folder of the model at `source`: a local folder, or its snapshot in the hub's cache."""
    folder = Path(source.location)
    if folder.is_dir() and not source.identity.startswith(NEW):
        return folder
    if source.revision is None:
        return None
    folder = snapshot_folder(source.location, source.revision)
    return folder if (folder / "config.json").is_file() else None


def check_model(source: ModelSource, files: ModelFiles, *, reads_text: bool) -> None:
    """Refuse a model whose files contradict each other.

    Raises:
        InputError: names the file, what is wrong with it, and the remedy.
    """
    where = Path(source.location)
    shape = files.architecture
    wrong = tensor_mismatch(files.tensors, shape) if shape is not None and files.tensors else ""
    if wrong:
        raise InputError(
            f"the weights in {where} don't fit its config.json ({shape.family if shape else ''}): "
            f"{wrong}; give a folder whose config.json and weights belong together"
        )
    if reads_text and where.is_dir():
        _check_tokenizer(where, files, trusted=source.trust_remote_code)


def refuse_adapter(folder: Path) -> None:
    """Refuse a folder with an adapter, for which the library would load the base model."""
    if (folder / ADAPTER).is_file():
        base = read_object(folder / ADAPTER).get("base_model_name_or_path") or "its base"
        raise InputError(
            f"the model folder {folder} holds an adapter ({ADAPTER}) of {base}; merge it into its "
            "base: PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(...)"
        )


def _config(folder: Path, *, trusted: bool) -> dict[str, Any]:
    """The content of config.json, after checks of the model type and the sizes."""
    path = folder / "config.json"
    config = read_object(path)
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise InputError(
            f"{path} has no model_type; give a folder that save_pretrained of a transformers model "
            "wrote"
        )
    known = _known_types()
    if known and f'"{kind}"' not in known and not (trusted and "auto_map" in config):
        raise InputError(
            f"{path}: transformers has no model_type {kind!r}; correct it, install a version that "
            "has it, or set trust_remote_code if the folder contains the model's code"
        )
    for key in _COUNTS:
        value = config.get(key)
        if isinstance(value, bool | float | str) or (isinstance(value, int) and value < 1):
            raise InputError(f"{path}: {key} is {value!r}; give a whole number above 0")
    width, heads, layers = (_first(config, keys) for keys in (_WIDTHS, _HEADS, _LAYERS))
    if layers and layers > _MOST_LAYERS:
        raise InputError(f"{path}: {layers:,} layers; at most {_MOST_LAYERS:,} can be built")
    if kind in _DIVIDED and width and heads and width % heads:
        raise InputError(
            f"{path}: the width {width} is not divisible by {heads} heads; correct one of them"
        )
    return config


def _first(config: Mapping[str, Any], keys: Iterable[str]) -> int | None:
    return next((config[key] for key in keys if isinstance(config.get(key), int)), None)


@cache
def _known_types() -> str:
    """Source text of transformers that lists its model types; empty if it isn't found.

    Importing the library would take seconds.
    """
    spec = find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return ""
    auto = Path(spec.submodule_search_locations[0]) / "models" / "auto"
    names = ("auto_mappings.py", "configuration_auto.py")
    return "".join(
        (auto / name).read_text(encoding="utf-8") for name in names if (auto / name).is_file()
    )


def check_reads(source: ModelSource, files: ModelFiles) -> None:
    """Refuse an architecture that this package can't use for text.

    Raises:
        InputError: names the model and its architecture.
    """
    kind = files.config["model_type"]
    why = ""
    if files.config.get("is_encoder_decoder") is True:
        why = "is an encoder-decoder"
    elif files.text.get("use_bidirectional_attention") in (True, "all"):
        why = (
            "has bidirectional attention (use_bidirectional_attention), so padding changes its "
            "output"
        )
    elif kind == "xlnet":
        why = "has bidirectional attention, so padding changes its output"
    if why:
        raise InputError(
            f"{source.location} ({kind}) {why}; use a causal language model or a BERT-like encoder"
        )


def _check_tokenizer(folder: Path, files: ModelFiles, *, trusted: bool) -> None:
    if not any(path.is_file() for pattern in _TOKENIZERS for path in folder.glob(pattern)):
        if trusted and any(folder.glob("*.py")):
            return
        raise InputError(
            f"the model folder {folder} has no tokenizer files; copy those of its base model into "
            "it (AutoTokenizer.from_pretrained(base).save_pretrained(folder))"
        )
    if (folder / TOKENIZER_CONFIG).is_file():
        read_object(folder / TOKENIZER_CONFIG)
    if not (folder / TOKENIZER).is_file():
        return
    shape = files.architecture
    rows = shape.vocabulary if shape is not None else files.text.get("vocab_size")
    tokens = tokens_of(folder / TOKENIZER)
    if isinstance(rows, int) and tokens > rows:
        raise InputError(
            f"the tokenizer in {folder} has {tokens:,} tokens, but the embedding has {rows:,} "
            "rows; resize the embedding (resize_token_embeddings), or use the model's own tokenizer"
        )


def tokens_of(path: Path) -> int:
    """Tokens of a tokenizer.json: one more than the largest id.

    Raises:
        InputError: the file was not written by the tokenizers library.
    """
    key = [list(stamp(path.resolve()))]
    note = read_note("tokenizers", key=key)
    if note is not None and isinstance(note.get("tokens"), int):
        return note["tokens"]
    content = read_object(path)
    tokens = _tokens(content)
    if tokens is None:
        raise InputError(
            f"{path} is not a tokenizer of the tokenizers library; download it again, or save the "
            "tokenizer with save_pretrained"
        )
    write_note("tokenizers", key=key, note={"tokens": tokens})
    return tokens


def _tokens(content: Mapping[str, Any]) -> int | None:
    added = content.get("added_tokens") or []
    ids: list[Any]
    match content.get("model"):
        case {"vocab": dict(vocabulary)} if vocabulary:
            ids = list(vocabulary.values())
        case {"vocab": [*pieces]} if pieces:
            ids = [len(pieces) - 1]
        case _:
            return None
    if not isinstance(added, list):
        return None
    ids += [token.get("id") if isinstance(token, dict) else None for token in added]
    return max(ids) + 1 if all(isinstance(i, int) for i in ids) else None
