"""Tiny models made on the spot, token rows with a learnable label, and recipes for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from w2s_ray.config import FitRecipe, ModelSource, Training, XentLoss
from w2s_ray.learn.contract import Command
from w2s_ray.learn.device_rows import DeviceRows
from w2s_ray.learn.forms.categories import CategoryData
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.tokens import TokenRows

VOCABULARY = 40


def source_of(folder: Path, name: str) -> ModelSource:
    return ModelSource(name=name, location=str(folder), identity=f"sha256:{name}")


def recipe_of(training: dict[str, Any] | None = None, **fields: Any) -> FitRecipe:
    """A recipe with quick settings; `training` and `fields` replace some."""
    settings = {"batch_size": 8, "epochs": 2, "lr": 1e-2, "evaluations_per_epoch": 2}
    given = {
        "split": "split",
        "train_on": "student_half",
        "model": "sha256:tiny",
        "labels": "ground_truth",
        "loss": XentLoss(),
        "seed": 0,
        "training": Training(**{**settings, **(training or {})}),
    }
    return FitRecipe(**{**given, **fields})


def rows_and_labels(rows: int, seed: int) -> tuple[TokenRows, np.ndarray]:
    """Rows of 3 to 14 tokens; class 1 where more tokens are in the vocabulary's upper half."""
    generator = np.random.default_rng(seed)
    made: list[np.ndarray] = []
    for label in generator.integers(0, 2, rows):
        length = int(generator.integers(3, 15))
        upper = generator.random(length) < (0.8 if label else 0.2)
        low = generator.integers(0, VOCABULARY // 2, length)
        made.append(low + upper * (VOCABULARY // 2))
    share = np.array([float(np.mean(row >= VOCABULARY // 2)) for row in made])
    soft = (1 / (1 + np.exp(-8 * (share - 0.5)))).astype(np.float32)
    return TokenRows.of(made), np.stack([1 - soft, soft], axis=1)


def category_rows(rows: int, seed: int) -> tuple[TokenRows, np.ndarray]:
    """Rows of 3 to 14 tokens and soft labels: class by the third of the vocabulary of most."""
    generator = np.random.default_rng(seed)
    third = VOCABULARY // 3
    made: list[np.ndarray] = []
    for own in generator.integers(0, 3, rows):
        length = int(generator.integers(3, 15))
        part = np.where(generator.random(length) < 0.7, own, generator.integers(0, 3, length))
        made.append(part * third + generator.integers(0, third, length))
    share_NC = np.array([np.bincount(row // third, minlength=3) / len(row) for row in made])
    soft_NC = np.exp(6 * share_NC)
    soft_NC /= soft_NC.sum(axis=1, keepdims=True)
    return TokenRows.of(made), soft_NC.astype(np.float32)


def category_data(train: int = 44, validation: int = 21, test: int = 17) -> CategoryData:
    (rows, labels), (held, held_labels) = category_rows(train, 1), category_rows(validation, 2)
    predict = {"validation": held, "test": category_rows(test, 3)[0]}
    return CategoryData(rows, labels, held, held_labels, predict, names=("a", "b", "c"))


def inputs_of(rows: Any, indices: Any, pad_id: int = 0) -> Any:
    """Rows as a model takes them, on a CPU, padded to the longest."""
    rows_of_cpu = DeviceRows(torch.device("cpu"))
    return rows_of_cpu.padded(rows, np.asarray(indices), pad_id=pad_id, width=lambda n: n)


def data_of(train: int = 44, validation: int = 21, test: int = 17) -> ClassData:
    train_rows, train_targets = rows_and_labels(train, 1)
    validation_rows, validation_targets = rows_and_labels(validation, 2)
    return ClassData(
        train=train_rows,
        train_targets_NC=train_targets,
        validation=validation_rows,
        validation_targets_MC=validation_targets,
        predict={"validation": validation_rows, "test": rows_and_labels(test, 3)[0]},
    )


class CommandAt:
    """A control that returns `command` from call `at` on, counted from 1."""

    def __init__(self, command: Command, *, at: int) -> None:
        self.command = command
        self.at = at
        self.calls = 0

    def next_command(self) -> Command:
        self.calls += 1
        return self.command if self.calls >= self.at else "go"


class Recorder:
    """An observer that records its calls, and raises after step `stop_after` if it is given."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.evaluations: list[dict[str, Any]] = []
        self.stop_after = stop_after

    def trained(self, *, step: int, total_steps: int, loss: float, lr: float) -> None:
        self.losses.append(loss)
        self.rates.append(lr)
        if step == self.stop_after:
            raise KeyboardInterrupt

    def evaluated(self, **seen: Any) -> None:
        self.evaluations.append({**seen, "probabilities": seen["predicted"].probabilities})


def round_to_bf16(folder: Path) -> Path:
    """A folder whose model has values of bf16 from now on, in fp32."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    values = {name: value.bfloat16().float() for name, value in load_file(file).items()}
    save_file(values, file, {"format": "pt"})
    return folder


def make_gpt2(folder: Path, *, dropout: float = 0.1) -> Path:
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=None,
        eos_token_id=None,
    )
    GPT2Model(config).save_pretrained(folder)
    return folder


def make_bert(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder
