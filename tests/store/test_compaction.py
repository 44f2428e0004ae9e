"""Reads of a store return the same with a catalog and without one, after any changes."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.faulty_s3 import Faults
from tests.store.builders import (
    a_manifest,
    a_recipe,
    a_record,
    an_id,
    some_metrics,
    some_predictions,
    some_rows,
)
from w2s_ray.cli import app
from w2s_ray.store import Store, StoreError, catalog_index, tables
from w2s_ray.store.compaction import compact
from w2s_ray.store.sql_query import query

NAMES = tuple("abcdef")


def observed(store: Store) -> dict[str, Any]:
    """All readable values of a store's runs, in a form that can be compared."""
    ids = [an_id(name) for name in NAMES]
    found: dict[str, Any] = {
        table: sorted(map(repr, query(store, f"from {table}").to_pylist()))
        for table in catalog_index.KINDS
    }
    found["latest"] = list(store.latest())
    found["some"] = list(store.latest(ids[::2]))
    found["records"] = list(store.records())
    found["some records"] = list(store.records(ids[1::2]))
    found["done"] = sorted(store.all_done())
    found["trials of"] = store.trials_of(ids)
    return found


def without_catalog(store: Store) -> dict[str, Any]:
    with mock.patch.object(catalog_index, "read_index", return_value=(catalog_index.Index(), None)):
        return observed(store)


def assert_same(store: Store) -> None:
    expected = without_catalog(store)
    assert observed(store) == expected
    assert observed(store.snapshot()) == expected


def settle(store: Store) -> None:
    """Set the times of all changes so far to long ago."""
    if "://" not in store.uri:
        root = store.files.root  # type: ignore[union-attr]
        for folder in [*root.glob("runs"), *root.glob("runs/*")]:
            if (changed := folder.stat().st_mtime) > time.time() - 30:
                os.utime(folder, (changed - 60, changed - 60))


def do(store: Store, action: str, name: str, number: int) -> None:
    """One change of a store; `number` makes it differ from the change before."""
    id_ = an_id(name)
    recipe = a_recipe(split=f"split-{number % 2}", lr=number)
    match action:
        case "done":
            predictions = some_predictions() if number % 3 else None
            store.write_run(
                a_record(name, accuracy=number / 100, recipe=recipe),
                metrics=some_metrics(name),
                predictions=predictions,
            )
        case "failed":
            store.write_attempt(a_record(name, status="failed", reason=f"{number}", accuracy=None))
        case "pruned":
            store.write_attempt(a_record(name, status="pruned", recipe=recipe, accuracy=None))
        case "trial":
            if an_id(name) not in store.all_done():
                settings = {"loss.alpha": number / 10}
                trial = {"settings": settings, "state": "complete", "value": 0.5, "fits": ["x"]}
                store.write_trial(id_, number % 4, {**trial, "cost": float(number)})
        case "study":
            store.write_run(a_record(name, kind="study", recipe={"space": {}}, accuracy=None))
        case "deleted":
            store.files.remove_folder(f"runs/{id_}")
        case "split":
            store.splits.write(f"split-{number % 2}", some_rows(), {"task": "sciq"})
        case "split deleted":
            store.files.remove_folder(f"splits/split-{number % 2}")
        case "weights":
            store.files.write(f"runs/{id_}/weights/model.safetensors", b"x" * number)
        case "settle":
            settle(store)
        case "compact":
            compact(store.files)
        case _:
            store.files.remove_folder("catalog")


ACTIONS = (
    *("done", "failed", "pruned", "trial", "study", "deleted", "split", "split deleted"),
    *("weights", "settle", "compact", "compact", "compact", "catalog deleted"),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from(NAMES[:4])), min_size=4, max_size=25
)


@pytest.fixture
def some_store(any_store) -> Store:
    any_store.check_writable()
    return any_store


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_reads_do_not_depend_on_the_catalog(tmp_path_factory, steps):
    store = Store.open(tmp_path_factory.mktemp("store"))
    store.check_writable()
    for number, (action, name) in enumerate(steps):
        do(store, action, name, number)
    assert_same(store)


def filled(store: Store) -> Store:
    """Runs of every kind; all but the running study can be copied."""
    store.splits.write("split-1", some_rows(), {"task": "sciq"})
    for name in ("a", "b"):
        store.write_run(a_record(name), metrics=some_metrics(name), predictions=some_predictions())
    for attempt in (1, 2):
        store.write_attempt(a_record("c", status="failed", reason="no memory", attempts=attempt))
    store.write_trial(an_id("d"), 0, {"state": "complete", "value": 1.0, "cost": 2.0, "fits": []})
    store.write_run(a_record("d", kind="study", recipe={}, accuracy=None))
    store.write_trial(an_id("e"), 0, {"state": "pruned", "value": 1.0, "fits": []})
    store.manifests.write(a_manifest())
    settle(store)
    return store


def test_every_kind_of_store_reads_the_same_before_and_after(some_store):
    store = filled(some_store)
    before = without_catalog(store)
    assert (done := compact(store.files)).added == 4
    assert (done.not_copied, done.runs, done.segments) == (1, 4, 1)
    assert observed(store) == before
    for number, (action, name) in enumerate(
        [("done", "c"), ("deleted", "a"), ("failed", "f"), ("trial", "e"), ("study", "e")], start=3
    ):
        do(store, action, name, number)
    assert_same(store)
    settle(store)
    assert compact(store.files).added == 3
    assert_same(store)
    assert compact(store.files).added == 0


def test_copied_runs_are_read_without_their_own_files(some_store, monkeypatch):
    store = filled(some_store)
    compact(store.files)
    read: list[str] = []
    original = type(store.files).read_many

    def noted(self, paths):
        read.extend(paths)
        return original(self, paths)

    monkeypatch.setattr(type(store.files), "read_many", noted)
    assert [record.id for record in store.latest()] == sorted(map(an_id, "abcd"))
    assert query(store, "select count(*) n from predictions").to_pylist() == [{"n": 6}]
    assert store.trials_of([an_id("d")])[an_id("d")][0]["cost"] == 2.0
    assert read == []


def test_a_run_that_failed_a_moment_ago_is_not_copied_yet(tmp_path):
    store = Store.open(tmp_path)
    store.write_attempt(a_record("c", status="failed", reason="no memory"))
    assert compact(store.files).added == 0
    settle(store)
    assert compact(store.files).added == 1


def test_a_store_without_new_or_removed_runs_is_not_listed(tmp_path, monkeypatch):
    store = filled(Store.open(tmp_path))
    compact(store.files)
    settle(store)
    compact(store.files)
    with monkeypatch.context() as patch:
        patch.setattr(type(store.files), "subfolders", mock.Mock(side_effect=AssertionError))
        snapshot = store.snapshot()
        assert [record.id for record in snapshot.latest()] == sorted(map(an_id, "abcd"))
        assert snapshot.trials_of([an_id("e")])[an_id("e")][0]["state"] == "pruned"
    store.write_run(a_record("c"))
    store.write_trial(an_id("e"), 1, {"state": "complete", "value": 1.0, "fits": []})
    assert_same(store)
    assert an_id("c") in store.snapshot().all_done()
    assert len(store.snapshot().trials_of([an_id("e")])[an_id("e")]) == 2
    do(store, "deleted", "a", 0)
    assert_same(store)


def test_small_segments_are_merged_and_large_ones_are_not(tmp_path):
    store = Store.open(tmp_path)
    store.check_writable()
    counts = []
    for start in range(0, 120, 4):
        for number in range(start, start + 4):
            name = f"run-{number}"
            store.write_run(
                a_record(name, recipe={}),
                metrics=some_metrics(name),
                predictions=some_predictions(),
            )
        counts.append(compact(store.files).segments)
    assert max(counts) <= 5
    names = sorted(an_id(f"run-{number}") for number in range(120))
    assert [record.id for record in store.latest()] == names
    for copies in store.run_snapshot().copies:
        held = catalog_index.segment_runs(store.files, copies.segment.name)
        assert list(held.ids) == sorted(held.ids)
    assert_same(store)


def test_rows_of_a_run_stay_together_and_in_order_across_merges(tmp_path, monkeypatch):
    from w2s_ray.store import catalog_writer

    monkeypatch.setattr(catalog_writer, "GROUP_ROWS", dict.fromkeys(catalog_index.KINDS, 4))
    store = Store.open(tmp_path)
    store.check_writable()
    for start in range(6):
        for number in range(start, 30, 6):
            name = f"run-{number}"
            store.write_run(
                a_record(name), metrics=some_metrics(name), predictions=some_predictions()
            )
        compact(store.files)
    for copies in store.run_snapshot().copies:
        copied = copies.rows(store.files, "predictions")
        rows = pq.ParquetFile(store.files.locate(copied.paths[0])).read()
        assert rows["run_id"].to_pylist() == sorted(rows["run_id"].to_pylist())
        assert rows["example_id"].to_pylist() == ["a", "b", "c"] * copies.count
    assert_same(store)


def test_a_filter_reads_only_the_row_groups_it_needs(tmp_path, monkeypatch, caplog):
    from w2s_ray.store import catalog_writer

    monkeypatch.setattr(catalog_writer, "GROUP_ROWS", dict.fromkeys(catalog_index.KINDS, 3))
    store = Store.open(tmp_path)
    for name in NAMES:
        store.write_run(a_record(name), metrics=some_metrics(name), predictions=some_predictions())
    compact(store.files)
    (copies,) = store.run_snapshot().copies
    path = store.files.root / catalog_index.path(copies.segment.name, "predictions")
    group = pq.ParquetFile(path).metadata.row_group(1)
    probabilities = group.column(3)
    content = bytearray(path.read_bytes())
    start = probabilities.data_page_offset
    content[start : start + 16] = b"\xff" * 16
    path.write_bytes(content)
    first = min(an_id(name) for name in NAMES)
    count = query(store, f"select sum(probability) > 0 n from predictions where run_id = '{first}'")
    assert count.to_pylist() == [{"n": True}]
    assert "is damaged" not in caplog.text
    query(store, "select sum(probability) from predictions")
    assert "is damaged" in caplog.text


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        *((damage, "runs") for damage in ("index", "index of a newer version", "no catalog")),
        *((damage, kind) for damage in ("missing", "cut short") for kind in ("runs", "metrics")),
        *((damage, kind) for damage in ("no Parquet", "a bit") for kind in ("runs", "metrics")),
        *((damage, "predictions") for damage in ("no Parquet", "a bit")),
    ],
)
def test_a_damaged_catalog_changes_no_result(tmp_path, caplog, damage, kind):
    store = filled(Store.open(tmp_path))
    compact(store.files)
    before = without_catalog(store)
    (copies,) = store.run_snapshot().copies
    path = catalog_index.path(copies.segment.name, kind)
    content = store.files.read(path)
    match damage:
        case "index":
            store.files.write(catalog_index.INDEX, b"{")
        case "index of a newer version":
            store.files.write(catalog_index.INDEX, b'{"format": 2, "segments": []}')
        case "missing":
            store.files.remove(path)
        case "cut short":
            store.files.write(path, content[: len(content) // 2])
        case "no Parquet":
            store.files.write(path, b"\0" * len(content))
        case "a bit":
            middle = len(content) // 2
            flipped = bytes([content[middle] ^ 16])
            store.files.write(path, content[:middle] + flipped + content[middle + 1 :])
        case _:
            store.files.remove_folder("catalog")
    catalog_index.segment_runs.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert observed(store) == before
    if damage != "a bit":  # which may lie where nothing is read
        assert (caplog.text == "") == (damage == "no catalog")
    if damage in ("no Parquet", "a bit"):  # as the note says
        store.files.remove_folder(f"{catalog_index.FOLDER}/{copies.segment.name}")
    compact(store.files)
    caplog.clear()
    assert observed(store) == before
    assert caplog.text == ""
    assert len(store.run_snapshot().fresh) == 1


def test_a_run_with_a_damaged_table_is_left_out_with_a_warning(tmp_path, caplog):
    store = filled(Store.open(tmp_path))
    store.files.write(f"runs/{an_id('a')}/metrics.parquet", b"broken")
    assert compact(store.files).added == 3
    assert f"run {an_id('a')} is left out of the catalog" in caplog.text
    assert [record.id for record in store.latest()] == sorted(map(an_id, "abcd"))
    caplog.clear()
    query(store, "select sum(value) from metrics")
    assert "metrics.parquet is damaged (Parquet" in caplog.text


def test_metrics_that_name_another_run_are_left_in_their_file(tmp_path):
    store = Store.open(tmp_path)
    store.write_run(a_record("a"), metrics=some_metrics("b"))
    assert compact(store.files).added == 0
    assert_same(store)


def test_an_old_index_can_be_read_until_its_segments_are_removed(tmp_path):
    store = filled(Store.open(tmp_path))
    compact(store.files)
    reader = store.snapshot()
    before = observed(reader)
    for name in ("f", "g"):
        store.write_run(a_record(name), metrics=some_metrics(name), predictions=some_predictions())
    compact(store.files)
    assert len(store.run_snapshot().copies) == 1
    assert observed(reader) == before
    with mock.patch.object(catalog_index, "_RETIRED_FOR", catalog_index.timedelta(0)):
        compact(store.files)
    assert len({path.split("/")[2] for path in store.files.find(catalog_index.FOLDER)}) == 1
    assert_same(store)


def test_leftovers_of_killed_compactions_go_after_a_day(tmp_path):
    store = filled(Store.open(tmp_path))
    old, young = "20200101T000000Z-0a0a0a0a", catalog_index.new_name()
    for name in (old, young):
        store.files.write(catalog_index.path(name, "runs"), b"half")
    compact(store.files)
    left = {path.split("/")[2] for path in store.files.find(catalog_index.FOLDER)}
    assert old not in left
    assert young in left


def test_the_slower_of_two_compactions_starts_again(some_store, monkeypatch):
    store = filled(some_store)
    original, raced = catalog_index.swap, []

    def swap(files, index, *, version):
        if not raced:
            raced.append(1)
            store.write_run(a_record("f"))
            compact(store.files)
        return original(files, index, version=version)

    monkeypatch.setattr(catalog_index, "swap", swap)
    compact(store.files)
    assert_same(store)
    held = [id_ for copies in store.run_snapshot().copies for id_ in copies.ids(store.files)]
    assert sorted(held) == sorted(map(an_id, "abcdf"))
    index, _ = catalog_index.read_index(store.files)
    known = {s.name for s in index.segments} | {r.name for r in index.retired}
    assert {path.split("/")[2] for path in store.files.find(catalog_index.FOLDER)} <= known


def test_a_compaction_that_is_always_slower_raises_an_error(tmp_path, monkeypatch):
    store = filled(Store.open(tmp_path))
    monkeypatch.setattr(catalog_index, "swap", lambda *_, **__: False)
    with pytest.raises(StoreError, match="other compactions"):
        compact(store.files)
    assert store.files.find(catalog_index.FOLDER) == []


def test_a_killed_compaction_changes_nothing(tmp_path, monkeypatch):
    store = filled(Store.open(tmp_path))
    before = without_catalog(store)
    with monkeypatch.context() as patch:
        patch.setattr(catalog_index, "swap", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compact(store.files)
    assert observed(store) == before
    compact(store.files)
    assert observed(store) == before


def test_writers_readers_and_compactions_run_concurrently(tmp_path):
    store = Store.open(tmp_path)
    store.check_writable()
    stop, written = threading.Event(), []

    def write() -> None:
        for number in range(40):
            name = f"run-{number}"
            if number % 3 == 0:
                store.write_attempt(a_record(name, status="failed", reason="x", accuracy=None))
            store.write_run(
                a_record(name), metrics=some_metrics(name), predictions=some_predictions()
            )
            written.append(an_id(name))
        stop.set()

    def compact_repeatedly() -> None:
        while not stop.is_set():
            with contextlib.suppress(StoreError):  # the other one was faster each time
                compact(store.files)

    def read() -> int:
        reads = 0
        while not stop.is_set():
            expected = set(written)
            stands = store.snapshot()
            assert expected <= stands.all_done()
            assert expected <= {record.id for record in stands.records()}
            table = query(stands, "select run_id, count(*) n from metrics group by 1")
            assert set(table["n"].to_pylist()) <= {3}
            assert expected <= set(table["run_id"].to_pylist())
            reads += 1
            time.sleep(0.01)
        return reads

    with ThreadPoolExecutor(4) as pool:
        tasks = [
            pool.submit(task) for task in (write, compact_repeatedly, compact_repeatedly, read)
        ]
        assert all(task.result() is None for task in tasks[:3])
        assert tasks[3].result() > 0
    compact(store.files)
    assert_same(store)
    assert len(store.all_done()) == 40


def test_a_compaction_succeeds_despite_transient_errors(s3_server, s3_store):
    store = filled(Store.open(s3_store))
    before = without_catalog(store)
    with s3_server.faulty(Faults(seed=2, refused=0.05, lost=0.05)) as met:
        assert compact(store.files).runs == 4
        assert observed(store) == before
    assert met["refused"] > 0
    assert met["lost"] > 0


def test_compaction_of_a_missing_store_raises_an_error(tmp_path):
    ended = CliRunner().invoke(app, ["compact", "--store", str(tmp_path / "none")])
    assert ended.exit_code == 2
    assert "there are no results" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_predictions_of_earlier_versions_lack_columns(tmp_path, monkeypatch):
    """Files and segments that were written before a column was added are read, and merged."""
    added = ["extracted", "certainty", "samples"]
    without = some_predictions().drop(added)
    store = Store.open(tmp_path)
    store.check_writable()
    with monkeypatch.context() as earlier:
        schemas = {"predictions": tables.OF_RUN["predictions"]}
        schemas |= {"labelled": catalog_index.KINDS["predictions"]}
        old = {
            name: pa.schema([field for field in schema if field.name not in added])
            for name, schema in schemas.items()
        }
        earlier.setitem(tables.OF_RUN, "predictions", old["predictions"])
        earlier.setattr("w2s_ray.store.catalog_writer.LABELLED_PREDICTIONS", old["labelled"])
        earlier.setitem(catalog_index.KINDS, "predictions", old["labelled"])
        earlier.setitem(globals(), "some_predictions", lambda: without)
        store = filled(store)
        compact(store.files)
        store.write_run(a_record("e"), metrics=some_metrics("e"), predictions=some_predictions())
    file = tmp_path / "runs" / an_id("a") / "predictions.parquet"
    assert not set(added) & set(pq.ParquetFile(file).schema_arrow.names)
    assert store.predictions(an_id("a"))["certainty"].null_count == 3
    sql = "select count(*) n, count(certainty) c, count(extracted) e from predictions"
    assert query(store, sql).to_pylist()[0]["n"] == 9
    assert_same(store)
    sampled = {"extracted": ["1", None, "2"], "certainty": [0.5] * 3, "samples": [["x"]] * 3}
    table = without
    for name, values in sampled.items():
        table = table.append_column(name, pa.array(values))
    store.write_run(a_record("f"), metrics=some_metrics("f"), predictions=table)
    found = query(store, sql).to_pylist()[0]
    assert (found["n"], found["c"]) == (12, 3)
    assert compact(store.files).runs == 6
    assert query(store, sql).to_pylist()[0] == found
    assert_same(store)
