"""The order of rows, and how one batch is laid out over workers and micro-batches.

The order follows from lengths, batch size, seed and epoch alone; the layout from the batch and the
execution. Keeping the two apart is what makes results independent of execution. Pure NumPy, no
randomness but the seeded kind, no tokens and no labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MicroBatch:
    """The rows of one worker in one forward pass."""

    positions: np.ndarray
    """Places in the batch, int64 [b], sorted by length."""
    real: bool
    """False: a placeholder row where the batch has too few; it has weight 0."""


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimizer steps of one pass; a short last batch is a step."""
    return -(-rows // batch_size)


def epoch_batches(
    lengths_N: np.ndarray, *, batch_size: int, bucket_batches: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """The batches of one epoch as arrays of row indices; every row is in exactly one.

    Rows are shuffled, drawn `bucket_batches` batches at a time, sorted by length within such a
    draw and cut into batches, whose order is shuffled. Rows that fill no batch make a short one at
    the end; they are split off before sorting, so that it isn't always the longest that do.
    """
    generator = np.random.default_rng([seed % 2**63, epoch])
    order_N = generator.permutation(len(lengths_N))
    whole = len(order_N) - len(order_N) % batch_size
    batches: list[np.ndarray] = []
    for start in range(0, whole, batch_size * bucket_batches):
        drawn = order_N[start : min(start + batch_size * bucket_batches, whole)]
        if bucket_batches > 1:
            drawn = drawn[np.argsort(lengths_N[drawn], kind="stable")]
        batches.extend(drawn.reshape(-1, batch_size))
    batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches + ([order_N[whole:]] if whole < len(order_N) else [])


def layout(lengths_B: np.ndarray, *, workers: int, micro_batch: int) -> list[list[MicroBatch]]:
    """One batch over workers: for each, equally many micro-batches of at most `micro_batch` rows.

    Rows are sorted by length and dealt in consecutive runs of nearly equal size, so that a
    micro-batch holds similar lengths and workers wait little for each other. A run left empty
    repeats one row with `real=False`.
    """
    rows = len(lengths_B)
    rounds = -(-rows // (workers * micro_batch))
    by_length = np.argsort(lengths_B, kind="stable")
    return _dealt(by_length, np.array_split(by_length, workers * rounds), workers=workers)


def layout_by_tokens(lengths_M: np.ndarray, *, workers: int, most: int) -> list[list[MicroBatch]]:
    """The same without gradients: micro-batches of like size in tokens.

    None has more than `most` padded tokens, unless it is one row.
    """
    by_length = np.argsort(lengths_M, kind="stable")
    runs: list[np.ndarray] = []
    end = len(by_length)
    while end > 0:
        start = max(0, end - max(1, most // int(lengths_M[by_length[end - 1]])))
        runs.insert(0, by_length[start:end])
        end = start
    runs += [by_length[:0]] * (-len(runs) % workers)
    return _dealt(by_length, runs, workers=workers)


def _dealt(
    by_length: np.ndarray, runs: list[np.ndarray], *, workers: int
) -> list[list[MicroBatch]]:
    """Runs of rows to workers in turn; an empty run gets a placeholder row."""
    stand_in = MicroBatch(by_length[:1], real=False)
    dealt = [MicroBatch(run, real=True) if len(run) else stand_in for run in runs]
    return [dealt[worker::workers] for worker in range(workers)]
