from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.store.builders import a_record
from w2s_ray.store import Record, utc_now
from w2s_ray.store.layout import parse


def test_a_record_survives_json():
    record = a_record(parents=("a", "b"), summary={"x": 1, "y": 1.0, "z": True, "w": None})
    copy = parse(Record, record.to_json(), where="here")
    assert copy == record
    assert [type(value) for value in copy.summary.values()] == [int, float, bool, type(None)]


def test_times_are_kept_in_utc_so_that_they_compare_as_text():
    record = a_record(started_at="2026-01-01T02:00:00+02:00", ended_at="2026-01-01T00:00:00Z")
    assert record.started_at == record.ended_at == "2026-01-01T00:00:00.000000+00:00"
    assert utc_now() > record.ended_at


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"status": "maybe"},
        {"id": "../x"},
        {"started_at": "2026-01-01T00:00:00"},
        {"started_at": "yesterday"},
        {"started_at": "0001-01-01T00:00:00+14:00"},
        {"started_at": "9999-12-31T23:59:59-14:00"},
        {"seconds": -1},
    ],
)
def test_invalid_records_are_refused(changes):
    with pytest.raises(ValidationError):
        a_record(**changes)


def test_a_record_is_frozen():
    with pytest.raises(ValidationError):
        a_record().status = "failed"
