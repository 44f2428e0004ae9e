"""The same grid without a framework: a fast PyTorch loop for comparison with `w2s`.

`python bare_loop.py FOLDER --processes 1 --threads 2` trains the five fits on the data in
FOLDER and prints one JSON object. It does the same computations as w2s (the same model
class, batches, optimizer, schedule, clipping, evaluations and predictions) and nothing else: no
records, no checkpoints, no Ray. Texts are tokenized once for all fits, weak labels stay in memory.
Shapes: B rows, L tokens, N rows in all.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from grid_inputs import HALF, HELD_OUT, SHAPES
from torch import Tensor, nn

BATCH, EPOCHS, LR, CLIP = 32, 2, 1e-3, 1.0
BUCKET_BATCHES, EVALUATION_BATCH, MAX_TOKENS = 16, 64, 512
PARTS = {
    "supervisor_half": slice(0, HALF),
    "student_half": slice(HALF, 2 * HALF),
    "validation": slice(2 * HALF, 2 * HALF + HELD_OUT),
    "test": slice(2 * HALF + HELD_OUT, 2 * HALF + 2 * HELD_OUT),
}


@dataclass(frozen=True)
class Job:
    """One fit of the grid."""

    name: str
    model: str
    train_on: str
    supervisor: str | None = None
    """The job whose predictions are the labels; null = ground truth."""


A, B = (shape.folder for shape in SHAPES)
GRID = (
    Job("supervisor a", A, "supervisor_half"),
    Job("ceiling b", B, "student_half"),
    Job("student a -> b", B, "student_half", supervisor="supervisor a"),
    Job("ceiling a", A, "student_half"),
    Job("student a -> a", A, "student_half", supervisor="supervisor a"),
)
"""Supervisors first and long fits before short ones, so that two processes end together."""


@dataclass(frozen=True)
class Task:
    """The tokenized texts in their parts, with labels. All models share one tokenizer."""

    folder: Path
    rows: dict[str, list[np.ndarray]]
    labels: dict[str, np.ndarray]


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves behind."""

    name: str
    seconds: float
    test_accuracy: float
    weak_labels: np.ndarray | None
    """Probability of class 1 on the student's half, for supervisors."""


class TwoClass(nn.Module):
    """A GPT-2 backbone read at its last real token by a linear head that starts at zero."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.from_pretrained(
            folder, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False
        )
        self.backbone = AutoModel.from_pretrained(folder, config=config, dtype=torch.float32)
        self.head = nn.Linear(config.n_embd, 2, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """logits_BC. Without a mask, as padding on the right does not influence a causal model."""
        hidden_BLD = self.backbone(input_ids=input_ids_BL, use_cache=False).last_hidden_state
        return self.head(hidden_BLD[torch.arange(len(lengths_B)), lengths_B - 1])


def load_task(folder: Path) -> Task:
    """Read and tokenize the texts of `folder`."""
    from transformers import AutoTokenizer

    with (folder / "texts.csv").open(newline="", encoding="utf-8") as file:
        texts, labels = zip(*list(csv.reader(file))[1:], strict=True)
    tokenizer = AutoTokenizer.from_pretrained(folder / A)
    ids = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
    arrays = [np.asarray(row, dtype=np.int64) for row in ids]
    truth = np.asarray(labels, dtype=np.float32)
    return Task(
        folder,
        rows={part: arrays[where] for part, where in PARTS.items()},
        labels={part: truth[where] for part, where in PARTS.items()},
    )


def fit(job: Job, task: Task, weak_labels: np.ndarray | None = None) -> Fitted:
    """Train one fit and predict the parts for its role."""
    started = time.perf_counter()
    rows = task.rows[job.train_on]
    p1_N = torch.from_numpy(task.labels[job.train_on] if weak_labels is None else weak_labels)
    targets_NC = torch.stack([1 - p1_N, p1_N], dim=1)
    lengths_N = np.array([len(row) for row in rows])
    torch.manual_seed(0)
    model = TwoClass(task.folder / job.model).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.0, fused=True)
    generator = np.random.default_rng(0)
    steps, step = EPOCHS * math.ceil(len(rows) / BATCH), 0
    predicted: dict[str, np.ndarray] = {}
    for _ in range(EPOCHS):
        for picked in bucketed(lengths_N, generator):
            logits_BC = model(*padded(rows, picked))
            loss = nn.functional.cross_entropy(logits_BC, targets_NC[picked])
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            for group in optimizer.param_groups:
                group["lr"] = LR * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
        predicted["validation"] = predict(model, task.rows["validation"])
    predicted["test"] = predict(model, task.rows["test"])
    if any(other.supervisor == job.name for other in GRID):
        predicted["student_half"] = predict(model, task.rows["student_half"])
    right = (predicted["test"] > 0.5) == (task.labels["test"] > 0.5)
    seconds = time.perf_counter() - started
    return Fitted(job.name, seconds, float(right.mean()), predicted.get("student_half"))


def bucketed(lengths_N: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """One epoch's batches: rows of similar length together, batches in random order."""
    order = generator.permutation(len(lengths_N))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), BATCH * BUCKET_BATCHES):
        drawn = order[start : start + BATCH * BUCKET_BATCHES]
        drawn = drawn[np.argsort(lengths_N[drawn], kind="stable")]
        batches += [drawn[i : i + BATCH] for i in range(0, len(drawn), BATCH)]
    return [batches[i] for i in generator.permutation(len(batches))]


def padded(rows: list[np.ndarray], picked: np.ndarray) -> tuple[Tensor, Tensor]:
    """input_ids_BL, padded on the right with 0, and lengths_B."""
    lengths_B = torch.tensor([len(rows[i]) for i in picked])
    input_ids_BL = torch.zeros(len(picked), int(lengths_B.max()), dtype=torch.int64)
    for place, i in enumerate(picked):
        input_ids_BL[place, : len(rows[i])] = torch.from_numpy(rows[i])
    return input_ids_BL, lengths_B


@torch.no_grad()
def predict(model: TwoClass, rows: list[np.ndarray]) -> np.ndarray:
    """Class 1's probability of each row, in batches of similar length."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    p1_N = np.zeros(len(rows), dtype=np.float32)
    for start in range(0, len(order), EVALUATION_BATCH):
        picked = order[start : start + EVALUATION_BATCH]
        p1_N[picked] = model(*padded(rows, picked)).softmax(dim=1)[:, 1].numpy()
    return p1_N


def in_this_process(folder: Path) -> list[Fitted]:
    """The grid, one fit after the other."""
    task = load_task(folder)
    done: dict[str, Fitted] = {}
    for job in GRID:
        weak = done[job.supervisor].weak_labels if job.supervisor else None
        done[job.name] = fit(job, task, weak)
    return list(done.values())


def in_pool(folder: Path, pool: ProcessPoolExecutor) -> list[Fitted]:
    """The grid, each fit as soon as its labels exist and a process is free."""
    done: dict[str, Fitted] = {}
    waiting, running = list(GRID), set[Future[Fitted]]()
    while waiting or running:
        for job in [job for job in waiting if job.supervisor is None or job.supervisor in done]:
            weak = done[job.supervisor].weak_labels if job.supervisor else None
            running.add(pool.submit(_fit_in_pool, folder, job, weak))
            waiting.remove(job)
        ended, running = wait(running, return_when=FIRST_COMPLETED)
        done |= {future.result().name: future.result() for future in ended}
    return [done[job.name] for job in GRID]


_TASKS: dict[Path, Task] = {}
"""Tokenized texts of this process of a pool."""


def _fit_in_pool(folder: Path, job: Job, weak: np.ndarray | None) -> Fitted:
    if folder not in _TASKS:
        _TASKS[folder] = load_task(folder)
    return fit(job, _TASKS[folder], weak)


def _start_process(threads: int) -> None:
    """Imports and threads of a pool's process, before the clock starts."""
    import transformers.models.gpt2.modeling_gpt2  # noqa: F401

    torch.set_num_threads(threads)


def _ready(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def main() -> None:
    """Run the grid and print its times as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder that grid_inputs.py wrote")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each process")
    options = parser.parse_args()
    _start_process(options.threads)
    if options.processes == 1:
        started = time.perf_counter()
        fits = in_this_process(options.folder)
        seconds = time.perf_counter() - started
    else:
        with ProcessPoolExecutor(
            options.processes, get_context("spawn"), _start_process, (options.threads,)
        ) as pool:
            while len(set(pool.map(_ready, [0.2] * options.processes))) < options.processes:
                pass
            started = time.perf_counter()
            fits = in_pool(options.folder, pool)
            seconds = time.perf_counter() - started
    shown: list[dict[str, Any]] = [vars(replace(fitted, weak_labels=None)) for fitted in fits]
    for fitted in shown:
        del fitted["weak_labels"]
    print(json.dumps({"grid_s": seconds, "fits": shown}))


if __name__ == "__main__":
    main()
