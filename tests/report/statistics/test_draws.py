from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from w2s_ray.report.pgr import pgr
from w2s_ray.report.statistics import Interval, RowDraws, Trio, accuracy_draws, interval

ROLES = ("supervisor", "student", "ceiling")


def names(seed: int) -> Trio:
    return Trio(*(f"{role}-{seed}" for role in ROLES))


def measured(
    random: int, *, seeds: int = 3, examples: int = 300, rates=(0.6, 0.7, 0.8)
) -> dict[str, np.ndarray]:
    """Run id -> correctness [N], of runs whose errors are related."""
    chance = np.random.default_rng(random)
    hardness = chance.random(examples)
    return {
        run: (0.6 * hardness + 0.4 * chance.random(examples) < rate).astype(np.uint8)
        for seed in range(seeds)
        for run, rate in zip(names(seed), rates, strict=True)
    }


def row_of(correct: dict[str, np.ndarray], *, unit_N: np.ndarray | None = None) -> RowDraws:
    """The joint draws of the row that all runs of `correct` are."""
    stacked = np.stack(list(correct.values()), axis=1)
    draws = accuracy_draws(stacked, runs=list(correct), eval_set="split", unit_N=unit_N)
    return draws.of_row({seed: names(seed) for seed in range(len(correct) // 3)})


worlds = st.builds(
    measured,
    st.integers(0, 2**32),
    seeds=st.integers(1, 5),
    examples=st.integers(30, 400),
    rates=st.tuples(*[st.floats(0.2, 0.9)] * 3),
)


@settings(deadline=None, max_examples=40)
@given(worlds)
def test_intervals_include_the_estimate(correct):
    found = row_of(correct).intervals()
    weak, student, ceiling = (
        np.mean([of_run.mean() for run, of_run in correct.items() if run.startswith(role)])
        for role in ROLES
    )
    assert found.weak.holds(weak)
    assert found.student.holds(student)
    assert found.ceiling.holds(ceiling)
    assert found.gap.holds(ceiling - weak)
    if found.pgr is not None:
        value = pgr(float(weak), student=float(student), ceiling=float(ceiling)).value
        assert value is not None
        assert found.pgr.holds(value)


@settings(deadline=None, max_examples=20)
@given(worlds, st.randoms(use_true_random=False))
def test_the_order_of_runs_and_seeds_does_not_matter(correct, shuffler):
    runs = list(correct)
    shuffler.shuffle(runs)
    stacked = np.stack([correct[run] for run in runs], axis=1)
    draws = accuracy_draws(stacked, runs=runs, eval_set="split")
    seeds = list(range(len(correct) // 3))
    shuffler.shuffle(seeds)
    assert draws.of_row({s: names(s) for s in seeds}).intervals() == row_of(correct).intervals()


def test_the_order_of_examples_changes_nothing_but_the_draws():
    correct = measured(1, examples=2000)
    order = np.random.default_rng(2).permutation(2000)
    found = row_of(correct).intervals()
    other = row_of({run: of_run[order] for run, of_run in correct.items()}).intervals()
    for figure in ("weak", "student", "ceiling", "gap", "pgr"):
        one, two = getattr(found, figure), getattr(other, figure)
        assert one != two
        assert (two.low, two.high) == pytest.approx(
            (one.low, one.high), abs=0.1 * (one.high - one.low)
        )


@settings(deadline=None, max_examples=20)
@given(worlds)
def test_swapped_roles_swap_bounds(correct):
    def renamed(**roles: str) -> dict[str, np.ndarray]:
        return {
            run: correct[f"{roles.get(role, role)}-{seed}"]
            for run in correct
            for role, seed in [run.split("-")]
        }

    found = row_of(correct).intervals()
    turned = row_of(renamed(supervisor="ceiling", ceiling="supervisor")).intervals()
    assert (turned.weak, turned.ceiling, turned.student) == (
        found.ceiling,
        found.weak,
        found.student,
    )
    assert turned.gap == Interval(-found.gap.high, -found.gap.low)
    assert turned.pgr is None or found.pgr is None
    better = row_of(renamed(student="ceiling", ceiling="student")).intervals()
    assert (better.student, better.ceiling) == (found.ceiling, found.student)


@settings(deadline=None, max_examples=20)
@given(worlds, st.sampled_from([("ceiling", 1.0), ("supervisor", 0.0)]))
def test_a_student_like_another_role_has_a_certain_pgr(correct, like):
    role, value = like
    same = {
        run: correct[f"{role}-{run.split('-')[1]}"] if run.startswith("student") else of_run
        for run, of_run in correct.items()
    }
    found = row_of(same).intervals()
    assume(found.pgr is not None)
    assert found.pgr == Interval(value, value)


def test_without_a_gap_there_is_no_pgr():
    correct = measured(3, rates=(0.7, 0.75, 0.7), examples=500)
    found = row_of(correct).intervals()
    assert found.gap.holds(0)
    assert found.pgr is None


def test_more_examples_narrow_an_interval_and_copies_of_them_do_not():
    correct = measured(4, seeds=1, examples=250)
    four = {run: np.tile(of_run, 4) for run, of_run in correct.items()}
    few, many = row_of(correct).intervals(), row_of(four).intervals()
    copies = row_of(four, unit_N=np.tile(np.arange(250), 4)).intervals()
    for figure in ("weak", "student", "ceiling", "gap"):
        one, of_four = getattr(few, figure), getattr(many, figure)
        assert of_four.high - of_four.low == pytest.approx((one.high - one.low) / 2, rel=0.15)
    assert copies == few


def test_related_examples_count_once_however_they_are_numbered():
    correct = measured(5, seeds=2, examples=200)
    unit_N = np.random.default_rng(6).integers(0, 60, 200)
    unit_N = np.unique(unit_N, return_inverse=True)[1]
    order = np.random.default_rng(7).permutation(200)
    shuffled = {run: of_run[order] for run, of_run in correct.items()}
    found = row_of(correct, unit_N=unit_N).intervals()
    assert row_of(shuffled, unit_N=unit_N[order]).intervals() == found


def test_a_run_has_the_same_draws_whatever_else_is_drawn():
    correct = measured(8)
    stacked = np.stack(list(correct.values()), axis=1)
    every = accuracy_draws(stacked, runs=list(correct), eval_set="split")
    one = accuracy_draws(stacked[:, 4:5], runs=list(correct)[4:5], eval_set="split")
    assert (one.resampled[0] == every.resampled[4]).all()
    assert one.accuracy[0] == every.accuracy[4] == pytest.approx(stacked[:, 4].mean())


def test_the_interval_of_a_ratio_is_fiellers():
    """All θ for which gain − θ gap has 0 in its interval, found by trying many."""
    chance = np.random.default_rng(9)
    weak, gap = chance.normal(0.7, 0.01, 2000), chance.normal(0.05, 0.023, 2000)
    drawn = RowDraws(weak=weak, student=weak + chance.normal(0.03, 0.01, 2000), ceiling=weak + gap)
    assert 0 < (gap <= 0).sum() < 50
    found = drawn.intervals().pgr
    assert found is not None
    gain = drawn.student - drawn.weak
    thetas = np.linspace(-1, 20, 2101)
    holding = [theta for theta in thetas if interval(gain - theta * drawn.gap).holds(0)]
    assert (found.low, found.high) == pytest.approx((min(holding), max(holding)), abs=0.011)


def test_an_interval_is_between_draws_even_infinite_ones():
    draws = np.concatenate([np.full(30, -np.inf), np.arange(1940.0), np.full(30, np.inf)])
    found = interval(np.random.default_rng(0).permutation(draws))
    assert (found.low, found.high) == (19, 1920)
    assert interval(np.where(np.arange(2000) < 100, np.inf, 1.0)).high == math.inf
    with pytest.raises(ValueError, match="20 draws have no"):
        interval(np.arange(20.0))


@pytest.mark.parametrize("shape", [(0, 1), (5, 2)])
def test_invalid_arrays_are_refused(shape):
    with pytest.raises(ValueError, match="one row per test example and one column per run"):
        accuracy_draws(np.zeros(shape, np.uint8), runs=["a"], eval_set="split")
