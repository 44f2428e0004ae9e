"""Rows of a split are checked against its fingerprint whenever they are read to train on."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import NoCheckpoints, make_model, make_task, w2s
from w2s_ray.config import load_sweep
from w2s_ray.data import load_split
from w2s_ray.errors import InputError
from w2s_ray.fits.stored_split import stored_split
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

COLUMNS = {
    "classes": "{text: text, label: label}",
    "pairs": "{first: text, second: other, label: label}",
    "answers": "{text: text, answer: other, difficulty: hard}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    make_task(path / "task.csv")
    lines = (path / "task.csv").read_text().splitlines()
    lines = [f"{lines[0]},other,hard"] + [
        f"{line},o{i},{i / 7}" for i, line in enumerate(lines[1:])
    ]
    (path / "task.csv").write_text("\n".join(lines) + "\n")
    for name in "ab":
        make_model(path / name, eos=True)
    return path


def planned(folder, tmp_path, form: str = "classes"):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        f"name: t\ntask: {{name: words, path: {folder}/task.csv, columns: {COLUMNS[form]}, "
        f"train: 48, validation: 16, test: 16}}\nmodels: [{folder}/a, {folder}/b]\n"
        f"methods: {{naive: {{}}}}\nstore: {tmp_path}/results\n"
    )
    store = Store.open(tmp_path / "results")
    plan = plan_sweep(load_sweep(sweep), store=store)
    materialize(plan, store)
    return sweep, store, plan, next(iter(plan.inputs.splits.values())).fingerprint


def changed(store: Store, split: str, column: str, change) -> None:
    path = f"{store.uri}/splits/{split}/rows.parquet"
    table = pq.read_table(path)
    values = [change(value) for value in table[column].to_pylist()]
    at = table.column_names.index(column)
    made = pa.array(values, table.schema.field(column).type)
    pq.write_table(table.set_column(at, table.schema.field(column), made), path)


@pytest.mark.parametrize(
    ("form", "column", "change"),
    [
        ("classes", "label", lambda label: 1 - label),
        ("classes", "label", lambda label: None),
        ("classes", "text", str.upper),
        ("classes", "example_id", lambda id_: id_ + "0"),
        ("classes", "part", lambda part: "test" if part == "validation" else part),
        ("classes", "part", lambda part: "elsewhere"),
        ("pairs", "label", lambda label: 1 - label),
        ("pairs", "second", str.upper),
        ("answers", "answer", str.upper),
        ("answers", "label", lambda label: 1),
        ("answers", "difficulty", lambda hard: hard + 1),
    ],
)
def test_changed_rows_are_refused_before_anything_is_trained(
    folder, tmp_path, form, column, change
) -> None:
    _, store, plan, split = planned(folder, tmp_path, form)
    assert stored_split(store, split).num_rows == 80
    changed(store, split, column, change)
    with pytest.raises(InputError, match=rf"splits/{split}/rows.parquet has other rows .* move"):
        materialize(plan, store)
    record = FitTraining(next(iter(plan.fits.values()))).run(store, checkpoints=NoCheckpoints())
    assert record.status == "failed"
    assert "has other rows" in record.reason


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"", lambda data: b"x" * 99]
)
def test_a_damaged_file_of_rows_is_refused(folder, tmp_path, damage) -> None:
    _, store, _, split = planned(folder, tmp_path)
    path = tmp_path / "results" / "splits" / split / "rows.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"splits/{split}/rows.parquet is damaged"):
        stored_split(store, split)


def test_the_command_reports_it_in_one_line_and_the_remedy_works(folder, tmp_path) -> None:
    sweep, store, plan, split = planned(folder, tmp_path)
    changed(store, split, "label", lambda label: 1 - label)
    run = w2s("run", sweep)
    assert run.returncode == 2
    *steps, line = run.stderr.splitlines()
    assert len(steps) == 2
    assert line.startswith("error: ")
    assert f"splits/{split}/rows.parquet has other rows" in line
    (tmp_path / "results" / "splits" / split).rename(tmp_path / "away")
    materialize(plan, store)
    assert stored_split(store, split).num_rows == 80


def test_the_same_rows_in_other_groups_are_refused(folder, tmp_path):
    _, store, plan, split = planned(folder, tmp_path)
    materialize(plan, store)
    changed(store, split, "group", lambda group: "all in one")
    with pytest.raises(InputError, match="in other groups; use another store"):
        materialize(plan, store)


def test_a_split_is_stored_with_the_near_copies_of_its_test_rows(folder, tmp_path):
    _, store, plan, split = planned(folder, tmp_path)
    expected = load_split(plan.sweep.tasks[0]).near_copies
    rows = store.splits.rows(split).to_pylist()
    assert {r["example_id"]: r["near_copies"] for r in rows if r["part"] == "test"} == expected
    assert {r["near_copies"] for r in rows if r["part"] != "test"} == {None}
    near = sum(count > 0 for count in expected.values())
    assert store.splits.about(split)["near_copies"] == near
