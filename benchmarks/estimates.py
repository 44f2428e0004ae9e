"""Compares the estimates of `w2s plan` with measurements on this machine: FLOPs, memory, tokens.

    python benchmarks/estimates.py flops | memory | lengths [--models FOLDER ...]

`flops` trains whole fits of the embedded ladder under torch's FlopCounterMode. `memory` follows
every tensor's bytes through two steps on the longest batch and two evaluations. `lengths` counts
tokens of generated rows by the models' own tokenizers. Folders given by --models are measured
too, on the same rows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from w2s_ray.config import (
    ConfidenceLoss,
    Execution,
    FitRecipe,
    Labels,
    LoraTuning,
    Model,
    ModelSource,
    Training,
    XentLoss,
)
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_of
from w2s_ray.data.embedded import task_rows
from w2s_ray.data.lengths import Lengths, quantiles, token_lengths
from w2s_ray.data.models import model_source
from w2s_ray.ladder import MODELS
from w2s_ray.learn.evaluate import predict_margins
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.loop import fit as train
from w2s_ray.learn.tokens import TokenRows, tokenize
from w2s_ray.learn.torch_engine import TorchEngine
from w2s_ray.plan.estimates import FitEstimate, estimate_fit

SIZES = {"student_half": 1000, "validation": 500, "test": 2000}
ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "full": ({}, {}, False),
    "micro-batches of 8": ({}, {"micro_batch": 8}, False),
    "confidence, micro-batches of 8": ({}, {"micro_batch": 8}, True),
    "checkpointing": ({}, {"activation_checkpointing": True}, False),
    "LoRA": ({"tuning": LoraTuning(rank=4)}, {}, False),
    "bf16": ({"precision": "bf16"}, {}, False),
}


def _forward(q: Any, k: Any, v: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    b, h, s, d = q
    return 2 * 2 * b * h * s * k[2] * d


def _backward(
    grad: Any, q: Any, k: Any, v: Any, *rest: Any, out_shape: Any = None, **options: Any
) -> int:
    return 5 * _forward(q, k, v) // 2


def counter() -> FlopCounterMode:
    """Torch's FLOP counter, with its formulas also for the CPU's attention, which it omits."""
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    return FlopCounterMode(display=False, custom_mapping={ATTENTION: _forward, backward: _backward})


@dataclass(frozen=True)
class Rows:
    """One task's rows, tokenized for one model."""

    source: ModelSource
    model: Architecture
    tokens: dict[str, TokenRows]
    labels: dict[str, np.ndarray]
    words: dict[str, list[int]]

    def exact(self, part: str) -> Lengths:
        """The exact lengths, as on a machine that has tokenized the rows."""
        found = [int(n) for n in self.tokens[part].lengths]
        return Lengths(len(found), quantiles(found), sum(found) / len(found), "tokenized")

    def from_words(self, part: str) -> Lengths:
        """Lengths estimated from words."""
        return token_lengths(
            split="none",
            part=part,
            rows=len(self.words[part]),
            words=quantiles(self.words[part]),
            source=self.source,
            max_tokens=512,
            longest=self.model.longest,
        )


def rows_of(name: str, *, sizes: Mapping[str, int] = SIZES) -> Rows:
    """The embedded task's rows for the model `name`."""
    source = model_source(Model(name=name))
    model = architecture_of(source)
    if isinstance(model, str):
        raise SystemExit(model)
    made, at = task_rows(rows=sum(sizes.values()), seed=0), 0
    tokens, labels, words = {}, {}, {}
    for part, count in sizes.items():
        texts, ones = zip(*made[at : at + count], strict=True)
        tokens[part] = tokenize(texts, source=source, max_tokens=512)
        labels[part] = np.eye(2, dtype=np.float32)[list(ones)]
        words[part] = [len(text.split()) for text in texts]
        at += count
    return Rows(source, model, tokens, labels, words)


def recipe_of(rows: Rows, training: dict[str, Any], *, confidence: bool) -> FitRecipe:
    """A fit of two epochs, as the quickstart's."""
    return FitRecipe(
        split="none",
        train_on="student_half",
        model=rows.source.identity,
        labels=Labels(source="ground_truth"),
        training=Training(lr=1e-3, **training),
        loss=ConfidenceLoss() if confidence else XentLoss(),
        seed=0,
    )


class Silent:
    """An observer that records nothing."""

    def trained(self, **measured: Any) -> None:
        """A step."""

    def evaluated(self, **measured: Any) -> None:
        """An evaluation."""


def measured_flops(rows: Rows, recipe: FitRecipe, execution: Execution) -> float:
    """FLOPs of a whole fit by torch's counter."""
    data = ClassData(
        train=rows.tokens["student_half"],
        train_targets_NC=rows.labels["student_half"],
        validation=rows.tokens["validation"],
        validation_targets_MC=rows.labels["validation"],
        predict={part: rows.tokens[part] for part in ("validation", "test")},
    )
    with counter() as counted:
        train(recipe, data=data, source=rows.source, execution=execution, observer=Silent())
    return float(counted.get_total_flops())


class LiveBytes(TorchDispatchMode):
    """Current and peak bytes of all live tensors."""

    def __init__(self, held: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        for tensor in held:
            self._note(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._note(leaf)
        return made

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._alive and self._alive[key]() is storage:
            return

        def gone(_: Any) -> None:
            self.now -= size
            self._alive.pop(key, None)

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def measured_memory(rows: Rows, recipe: FitRecipe, execution: Execution) -> int:
    """Peak bytes of tensors over two steps on the longest rows and two passes over validation."""
    training = recipe.training
    engine = TorchEngine(training, source=rows.source, execution=execution, seed=0)
    read = rows.tokens["student_half"]
    longest = np.argsort(read.lengths)[-execution.rows_at_once(training.batch_size) :]
    ids_BL, lengths_B = read.pad(longest)
    with LiveBytes(engine.model.parameters()) as live:
        for _ in range(2):
            logits_BC = engine.forward(torch.from_numpy(ids_BL), torch.from_numpy(lengths_B))
            engine.backward(logits_BC.square().sum(), last=True)
            engine.step(1e-3)
            del logits_BC
            predict_margins(engine, rows.tokens["validation"], batch=execution.evaluation_batch)
    return live.peak


def estimated(rows: Rows, recipe: FitRecipe, execution: Execution, *, exact: bool) -> FitEstimate:
    """The estimate, from exact lengths or from words."""
    lengths = rows.exact if exact else rows.from_words
    return estimate_fit(recipe, execution, model=rows.model, lengths=lengths)


def compare(names: list[str], what: str) -> Iterator[tuple[str, str, float, float, float]]:
    """(model, case, measured, estimated with exact lengths, estimated from words)."""
    for name in names:
        rows = rows_of(name)
        for case, (training, chosen, confidence) in CASES.items():
            if what == "memory" and confidence:
                continue
            recipe = recipe_of(rows, training, confidence=confidence)
            execution = Execution(gpus_per_worker=0, **chosen)
            found = [estimated(rows, recipe, execution, exact=exact) for exact in (True, False)]
            if what == "flops":
                measured = measured_flops(rows, recipe, execution)
                yield name, case, measured, found[0].flops.total, found[1].flops.total
            else:
                measured = measured_memory(rows, recipe, execution)
                yield name, case, measured, found[0].memory.total, found[1].memory.total


def main() -> None:
    """Print one comparison as a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("flops", "memory", "lengths"))
    parser.add_argument("--models", nargs="*", default=[], help="folders, besides the ladder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = [*(f"embedded:{size}" for size in MODELS), *arguments.models]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["W2S_CACHE"] = cache
        if arguments.what == "lengths":
            for name in names:
                rows = rows_of(name)
                tokens = rows.tokens["test"].lengths.mean()
                words = float(np.mean(rows.words["test"]))
                print(f"{Path(name).name:14} {tokens / words:.3f} tokens a word")
            return
        print("| model | case | measured | exact lengths | from words |\n|---|---|---:|---:|---:|")
        unit = 1e9 if arguments.what == "flops" else 2**20
        for name, case, measured, exact, guessed in compare(names, arguments.what):
            print(
                f"| {Path(name).name} | {case} | {measured / unit:.3f} | "
                f"{exact / measured - 1:+.1%} | {guessed / measured - 1:+.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
