"""Ranges of difficulty of their own for what is trained on and for what is tested."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from w2s_ray.config import PARTS, Columns, SweepError, Task, parse_sweep
from w2s_ray.data import Example, Rows, load_split, make_split


def rows(count: int, *, group=lambda i: i, hard=float) -> tuple[Example, ...]:
    return tuple(
        Example(f"r:{i}", f"p{i}", 0, f"g{group(i)}", answer="x", difficulty=hard(i))
        for i in range(count)
    )


def split(source, difficulty, *, own=None, **sizes):
    fields = {"train": 8, "validation": 4, "test": 6, **sizes}
    task = Task(name="any", difficulty=difficulty, **fields)
    return make_split(Rows(source, own, form="answers"), task=task)


def bounds_of(made) -> dict[str, tuple[float, float]]:
    return {
        part: (min(r.difficulty for r in rows), max(r.difficulty for r in rows))
        for part, rows in made.parts.items()
    }


bounds = st.lists(st.integers(0, 20), min_size=2, max_size=2).map(sorted)


@settings(max_examples=100, deadline=None)
@given(
    hard=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 20)), min_size=30, max_size=90),
    train=bounds,
    test=bounds,
    own=st.booleans(),
)
def test_each_part_keeps_to_its_range_and_no_group_is_cut(hard, train, test, own):
    source = rows(len(hard), group=lambda i: hard[i][0], hard=lambda i: float(hard[i][1]))
    theirs = None
    if own:
        theirs = tuple(r._replace(id=f"t:{r.id}", text=f"t{r.text}", group="t") for r in source)
    fields = {"train": train, "test": test}
    try:
        made = split(source, fields, own=theirs, train=4, validation=2, test=3)
    except ValueError:
        reject()  # too few rows; the messages are tested below
    for part in PARTS:
        least, most = test if part == "test" else train
        assert all(least <= row.difficulty <= most for row in made.parts[part])
    assert made.counts == {"supervisor_half": 2, "student_half": 2, "validation": 2, "test": 3}
    of_groups = Counter(group for part in made.parts.values() for group in {r.group for r in part})
    assert set(of_groups.values()) == {1}
    assert made == split(source[::-1], fields, own=theirs, train=4, validation=2, test=3)


def test_one_range_for_both_is_the_plain_range_and_every_range_has_its_identity():
    source = rows(40)
    both = split(source, {"train": [5, 35], "test": [5, 35]})
    assert both == split(source, [5, 35])
    apart = ({"train": [5, 25], "test": [26, 35]}, {"train": [5, 25], "test": [30, 35]})
    fields = (None, [5, 35], *apart, {"train": [5, 22], "test": [26, 35]})
    names = {split(source, difficulty).fingerprint for difficulty in fields}
    assert len(names) == len(fields)
    halves = [split(source, difficulty).parts["student_half"] for difficulty in apart]
    assert halves[0] == halves[1]


def test_open_ends_and_ranges_that_overlap():
    found = bounds_of(split(rows(40), {"train": [None, 20], "test": [15, None]}))
    assert found["test"][0] >= 15
    assert max(found[part][1] for part in PARTS if part != "test") <= 20


@pytest.mark.parametrize(
    ("difficulty", "message"),
    [
        (
            {"train": [0, 20], "test": [36, None]},
            r"test needs 6 rows, 4 are available within difficulty.test \[36, null\]; "
            "lower test, or widen difficulty.test",
        ),
        (
            {"train": [0, 4], "test": [10, 39]},
            r"train \+ validation need 12 rows, 5 are available outside the groups of test rows "
            r"within difficulty.train \[0, 4\]; lower train or validation, or widen difficulty.tr",
        ),
        ([0, 9], r"need 18 rows, 10 are available within difficulty \[0, 9\]; .* widen diff"),
    ],
)
def test_a_range_with_too_few_rows_is_named(difficulty, message):
    with pytest.raises(ValueError, match=message):
        split(rows(40), difficulty)


def test_an_own_test_split_with_too_few_rows_in_range_is_named():
    own = tuple(r._replace(text=f"t{r.text}", group=f"t{r.group}") for r in rows(40))
    found = bounds_of(split(rows(40), {"train": [0, 20], "test": [30, 39]}, own=own))
    assert found["test"][0] >= 30
    message = r"the source's own test split has 2 within difficulty.test \[38, null\]"
    with pytest.raises(ValueError, match=message):
        split(rows(40), {"train": [0, 20], "test": [38, None]}, own=own)


def test_a_task_without_difficulty_is_refused():
    plain = tuple(row._replace(difficulty=None) for row in rows(40))
    with pytest.raises(ValueError, match=r"its rows have no difficulty; .*`columns.difficulty`"):
        split(plain, {"test": [1, 2]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[900, 500]", r"difficulty: the lower bound 900 is above the upper bound 500; swap them"),
        ("{train: [1, 2], tests: [3, 4]}", "difficulty.tests: unknown key 'tests'"),
        ("{test: [3]}", "difficulty.test"),
        ("12", "difficulty"),
    ],
)
def test_an_invalid_range_is_refused_with_its_key_and_line(given, message):
    text = (
        "name: x\nmodels: [a, b]\nmethods: {naive: {}}\ntask:\n  name: chess_puzzles\n"
        f"  train: 10\n  validation: 4\n  test: 4\n  difficulty: {given}\n"
    )
    with pytest.raises(SweepError, match=f"sweep:9: task.{message}"):
        parse_sweep(text)


def test_difficulty_can_be_a_column_of_a_users_file(tmp_path, task):
    lines = [f"text {i},{i % 2},{i}" for i in range(60)]
    (tmp_path / "mine.csv").write_text("\n".join(["t,y,level", *lines]))
    columns = Columns(text="t", label="y", difficulty="level")
    difficulty = {"train": [0, 39], "test": [40, None]}
    declared = task(path=str(tmp_path / "mine.csv"), columns=columns, difficulty=difficulty)
    made = load_split(declared)
    assert bounds_of(made)["test"][0] >= 40
    assert max(bounds_of(made)[part][1] for part in PARTS if part != "test") <= 39
    assert sum(row.label for row in made.parts["test"]) == 1


def test_real_puzzles_train_on_easy_and_test_on_hard_ones(real, task):
    path = real / "chess_puzzles" / "level_500.csv.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} among the real task data")
    difficulty = {"train": [None, 560], "test": [570, None]}
    fields = {"name": "chess_puzzles", "path": str(path), "difficulty": difficulty}
    found = bounds_of(load_split(task(**fields, train=600, validation=60, test=100)))
    assert found["test"][0] >= 570
    assert max(found[part][1] for part in PARTS if part != "test") <= 560
