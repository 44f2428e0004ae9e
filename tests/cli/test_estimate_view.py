"""The units of estimates."""

from __future__ import annotations

import pytest

from w2s_ray.cli.estimate_view import flops


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 MFLOP"),
        (999.4e6, "999 MFLOP"),
        (999.6e6, "1 GFLOP"),
        (1e9, "1 GFLOP"),
        (999.9e15, "1 EFLOP"),
        (2.5e24, "2.5e+03 ZFLOP"),
    ],
)
def test_flops_have_the_unit_of_their_rounded_value(value, text):
    assert flops(value) == text
