"""FLOPs against counts by hand."""

from __future__ import annotations

from w2s_ray.learn.compute import evaluation_flops, training_flops


def test_full_finetuning_takes_six_per_parameter_and_token() -> None:
    assert training_flops(parameters=10, trained_parameters=10, tokens=7) == 6 * 10 * 7


def test_frozen_weights_need_no_gradient_of_their_own() -> None:
    frozen, adapters, tokens = 90, 10, 7
    forward, through, own = 2 * 100, 2 * 100, 2 * adapters
    found = training_flops(parameters=frozen + adapters, trained_parameters=adapters, tokens=tokens)
    assert found == (forward + through + own) * tokens


def test_evaluation_is_a_forward_pass() -> None:
    assert evaluation_flops(parameters=10, tokens=7) == 140
    large = evaluation_flops(parameters=70 * 10**9, tokens=10**12)
    assert large == 1.4e23  # more than a 64-bit integer holds
