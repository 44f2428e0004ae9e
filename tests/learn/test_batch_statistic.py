"""A loss with a statistic of the whole batch is trained on plainly shuffled batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.learn.tiny import recipe_of
from w2s_ray.config import (
    ConfidenceLoss,
    ConfidenceReferenceLoss,
    FitRecipe,
    GenerativeStage,
    LinearProbeStage,
    XentLoss,
    chain,
)
from w2s_ray.learn.batches import epoch_batches

ROWS, BATCH = 4096, 32
WHOLE_BATCH = (ConfidenceLoss(), ConfidenceLoss(window=64), ConfidenceReferenceLoss())


def rows_of_correlated_length() -> tuple[np.ndarray, np.ndarray]:
    """Lengths and classes, half of each; longer rows are more often of class 1 (r = 0.33)."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 60, ROWS)
    return lengths, generator.random(ROWS) < 0.5 + 0.6 * (lengths - 32) / 55


def forced_wrong(recipe: FitRecipe) -> float:
    """Share of a perfect student's own classes that the batch's threshold turns over."""
    lengths, right = rows_of_correlated_length()
    noise = np.random.default_rng(1).uniform(-0.005, 0.005, ROWS)
    p1 = torch.tensor(np.where(right, 0.99, 0.01) + noise)
    wrong = 0
    for batch in epoch_batches(
        lengths, batch_size=BATCH, bucket_batches=recipe.bucket_batches, seed=0, epoch=0
    ):
        threshold = ConfidenceLoss(prior=0.5).statistic(p1[batch], torch.empty(0))
        wrong += int(((p1[batch] > threshold).numpy() != right[batch]).sum())
    return wrong / ROWS


def with_loss(loss: Any, **training: Any) -> FitRecipe:
    return recipe_of({"batch_size": BATCH, **training}, loss=loss)


def test_plain_shuffling_halves_the_targets_of_a_perfect_student_that_are_forced_wrong() -> None:
    sorted_batches = forced_wrong(with_loss(ConfidenceLoss(), bucket_batches=16))
    plain = forced_wrong(with_loss(ConfidenceLoss()))
    by_chance = 0.4 / BATCH**0.5  # the mean of |k - n/2| / n for k of n rows of class 1
    assert sorted_batches == pytest.approx(0.155, abs=0.01)
    assert plain == pytest.approx(by_chance, abs=0.01)


@pytest.mark.parametrize("loss", WHOLE_BATCH)
def test_the_default_of_such_a_loss_is_plain_shuffling(loss: Any) -> None:
    assert with_loss(loss).bucket_batches == 1
    assert with_loss(loss, bucket_batches=4).bucket_batches == 4
    assert with_loss(loss).run_id == with_loss(loss, bucket_batches=1).run_id
    assert with_loss(loss).run_id != with_loss(loss, bucket_batches=16).run_id


def test_other_losses_keep_their_batches_and_their_ids() -> None:
    assert with_loss(XentLoss()).bucket_batches == 16
    assert with_loss(XentLoss()).run_id == with_loss(XentLoss(), bucket_batches=16).run_id


def test_a_stored_recipe_names_the_number() -> None:
    recipe = with_loss(ConfidenceLoss())
    stored = recipe.model_dump(mode="json")
    assert stored["training"]["bucket_batches"] == 1
    assert FitRecipe.model_validate(stored).run_id == recipe.run_id


def test_fits_of_a_stage_follow_their_own_loss() -> None:
    stages = (GenerativeStage(), LinearProbeStage())
    student = recipe_of(loss=ConfidenceLoss(), labels="0" * 20)
    links = chain(student, stages=stages)
    assert [link.recipe.bucket_batches for link in links] == [16, 1, 16]
