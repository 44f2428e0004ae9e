"""The inputs of both sides of the benchmark: generated texts and two small models, in one folder.

Owns the texts (`texts.csv`), the models (`model_a`, `model_b`: GPT-2-shaped, random weights) and
their word-level tokenizer. All of it is generated from `SEED`. It trains nothing.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 20231214
HALF = 1000
"""Texts of each training half."""
HELD_OUT = 200
"""Texts of validation, and as many of test."""
WORDS = 1500
MARKED = 60
"""Words that each class uses more often than the other."""
MEAN_TOKENS = 137
LONGEST = 480


@dataclass(frozen=True)
class Shape:
    """A GPT-2-shaped model."""

    folder: str
    width: int
    layers: int
    heads: int


SHAPES = (
    Shape("model_a", width=96, layers=4, heads=4),
    Shape("model_b", width=160, layers=5, heads=5),
)
"""About 0.6 and 1.9 million parameters."""


def write_texts(folder: Path) -> float:
    """Write `texts.csv` (text, label; equal numbers of both labels) and return the mean length."""
    generator = np.random.default_rng(SEED)
    rows = 2 * HALF + 2 * HELD_OUT
    sigma = 0.5
    drawn = generator.lognormal(np.log(MEAN_TOKENS) - sigma**2 / 2, sigma, rows)
    lengths = np.clip(drawn, 8, LONGEST).astype(int)
    frequency = 1 / np.arange(10, WORDS + 10)
    of_class = []
    for label in (0, 1):
        weights = frequency.copy()
        start = 100 + label * MARKED
        weights[start : start + MARKED] *= 2.0
        of_class.append(weights / weights.sum())
    labels = generator.permutation(np.arange(rows) % 2)
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for label, length in zip(labels.tolist(), lengths.tolist(), strict=True):
            words = generator.choice(WORDS, size=length, p=of_class[label])
            writer.writerow([" ".join(f"word{i}" for i in words), label])
    return float(lengths.mean())


def write_models(folder: Path) -> dict[str, int]:
    """Write the models with their tokenizer and return the backbones' parameter counts."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", "<eos>"])}
    vocabulary |= {f"word{i}": len(vocabulary) + i for i in range(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>"
    )
    counts = {}
    for number, shape in enumerate(SHAPES):
        torch.manual_seed(SEED + number)
        config = GPT2Config(
            vocab_size=len(vocabulary), n_positions=512, n_embd=shape.width, n_layer=shape.layers,
            n_head=shape.heads, pad_token_id=0, bos_token_id=2, eos_token_id=2,
        )  # fmt: skip
        model = GPT2LMHeadModel(config)
        model.save_pretrained(folder / shape.folder)
        tokenizer.save_pretrained(folder / shape.folder)
        counts[shape.folder] = sum(p.numel() for p in model.transformer.parameters())
    return counts
