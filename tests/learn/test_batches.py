"""The order of rows and the layout of batches, as properties."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.learn.batches import epoch_batches, layout, steps_per_epoch

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=120).map(np.array)


@given(LENGTHS, st.integers(1, 40), st.integers(1, 20), st.integers(-5, 2**40))
def test_every_row_is_in_exactly_one_batch(
    lengths: np.ndarray, batch_size: int, buckets: int, seed: int
) -> None:
    settings = {"batch_size": batch_size, "bucket_batches": buckets, "seed": seed, "epoch": 1}
    batches = epoch_batches(lengths, **settings)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == steps_per_epoch(len(lengths), batch_size)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    again = epoch_batches(lengths, **settings)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_epochs_and_seeds_differ() -> None:
    lengths = np.ones(64, dtype=int)
    orders = {
        tuple(
            np.concatenate(
                epoch_batches(lengths, batch_size=8, bucket_batches=4, seed=seed, epoch=epoch)
            ).tolist()
        )
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_buckets_gather_similar_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 640)

    def padding(buckets: int) -> float:
        batches = epoch_batches(lengths, batch_size=8, bucket_batches=buckets, seed=0, epoch=0)
        return float(sum(lengths[b].max() * len(b) - lengths[b].sum() for b in batches))

    assert padding(16) < 0.2 * padding(1)


@given(LENGTHS, st.integers(1, 5), st.integers(1, 20))
def test_a_layout_has_every_row_once_and_equal_rounds(
    lengths: np.ndarray, workers: int, micro_batch: int
) -> None:
    dealt = layout(lengths, workers=workers, micro_batch=micro_batch)
    assert len(dealt) == workers
    assert len({len(worker) for worker in dealt}) == 1
    real = [m.positions for worker in dealt for m in worker if m.real]
    assert sorted(np.concatenate(real).tolist()) == list(range(len(lengths)))
    assert all(1 <= len(m.positions) <= micro_batch for worker in dealt for m in worker)
    assert len(dealt[0]) == -(-len(lengths) // (workers * micro_batch))
