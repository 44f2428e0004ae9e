"""Right answers through a task's extractor: in a split, its fingerprint, the store, and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from w2s_ray.config import Columns, Task, parse_sweep
from w2s_ray.data import load_split
from w2s_ray.data.example import Example
from w2s_ray.data.overview.baselines import baselines
from w2s_ray.data.overview.rows import TaskRows
from w2s_ray.data.split import are_rows_of
from w2s_ray.errors import InputError
from w2s_ray.fits.labels import SplitRows
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

SIZES = {"train": 20, "validation": 6, "test": 8}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


def task(folder: Path, answers: list[str] | None = None, **given: object) -> Task:
    rows = answers or [f"{i} + 1 = {i + 1}, so\n#### {i + 1}.0" for i in range(50)]
    path = folder / "sums.jsonl"
    lines = (json.dumps({"q": f"question {i}", "a": answer}) for i, answer in enumerate(rows))
    path.write_text("\n".join(lines) + "\n")
    columns = Columns(text="q", answer="a")
    return Task.model_validate(
        {"name": "s", "path": str(path), "columns": columns, **SIZES, **given}
    )


def test_a_split_has_what_is_compared_and_its_name_depends_on_it(tmp_path: Path) -> None:
    plain, number = load_split(task(tmp_path)), load_split(task(tmp_path, extract="last_number"))
    same = load_split(task(tmp_path, extract={"kind": "regex", "pattern": "#### ([0-9.]+)"}))
    assert plain.fingerprint != number.fingerprint == same.fingerprint
    for part, rows in number.parts.items():
        assert [row.answer for row in rows] == [row.answer for row in plain.parts[part]]
        assert all(f"#### {row.extracted}.0" in (row.answer or "") for row in rows)
    assert {row.extracted for rows in plain.parts.values() for row in rows} == {None}


def test_answers_that_differ_only_outside_of_what_is_compared_are_no_contradiction() -> None:
    one, other = (Example("a", "q", 0, "g", answer=f"{way} 7", extracted="7") for way in "xy")
    assert one.verdict == other.verdict
    assert one._replace(extracted=None).verdict != other._replace(extracted=None).verdict


SWEEP = """
name: t
seal: {seal}
task: {{name: s, path: {folder}/sums.jsonl, columns: {{text: q, answer: a}}, train: 20,
  validation: 6, test: 8, extract: last_number}}
models: ["embedded:xs", "embedded:s"]
training: {{answer_tokens: 16, max_tokens: 24}}
methods: {{naive: {{}}}}
store: {folder}/results
"""


def test_the_store_keeps_it_and_checks_it(tmp_path: Path) -> None:
    split = load_split(task(tmp_path, extract="last_number"))
    sweep = parse_sweep(SWEEP.format(folder=tmp_path, seal="false"))
    store = Store.open(sweep.store)
    plan = plan_sweep(sweep, store=store)
    assert plan.inputs.splits["s"].fingerprint == split.fingerprint
    materialize(plan, store)
    table = store.splits.rows(split.fingerprint)
    truth = SplitRows.of(table).truth["test"]
    assert truth.compared == tuple(row.extracted for row in split.parts["test"])
    assert truth.answers == tuple(row.answer for row in split.parts["test"])
    assert are_rows_of(table, expected=split.fingerprint)
    place = table.column_names.index("extracted")
    other = table.set_column(place, "extracted", pa.array(["0"] * len(table)))
    assert not are_rows_of(other, expected=split.fingerprint)
    store.splits.write_sealed(split.fingerprint, table)
    sealed = SplitRows.of(store.splits.rows(split.fingerprint, sealed=True))
    assert sealed.truth["test"].compared is None
    assert sealed.truth["validation"].compared is not None


def test_right_answers_without_an_answer_are_refused(tmp_path: Path) -> None:
    answers = [f"#### {i}" for i in range(50)]
    answers[7] = answers[9] = "I do not know"
    message = (
        r"task s: extract last_number finds no answer in 2 of 50 right answers, the first in row "
        r"row:7: 'I do not know'; change extract, or the answers"
    )
    with pytest.raises(InputError, match=message):
        load_split(task(tmp_path, answers, extract="last_number"))
    assert load_split(task(tmp_path, answers)).counts["test"] == 8


def test_it_is_refused_for_other_forms(tmp_path: Path) -> None:
    task(tmp_path)
    text = SWEEP.format(folder=tmp_path, seal="false").replace("answer: a}", "label: a}")
    with pytest.raises(InputError, match="task s: extract is for tasks with text and answer, and "):
        plan_sweep(parse_sweep(text), store=Store.open(tmp_path / "results"))


def test_baselines_are_about_what_is_compared(tmp_path: Path) -> None:
    """Half of the right answers are 7, in as many different texts."""
    answers = [f"so {i} #### 7" if i % 2 else f"#### {i}" for i in range(50)]
    split = load_split(task(tmp_path, answers, extract="last_number"))
    expected = sum(row.extracted == "7" for row in split.parts["test"]) / SIZES["test"]
    (majority, *_) = baselines(TaskRows.of_split(split), on="test")
    assert majority.accuracy == pytest.approx(expected)
    assert expected > 0
