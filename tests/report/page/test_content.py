from __future__ import annotations

import json
import re

import pyarrow as pa
import pytest

from tests.report.page.stores import (
    FAILED,
    HOSTILE,
    NOT_RUN,
    PRUNED,
    SWEEP,
    of_study,
    store_with_failures,
)
from tests.store.builders import a_cell, a_manifest, a_record, an_id
from w2s_ray.report import open_results, rank_sheets
from w2s_ray.report.page import page_content, to_html
from w2s_ray.report.page.curves import POINTS, curves
from w2s_ray.report.page.texts import LONGEST, Texts
from w2s_ray.report.rank import rank
from w2s_ray.report.row_predictions import cell_rows
from w2s_ray.store import Store, StoreError


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return store_with_failures(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def content(store):
    return page_content(open_results(store.uri))


@pytest.fixture(scope="module")
def page(content):
    return to_html(content)


def test_the_page_has_the_rows_of_the_table(content, store):
    (sweep,) = content["sweeps"]
    table = open_results(store.uri).table(SWEEP.name)
    assert [(r["task"], r["method"], r["pgr"]) for r in sweep["rows"]] == [
        (row.task, row.method, row.pgr) for row in table.rows
    ]
    assert len(sweep["by_seed"]) == len(table.by_seed)
    assert [row["method"] for row in sweep["by_method"]] == [row.method for row in table.by_method]


def test_a_sweeps_runs_are_its_cells_runs_and_its_trials_fits(content, store):
    (sweep,) = content["sweeps"]
    roles = {run["id"]: run["roles"] for run in sweep["runs"]}
    cells = store.manifests.latest(SWEEP.name).cells
    assert roles[cells[0].supervisor] == ["supervisor"]
    assert roles[of_study(cells)] == ["study"]
    assert roles[PRUNED] == ["trial"]
    assert roles[NOT_RUN] == ["student"]
    assert NOT_RUN not in content["runs"]
    assert roles.keys() >= content["runs"].keys()


def test_a_failed_run_has_its_reason_and_every_attempt(content):
    run = content["runs"][FAILED]
    assert (run["status"], run["cause"], run["reason"]) == ("failed", "error", HOSTILE)
    assert [attempt["cause"] for attempt in run["tried"]] == ["worker_died", "error"]
    assert content["environments"][run["environment"]]["torch"] == "1.0"


def test_equal_environments_are_stored_once(content):
    places = {run["environment"] for run in content["runs"].values()}
    assert len(content["environments"]) == len(places) == 3


def test_a_study_has_its_trials(content, store):
    study = content["runs"][of_study(store.manifests.latest(SWEEP.name).cells)]
    assert [trial["number"] for trial in study["trials"]] == list(range(7))


def unpacked(packed):
    """The rows of packed columns, as `unpacked` in `assets/state.js` reads them."""
    columns = {
        name: column
        if isinstance(column, list)
        else [column["different"][place] for place in column["among"]]
        for name, column in packed["columns"].items()
    }
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def test_the_page_has_the_test_rows_with_their_texts(content, store):
    (sweep,) = content["sweeps"]
    rows = unpacked(sweep["test_rows"]["rows"])
    cells = cell_rows(store, store.manifests.latest(SWEEP.name).cells)
    assert len(rows) == sum(len(cell.rows) for cell in cells) > 0
    for row in rows:
        assert content["texts"][row["text"]] == f"{HOSTILE}{row['task']} text {row['example'][1:]}"
        assert set(row["pattern"]) <= {"0", "1"}
    counts = unpacked(sweep["test_rows"]["counts"])
    assert sum(each["count"] for each in counts) == SWEEP.examples * len(cells)


def test_without_texts_the_page_has_no_text_of_any_row(store):
    content = page_content(open_results(store.uri), has_texts=False)
    assert content["texts"] is None
    rows = unpacked(content["sweeps"][0]["test_rows"]["rows"])
    assert rows
    assert {row["text"] for row in rows} == {None}
    assert f"{SWEEP.tasks[0]} text" not in to_html(content)


def test_a_text_is_cut_and_shown_once():
    texts = Texts()
    assert [texts.place(text) for text in ("a", "b" * (LONGEST + 1), "a", None)] == [0, 1, 0, None]
    assert texts.all == ["a", "b" * LONGEST + "…"]
    assert Texts(allowed=False).place("a") is None


def test_the_page_has_the_rank_table(content, store):
    (sheet,) = rank_sheets.sheets(rank(open_results(store.uri).table(SWEEP.name), store))
    ranks = content["sweeps"][0]["ranks"]
    assert (ranks["columns"], ranks["lines"]) == (sheet.columns, sheet.lines)


def test_the_page_has_every_sweep_of_a_store(tmp_path):
    store = Store.open(tmp_path)
    store.write_run(a_record(id=a_cell().supervisor))
    for name in ("one", "two"):
        store.manifests.write(a_manifest(a_cell(), name=name))
    results = open_results(tmp_path)
    assert [sweep["name"] for sweep in page_content(results)["sweeps"]] == ["one", "two"]
    assert [sweep["name"] for sweep in page_content(results, ["two"])["sweeps"]] == ["two"]


def test_an_unknown_sweep_and_a_store_without_one_are_refused(tmp_path, store):
    with pytest.raises(StoreError, match="no sweep 'other'"):
        page_content(open_results(store.uri), ["other"])
    empty = Store.open(tmp_path)
    empty.write_run(a_record())
    with pytest.raises(StoreError, match="no sweep"):
        page_content(open_results(tmp_path))


# --- curves


def write_curve(store: Store, values: list[float], *, metric: str = "train/loss") -> str:
    id_ = an_id(metric)
    table = pa.table(
        {
            "run_id": [id_] * len(values),
            "step": range(1, len(values) + 1),
            "metric": [metric] * len(values),
            "value": values,
        }
    )
    store.write_run(a_record(id=id_), metrics=table)
    return id_


@pytest.mark.parametrize("steps", [1, 2, POINTS, POINTS + 1, 2 * POINTS, 1000])
def test_a_curve_keeps_its_ends_and_few_of_its_measured_points(tmp_path, steps):
    store = Store.open(tmp_path)
    values = [i / 7 for i in range(steps)]
    id_ = write_curve(store, values)
    curve = curves(store, [id_])[id_]["train/loss"]
    assert curve["measured"] == steps
    assert len(curve["steps"]) <= POINTS
    assert len(curve["steps"]) == steps or len(curve["steps"]) > POINTS / 2
    assert (curve["steps"][0], curve["steps"][-1]) == (1, steps)
    assert curve["values"] == pytest.approx([values[s - 1] for s in curve["steps"]], rel=1e-4)
    apart = {b - a for a, b in zip(curve["steps"], curve["steps"][1:-1], strict=False)}
    assert len(apart) <= 1


def test_values_that_are_not_finite_are_null(tmp_path):
    store = Store.open(tmp_path)
    id_ = write_curve(store, [0.5, float("nan"), float("inf")])
    assert curves(store, [id_])[id_]["train/loss"]["values"] == [0.5, None, None]


# --- the file


def test_content_is_unchanged_and_cannot_end_its_script_element(page, content):
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, flags=re.DOTALL)
    assert json.loads(scripts[0]) == json.loads(json.dumps(content))
    assert "<" not in scripts[0]
    assert "\u2028" not in scripts[0]
    assert "<img" not in page.replace(scripts[1], "")


def test_the_page_has_no_external_references(page):
    markup = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href|action)=["']?(?!#|data:,)[^"'\s>]+""", markup) == []
    assert "@import" not in markup
    assert "url(" not in markup
    assert "default-src &#x27;none&#x27;" in markup


def test_a_sweeps_name_is_escaped_in_the_title(content):
    (sweep,) = content["sweeps"]
    page = to_html({**content, "sweeps": [{**sweep, "name": HOSTILE}]})
    assert "<title>&lt;/script&gt;" in page
