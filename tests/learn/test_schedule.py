"""Learning rates and evaluation points."""

from __future__ import annotations

import pytest

from w2s_ray.config import Training
from w2s_ray.learn.schedule import evaluation_steps, learning_rate


def rates(total: int = 10, **settings: object) -> list[float]:
    training = Training.model_validate({"lr": 1.0, **settings})
    return [learning_rate(training, step, total) for step in range(total)]


def test_cosine_falls_from_the_peak_towards_zero() -> None:
    found = rates(schedule="cosine")
    assert found[0] == 1.0
    assert found[5] == pytest.approx(0.5)
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.03


def test_linear_and_constant() -> None:
    assert rates(schedule="linear") == pytest.approx([1 - i / 10 for i in range(10)])
    assert rates(schedule="constant") == [1.0] * 10


def test_warm_up_rises_linearly_and_wastes_no_step() -> None:
    found = rates(schedule="constant", lr_warmup_fraction=0.4)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[5:] == [1.0] * 5


def test_evaluations_are_even_and_include_each_epochs_end() -> None:
    found = evaluation_steps(epochs=2, steps_per_epoch=10, evaluations_per_epoch=2)
    assert found == {5, 10, 15, 20}
    assert evaluation_steps(epochs=2, steps_per_epoch=2, evaluations_per_epoch=9) == {1, 2, 3, 4}
    assert evaluation_steps(epochs=1, steps_per_epoch=7, evaluations_per_epoch=3) == {2, 5, 7}
