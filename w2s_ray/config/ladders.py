"""Named ladders of open models: hub names, sizes, learning rates and LoRA targets.

Owns these values with their sources, and the expansion of `{ladder: pythia, from: 70m}` to entries
of `models`. `ladder/open_models.json` has the configurations of these models. It makes no request
to the hub and reads no other part of a sweep file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from w2s_ray.config.names import Line
from w2s_ray.config.settings import Frozen
from w2s_ray.errors import InputError
from w2s_ray.validation import first_problem, unknown_key

REFERENCE = "openai/weak-to-strong, train_simple.py"
BRANCH = "openai/weak-to-strong, weak_to_strong/config.py at 00c8dfd, a branch that main lacks"
ELEUTHER = "EleutherAI/w2s, w2s/model.py"
TORCHTUNE = "pytorch/torchtune, recipes/configs/{}_full.yaml: instruction tuning"
OPEN_INSTRUCT = "allenai/open-instruct, {}: instruction tuning"
ALIKE = f"by analogy with {REFERENCE}: 5e-5 up to 0.5B, 1e-5 above; recalled, not tuned"


@dataclass(frozen=True)
class Rung:
    """One model of a ladder."""

    name: str
    """Hub name."""
    parameters: float
    """Weights including embeddings, rounded as on the model's card; recalled."""
    lr: float
    """Peak learning rate when every weight is trained, at batch size 32."""
    lr_source: str
    revision: str | None = None
    """Hub revision with safetensors weights; null = main, or the hub's conversion of main."""
    has_safetensors: bool = True
    """Whether the hub has such a revision."""


@dataclass(frozen=True)
class OpenLadder:
    """One architecture at several sizes, smallest first."""

    rungs: Mapping[str, Rung]
    """Size, as in the model's name -> model."""
    targets: tuple[str, ...]
    """Modules that get an adapter under LoRA."""
    targets_source: str
    note: str = ""
    """A limitation of these models."""


def _rungs(
    name: str,
    sizes: Mapping[str, tuple[float, float, str]],
    *,
    revisions: Mapping[str, str] | None = None,
    pickled: Collection[str] = (),
) -> dict[str, Rung]:
    at = revisions or {}
    return {
        size: Rung(name.format(size), *values, at.get(size), size not in pickled)
        for size, values in sizes.items()
    }


SMALL, LARGE = (5e-5, ALIKE), (1e-5, ALIKE)
LLAMA_LINEAR = ("gate_proj", "down_proj", "up_proj", "q_proj", "k_proj", "v_proj", "o_proj")
LLAMA_GATE = "gated: accept the licence on the model's page, wait for approval by hand, log in"
GEMMA_GATE = "gated: accept the licence on the model's page, log in"
MODERNBERT = (
    "AnswerDotAI/ModernBERT, examples/finetune_modernbert_on_glue.ipynb: GLUE at batch size 32"
)

OPEN_LADDERS: dict[str, OpenLadder] = {
    "gpt2": OpenLadder(
        {
            "124m": Rung("openai-community/gpt2", 124e6, 5e-5, REFERENCE),
            "355m": Rung("openai-community/gpt2-medium", 355e6, 5e-5, REFERENCE),
            "774m": Rung("openai-community/gpt2-large", 774e6, 1e-5, REFERENCE),
            "1.5b": Rung("openai-community/gpt2-xl", 1.56e9, 1e-5, REFERENCE),
        },
        ("c_fc", "c_proj", "c_attn"),
        BRANCH,
    ),
    "pythia": OpenLadder(
        _rungs(
            "EleutherAI/pythia-{}",
            {
                "14m": (14e6, *SMALL),
                "31m": (30.5e6, *SMALL),
                "70m": (70e6, *SMALL),
                "160m": (162e6, *SMALL),
                "410m": (405e6, 5e-5, BRANCH),
                "1b": (1.01e9, *LARGE),
                "1.4b": (1.41e9, *LARGE),
                "2.8b": (2.78e9, *LARGE),
                "6.9b": (6.86e9, *LARGE),
                "12b": (11.8e9, *LARGE),
            },
        ),
        ("dense_h_to_4h", "dense_4h_to_h", "query_key_value"),
        BRANCH,
        "main has safetensors; the branches `stepN` of earlier checkpoints have pickles, which are "
        "never loaded",
    ),
    "qwen2.5": OpenLadder(
        _rungs(
            "Qwen/Qwen2.5-{}",
            {
                "0.5B": (494e6, *SMALL),
                "1.5B": (1.54e9, *LARGE),
                "3B": (3.09e9, *LARGE),
                "7B": (7.62e9, *LARGE),
                "14B": (14.8e9, *LARGE),
                "32B": (32.8e9, *LARGE),
                "72B": (72.7e9, *LARGE),
            },
        ),
        LLAMA_LINEAR,
        f"{ELEUTHER}, for Llama, Mistral and Qwen",
    ),
    "opt": OpenLadder(
        _rungs(
            "facebook/opt-{}",
            {
                "125m": (125e6, *SMALL),
                "350m": (331e6, *SMALL),
                "1.3b": (1.32e9, *LARGE),
                "2.7b": (2.65e9, *LARGE),
                "6.7b": (6.66e9, *LARGE),
                "13b": (12.9e9, *LARGE),
                "30b": (30e9, *LARGE),
                "66b": (66e9, *LARGE),
            },
            # The hub's own conversions; those of 13b and 66b are found when the sweep is planned.
            revisions={
                "125m": "refs/pr/35",
                "350m": "refs/pr/33",
                "1.3b": "refs/pr/25",
                "2.7b": "refs/pr/26",
                "6.7b": "refs/pr/31",
            },
            pickled=("30b",),
        ),
        ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
        "recalled: every linear layer of a block, as for the other ladders",
        "weights on the hub's main branch are pickles, which are never loaded; the hub's own "
        "conversions to safetensors are read (`refs/pr/N`), and 30b has none: give a local folder",
    ),
    "qwen3": OpenLadder(
        _rungs(
            "Qwen/Qwen3-{}-Base",
            {
                "0.6B": (596e6, 2e-5, TORCHTUNE.format("qwen3/0.6B")),
                "1.7B": (1.72e9, 2e-5, TORCHTUNE.format("qwen3/1.7B")),
                "4B": (4.02e9, 5e-6, TORCHTUNE.format("qwen3/4B")),
                "8B": (8.19e9, 5e-6, TORCHTUNE.format("qwen3/8B")),
                "14B": (14.8e9, 5e-6, "by analogy with 8B; not tuned"),
            },
        ),
        LLAMA_LINEAR,
        f"{ELEUTHER}, for Llama, Mistral and Qwen",
    ),
    "smollm2": OpenLadder(
        _rungs(
            "HuggingFaceTB/SmolLM2-{}",
            {
                "135M": (135e6, *SMALL),
                "360M": (362e6, *SMALL),
                "1.7B": (1.71e9, *LARGE),
            },
        ),
        LLAMA_LINEAR,
        f"{ELEUTHER}, for Llama, whose architecture it is",
    ),
    "olmo2": OpenLadder(
        {
            "1B": Rung(
                "allenai/OLMo-2-0425-1B", 1.48e9, 3e-5, OPEN_INSTRUCT.format("docs/olmo2.md")
            ),
            "7B": Rung(
                "allenai/OLMo-2-1124-7B",
                7.3e9,
                2e-5,
                OPEN_INSTRUCT.format("scripts/train/olmo2/finetune_7b.sh"),
            ),
            "13B": Rung(
                "allenai/OLMo-2-1124-13B",
                13.7e9,
                5e-6,
                OPEN_INSTRUCT.format("scripts/train/olmo2/finetune_13b.sh"),
            ),
            "32B": Rung(
                "allenai/OLMo-2-0325-32B",
                32.2e9,
                4e-6,
                OPEN_INSTRUCT.format("scripts/train/olmo2/finetune_32b.sh"),
            ),
        },
        LLAMA_LINEAR,
        f"by analogy with {ELEUTHER}: every linear layer of a block",
    ),
    "llama3": OpenLadder(
        {
            "1B": Rung("meta-llama/Llama-3.2-1B", 1.24e9, 2e-5, TORCHTUNE.format("llama3_2/1B")),
            "3B": Rung("meta-llama/Llama-3.2-3B", 3.21e9, 2e-5, TORCHTUNE.format("llama3_2/3B")),
            "8B": Rung("meta-llama/Llama-3.1-8B", 8.03e9, 2e-5, TORCHTUNE.format("llama3_1/8B")),
            "70B": Rung("meta-llama/Llama-3.1-70B", 70.6e9, 2e-5, TORCHTUNE.format("llama3_1/70B")),
        },
        LLAMA_LINEAR,
        f"{ELEUTHER}, for Llama, Mistral and Qwen",
        LLAMA_GATE,
    ),
    "gemma2": OpenLadder(
        _rungs(
            "google/gemma-2-{}",
            {
                "2b": (2.61e9, 2e-5, TORCHTUNE.format("gemma2/2B")),
                "9b": (9.24e9, 2e-5, TORCHTUNE.format("gemma2/9B")),
                "27b": (27.2e9, 2e-5, TORCHTUNE.format("gemma2/27B")),
            },
        ),
        LLAMA_LINEAR,
        f"{ELEUTHER}, for gemma-7b",
        f"{GEMMA_GATE}. Attention has no kernel (its scores are capped) unless "
        "`execution.attention` names one, so memory grows with the square of a row's length",
    ),
    "gemma3": OpenLadder(
        {
            "270m": Rung("google/gemma-3-270m", 268e6, *SMALL),
            "1b": Rung("google/gemma-3-1b-pt", 1e9, *LARGE),
            "4b": Rung("google/gemma-3-4b-pt", 3.88e9, *LARGE),
            "12b": Rung("google/gemma-3-12b-pt", 11.8e9, *LARGE),
            "27b": Rung("google/gemma-3-27b-pt", 27e9, *LARGE),
        },
        LLAMA_LINEAR,
        f"by analogy with {ELEUTHER}, for gemma-7b",
        f"{GEMMA_GATE}. From 4b on only the language model of a multimodal model is used",
    ),
    "modernbert": OpenLadder(
        {
            "149m": Rung("answerdotai/ModernBERT-base", 149e6, 8e-5, MODERNBERT),
            "395m": Rung(
                "answerdotai/ModernBERT-large",
                395e6,
                5e-5,
                "by analogy with the base model, and within the 1e-5 to 8e-5 of "
                "AnswerDotAI/ModernBERT, src/evals/glue_jobs.py; not tuned",
            ),
        },
        ("Wqkv", "Wo", "Wi"),
        "by analogy with the other ladders: every linear layer of a block",
        "an encoder: for classes and pairs, not for answers, choices or text",
    ),
}
"""Name -> ladder. Values marked as recalled were not checked against the hub."""

LORA_RANK, LORA_LR, LORA_LR_LARGE, LORA_LARGE = 8, 5e-4, 8e-5, 1e9
"""EleutherAI/w2s uses rank 8, and learning rates of 5e-4 at 0.5B weights and 8e-5 at 8B. The size
between them at which the learning rate changes is our choice."""


class LadderRange(Frozen):
    """A range of a named ladder of open models, in place of a list of models."""

    model_config = ConfigDict(populate_by_name=True)

    ladder: Line
    """The ladder, by its name in the table below."""
    first: Line | None = Field(default=None, alias="from")
    """The smallest model, by its size; null = the ladder's smallest."""
    last: Line | None = Field(default=None, alias="to")
    """The largest model, by its size; null = the ladder's largest."""
    tuning: Literal["full", "lora"] = "full"
    """full: train every weight, at the ladder's learning rates. lora: train adapters of rank 8 on
    the ladder's target modules, at learning rates for LoRA."""
    training: dict[str, Any] = {}
    """Settings of `training` for all of these models. They override the ladder's."""
    execution: dict[str, Any] = {}
    """Settings of `execution` for all of these models."""
    revision: Line | None = None
    """Hub commit, tag or branch of all of these models."""


def with_ladders_expanded(models: Any) -> Any:
    """The value of the key `models` with every ladder replaced by its models.

    Raises:
        InputError: an unknown_key ladder or size, or a range that ends before it begins.
    """
    if isinstance(models, dict) and "ladder" in models:
        models = [models]
    if not isinstance(models, list | tuple):
        return models
    entries: list[Any] = []
    for entry in models:
        is_ladder = isinstance(entry, dict) and "ladder" in entry
        entries += _models(_range(entry)) if is_ladder else [entry]
    return entries


def is_pickled(name: str) -> bool:
    """Whether a hub name is that of a model of a ladder without safetensors on the hub."""
    rungs = (rung for ladder in OPEN_LADDERS.values() for rung in ladder.rungs.values())
    return any(rung.name == name and not rung.has_safetensors for rung in rungs)


def _range(entry: Mapping[str, Any]) -> LadderRange:
    known = [field.alias or name for name, field in LadderRange.model_fields.items()]
    for key in entry:
        if key not in known:
            raise InputError(f"models.{key}: {unknown_key(str(key), known)}")
    try:
        return LadderRange.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"models.{first_problem(error, LadderRange, entry)}") from None


def _models(span: LadderRange) -> list[dict[str, Any]]:
    if span.ladder not in OPEN_LADDERS:
        problem = unknown_key(span.ladder, OPEN_LADDERS, what="ladder")
        raise InputError(f"models.ladder: {problem}")
    ladder = OPEN_LADDERS[span.ladder]
    sizes = list(ladder.rungs)
    first = 0 if span.first is None else _index(span.first, sizes, "from", span.ladder)
    last = len(sizes) - 1 if span.last is None else _index(span.last, sizes, "to", span.ladder)
    if first > last:
        raise InputError(
            f"models.to: {span.last} is smaller than `from: {span.first}`; swap them (sizes of "
            f"{span.ladder}, smallest first: {', '.join(sizes)})"
        )
    return [_model(ladder, ladder.rungs[size], span) for size in sizes[first : last + 1]]


def _model(ladder: OpenLadder, rung: Rung, span: LadderRange) -> dict[str, Any]:
    training: dict[str, Any] = {"lr": rung.lr}
    if span.tuning == "lora":
        training["lr"] = LORA_LR if rung.parameters < LORA_LARGE else LORA_LR_LARGE
        adapters = {"kind": "lora", "rank": LORA_RANK, "targets": list(ladder.targets)}
        training["tuning"] = adapters
    return {
        "name": rung.name,
        "revision": span.revision or rung.revision,
        "training": {**training, **span.training},
        "execution": span.execution,
    }


def _index(size: str, sizes: list[str], key: str, ladder: str) -> int:
    by_name = {name.lower(): index for index, name in enumerate(sizes)}
    if size.lower() in by_name:
        return by_name[size.lower()]
    raise InputError(
        f"models.{key}: the ladder {ladder} has no size {size!r}; did you mean "
        f"{_nearest(size, sizes)!r}? known: {', '.join(sizes)}"
    )


def _nearest(size: str, sizes: list[str]) -> str:
    """The nearest size by ratio; the smallest if `size` is not a number."""
    number = _number(size)
    if number is None or number <= 0:
        return sizes[0]
    return min(sizes, key=lambda name: abs(math.log((_number(name) or 1.0) / number)))


def _number(size: str) -> float | None:
    units = {"k": 1e3, "m": 1e6, "b": 1e9}
    digits, unit = size[:-1], size[-1:].lower()
    try:
        return float(digits) * units[unit] if unit in units else float(size)
    except ValueError:
        return None
