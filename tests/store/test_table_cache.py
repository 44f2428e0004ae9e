from __future__ import annotations

import logging

import pyarrow as pa
import pytest

from w2s_ray.store import StoreError

ONE, TWO = (
    pa.table({"key": ["a"], "low": [0.25]}),
    pa.table({"key": ["a", "b"], "low": [0.5, None]}),
)


def test_a_cached_table_is_read_and_replaced(any_store):
    assert any_store.cache.read("intervals") is None
    any_store.cache.write("intervals", ONE)
    assert any_store.cache.read("intervals") == ONE
    any_store.cache.write("intervals", TWO)
    assert any_store.cache.read("intervals") == TWO
    assert any_store.cache.read("other") is None


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not Parquet at all", None])
def test_a_damaged_cached_table_is_none_with_a_warning(any_store, caplog, damage):
    any_store.cache.write("intervals", ONE)
    path = "catalog/derived/intervals.parquet"
    whole = any_store.files.read(path)
    any_store.files.write(path, whole[: len(whole) // 2] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        assert any_store.cache.read("intervals") is None
    assert "intervals.parquet is damaged and is computed again" in caplog.text
    any_store.cache.write("intervals", ONE)
    assert any_store.cache.read("intervals") == ONE


def test_a_cached_table_is_not_listed_as_a_run_or_sweep(any_store):
    any_store.cache.write("intervals", ONE)
    assert any_store.all_done() == set()
    assert any_store.manifests.sweeps() == []


def test_a_name_that_is_a_path_is_refused(any_store):
    with pytest.raises(StoreError, match="can't name a"):
        any_store.cache.write("../runs", ONE)
