from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from w2s_ray.report.pgr import pgr

accuracies = st.floats(0, 1)
gaps = st.tuples(accuracies, accuracies).filter(lambda pair: pair[1] - pair[0] > 1e-3)


def test_the_papers_vision_experiment():
    found = pgr(56.6, student=66.6, ceiling=74.0)
    assert found.value == pytest.approx(0.575, abs=5e-4)
    assert found.reason is None


@pytest.mark.parametrize(
    ("weak", "student", "ceiling", "value"),
    [
        (0.6, 0.7, 0.8, 0.5),
        (0.6, 0.9, 0.8, 1.5),
        (0.6, 0.5, 0.8, -0.5),
    ],
)
def test_pgr_is_never_clipped(weak, student, ceiling, value):
    assert pgr(weak, student=student, ceiling=ceiling).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("weak", "ceiling", "gap"),
    [
        (0.712, 0.7, "-0.012"),
        (0.7, 0.7, "+0.000"),
        (0.1 * 3, 0.3, "-0.000"),
        (0.3, 0.1 * 3, "+0.000"),
        (math.nan, 0.5, "+nan"),
    ],
)
def test_without_a_gap_there_is_a_reason_instead_of_a_pgr(weak, ceiling, gap):
    found = pgr(weak, student=0.9, ceiling=ceiling)
    assert found.value is None
    assert found.reason == f"ceiling does not beat the supervisor (gap {gap})"


@settings(deadline=None)
@given(gaps)
def test_pgr_is_0_at_the_supervisor_and_1_at_the_ceiling(pair):
    weak, ceiling = pair
    assert pgr(weak, student=weak, ceiling=ceiling).value == 0
    assert pgr(weak, student=ceiling, ceiling=ceiling).value == 1


@settings(deadline=None)
@given(gaps, accuracies, st.floats(0.01, 100), st.floats(-10, 10))
def test_pgr_does_not_depend_on_units(pair, student, scale, shift):
    weak, ceiling = pair
    found = pgr(weak, student=student, ceiling=ceiling).value
    moved = pgr(
        scale * weak + shift, student=scale * student + shift, ceiling=scale * ceiling + shift
    ).value
    assert moved == pytest.approx(found, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(accuracies, accuracies, accuracies)
def test_pgr_has_a_value_or_a_reason(weak, student, ceiling):
    found = pgr(weak, student=student, ceiling=ceiling)
    assert (found.value is None) != (found.reason is None)
    assume(ceiling > weak + 1e-6)
    assert found.value is not None
