"""Mistakes that public implementations make with data: no task makes them, the checks see them."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict

import pytest

from tests.data.layouts import HUB, ORIGINAL, UNRELATED
from w2s_ray.data import TASKS, make_split
from w2s_ray.data.row_formats import Choice, group_answers
from w2s_ray.data.sources import read_rows

FAMILIES = [f"animal{chr(ord('a') + k)}" for k in range(12)]
CHOICES = sorted(name for name, named in TASKS.items() if isinstance(named.format, Choice))


@pytest.fixture
def declared(tmp_path, task):
    """A task on original files: 60 rows of 12 families, those of a family next to each other."""

    def make(name, **changed):
        pool, test = (
            [row for i in range(60) for row in HUB[name](i + 100 * k, f"{FAMILIES[i // 5]}{k}")]
            for k in (0, 1)
        )
        for file, content in ORIGINAL[name](pool, test).items():
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return task(name=name, path=str(tmp_path), **changed)

    return make


def questions(name):
    """The rows of 20 questions, one row a question."""
    rows = [row for i in range(20) for row in HUB[name](i, "dog")]
    by = TASKS[name].question
    return list(group_answers(rows, by=by)) if by else rows


def form_tells_label(format_row, rows):
    """Whether right and wrong rows of a question differ in anything but a whole answer."""
    for row in rows:
        forms = defaultdict(set)
        for example in format_row(row, id="x"):
            forms[example.label].add(re.sub(r"answer [a-h]\d+$", "<answer>", example.text))
        if forms[0] != forms[1] or not all("<answer>" in form for form in forms[0] | forms[1]):
            return True
    return False


@pytest.mark.parametrize("name", CHOICES)
def test_the_format_of_a_text_does_not_reveal_its_label(name):
    """One public formatter writes the answer's letter for positives and its text for negatives."""
    format_row = TASKS[name].format
    rows = questions(name)
    assert not form_tells_label(format_row, rows)

    def letters(row):
        right, wrong = format_row.answers(row)
        return ["A" for _ in right], wrong

    assert form_tells_label(dataclasses.replace(format_row, answers=letters), rows)


@pytest.mark.parametrize("name", CHOICES)
def test_a_question_has_as_many_right_rows_as_wrong_ones(name):
    for row in questions(name):
        labels = [example.label for example in TASKS[name].format(row, id="x")]
        assert labels.count(1) == labels.count(0) >= 1


@pytest.mark.parametrize("name", sorted(TASKS))
def test_rows_are_shuffled_before_the_first_are_taken(name, declared):
    """One public loader takes the first n rows of a source, which may be sorted."""
    task = declared(name, train=8, validation=4, test=4)
    rows = read_rows(task)

    places = {example.content: place for place, example in enumerate(rows.pool)}
    parts = make_split(rows, task=task).parts.values()
    pool = [places[row.content] for part in parts for row in part if row.content in places]
    assert len(pool) <= 16
    assert max(pool) > len(rows.pool) / 2


def straddling(split, family_of):
    """Families with rows in more than one part."""
    parts = defaultdict(set)
    for part, rows in split.parts.items():
        for row in rows:
            parts[family_of[row.content]].add(part)
    return {family for family, found in parts.items() if len(found) > 1}


@pytest.mark.parametrize("name", sorted(set(TASKS) - UNRELATED))
def test_related_rows_stay_in_one_part(name, declared):
    """Rows on one passage in both halves let a supervisor label what it was trained on."""
    task = declared(name, train=24, validation=8, test=8)
    named = TASKS[name]
    family_of = {}
    for k in (0, 1):
        for i in range(60):
            family = f"{FAMILIES[i // 5]}{k}"
            made = HUB[name](i + 100 * k, family)
            for row in group_answers(made, by=named.question) if named.question else made:
                family_of |= {example.content: family for example in named.format(row, id="x")}
    rows = read_rows(task)
    assert straddling(make_split(rows, task=task), family_of) == set()
    alone = dataclasses.replace(
        rows,
        pool=tuple(e._replace(group=e.content) for e in rows.pool),
        test=rows.test and tuple(e._replace(group=e.content) for e in rows.test),
    )
    assert straddling(make_split(alone, task=task), family_of)


@pytest.mark.parametrize("name", sorted(UNRELATED & set(CHOICES)))
def test_both_answers_to_a_question_stay_in_one_part(name, declared):
    task = declared(name, train=24, validation=8, test=8)
    for part in make_split(read_rows(task), task=task).parts.values():
        by_question = defaultdict(list)
        for row in part:
            by_question[row.text.rpartition("\nA: ")[0]].append(row.label)
        assert all(sorted(labels) == [0, 1] for labels in by_question.values())
