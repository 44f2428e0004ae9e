"""A changed byte of a record or trial is damage; files without a checksum are read."""

from __future__ import annotations

import json

import pytest

from tests.store.builders import a_record
from w2s_ray.store.checksums import with_checksum, without_checksum
from w2s_ray.store.damage import Damaged
from w2s_ray.store.layout import parse
from w2s_ray.store.records import Record
from w2s_ray.store.runs import parsed_trial

TRIAL = {"number": 3, "state": "complete", "value": 0.75}


def test_a_written_record_can_be_read():
    record = a_record()
    assert parse(Record, record.to_json(), where="here") == record
    assert parse(Record, record.model_dump_json().encode(), where="here") == record


def test_every_flipped_bit_of_a_record_is_damage():
    content = a_record().to_json()
    for place in range(len(content)):
        for bit in (1, 4, 32):
            flipped = bytearray(content)
            flipped[place] ^= bit
            with pytest.raises(Damaged):
                parse(Record, bytes(flipped), where="here")


def test_a_flipped_digit_of_a_trial_is_damage():
    content = with_checksum(json.dumps(TRIAL, indent=1).encode())
    assert parsed_trial("runs/study/trials/3.json", content, where="here")["value"] == 0.75
    with pytest.raises(Damaged, match="checksum"):
        parsed_trial("runs/study/trials/3.json", content.replace(b"0.75", b"0.95"), where="here")


def test_the_file_is_json_with_one_more_key():
    assert json.loads(with_checksum(json.dumps(TRIAL, indent=1).encode())).keys() == {
        *TRIAL,
        "checksum",
    }
    assert (
        json.loads(without_checksum(with_checksum(json.dumps(TRIAL, indent=1).encode()))) == TRIAL
    )
