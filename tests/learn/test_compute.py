"""FLOPs against counts by hand."""

from __future__ import annotations

from w2s_ray.learn.compute import evaluation_flops, training_flops


def count(parameters: int, passed: int, trained: int) -> float:
    return training_flops(
        parameters=parameters, passed_parameters=passed, trained_parameters=trained, tokens=1
    )


def test_full_finetuning_takes_six_per_parameter_and_token() -> None:
    assert count(10, 10, 10) * 7 == 6 * 10 * 7


def test_frozen_weights_need_no_gradient_of_their_own() -> None:
    frozen, adapters, tokens = 90, 10, 7
    forward, through, own = 2 * 100, 2 * 100, 2 * adapters
    found = count(frozen + adapters, frozen + adapters, adapters) * tokens
    assert found == (forward + through + own) * tokens


def test_a_probe_needs_no_gradient_of_the_backbone() -> None:
    backbone, head = 90, 10
    assert count(backbone + head, head, head) == 2 * 100 + 2 * head + 2 * head


def test_evaluation_is_a_forward_pass() -> None:
    assert evaluation_flops(parameters=10, tokens=7) == 140
    large = evaluation_flops(parameters=70 * 10**9, tokens=10**12)
    assert large == 1.4e23  # more than a 64-bit integer holds
