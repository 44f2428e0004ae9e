"""How many GPUs large models need, by the estimates: a Markdown table for docs/cost.md.

Owns the configurations of three published models, their published numbers of weights, and the
settings of the table. It loads no weights and needs no network.

    python -m benchmarks.large_models
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from w2s_ray.config import Execution, FullTuning, LoraTuning, Training
from w2s_ray.config.accelerators import find_accelerator
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_from_config
from w2s_ray.plan.estimates.memory import GIB, Memory, memory
from w2s_ray.plan.estimates.placement import smallest_sharding

BATCH, LONGEST = 32, 512
DEVICES = ("A100-40G", "H100", "H200")
TUNINGS = {
    "full": FullTuning(),
    "LoRA, rank 8": LoraTuning(rank=8),
    "LoRA, rank 8, base nf4": LoraTuning(rank=8, base="nf4"),
}
EXECUTION = Execution(micro_batch=1, evaluation_batch=8, activation_checkpointing=True)


@dataclass(frozen=True)
class LargeModel:
    """A published causal language model with untied embeddings."""

    name: str
    parameters: int
    """As published, with the head over the vocabulary."""
    config: dict[str, Any]

    @property
    def architecture(self) -> Architecture:
        """Its architecture; the head over the vocabulary is not part of it."""
        found = architecture_from_config(self.config)
        assert isinstance(found, Architecture), found
        return found


def _model(
    name: str, parameters: int, *, family: str, width: int, layers: int, heads: int, keys: int,
    inner: int, vocabulary: int,
) -> LargeModel:  # fmt: skip
    return LargeModel(
        name,
        parameters,
        {
            "model_type": family,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "intermediate_size": inner,
            "vocab_size": vocabulary,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
            "dtype": "bfloat16",
        },
    )


MODELS = (
    _model("Llama 2 7B", 6_738_415_616, family="llama", width=4096, layers=32, heads=32, keys=32,
           inner=11_008, vocabulary=32_000),
    _model("Qwen2.5 32B", 32_763_876_352, family="qwen2", width=5120, layers=64, heads=40, keys=8,
           inner=27_648, vocabulary=152_064),
    _model("Llama 3.1 70B", 70_553_706_496, family="llama", width=8192, layers=80, heads=64, keys=8,
           inner=28_672, vocabulary=128_256),
)  # fmt: skip


def rows() -> Iterator[list[str]]:
    """A row for each model and tuning: memory on one device, and the smallest sharding of each."""
    for model in MODELS:
        architecture = model.architecture
        for name, tuning in TUNINGS.items():
            training = Training(
                batch_size=BATCH, max_tokens=LONGEST, precision="bf16", tuning=tuning
            )
            shape: dict[str, Any] = {"training": training, "longest": LONGEST}
            needs = partial(_needs, architecture, shape)
            alone = needs(EXECUTION)
            smallest = [
                smallest_sharding(
                    needs,
                    training=training,
                    execution=EXECUTION,
                    device_bytes=find_accelerator(device).bytes,
                )
                for device in DEVICES
            ]
            texts = [found.text if found else "–" for found in smallest]
            yield [model.name, name, f"{alone.total / GIB:,.0f} GiB", *texts]


def _needs(architecture: Architecture, shape: dict[str, Any], execution: Execution) -> Memory:
    return memory(architecture, execution=execution, **shape)


def main() -> None:
    """Print the table."""
    heading = ["model", "tuning", "memory on one device", *DEVICES]
    for line in (heading, ["---"] * len(heading), *rows()):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
