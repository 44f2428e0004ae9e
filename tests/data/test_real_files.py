"""The named tasks on the real original files, where a folder of them lies beside the repository."""

from __future__ import annotations

import re

import pytest

from w2s_ray.data import make_split
from w2s_ray.data.sources import read_rows
from w2s_ray.spec import PARTS

# task, path, (train, validation, test), rows of the pool, rows of the own test split
CASES = [
    ("ethics_justice", "ethics/justice", (16000, 1000, 2000), 21791, 2704),
    ("ethics_deontology", "ethics/deontology", (12000, 1000, 3000), 18164, 3596),
    ("ethics_virtue", "ethics/virtue", (2400, 400, 600), 28245, 4975),
    ("creak", "creak", (8000, 1000, 1300), 10176, 1371),
    ("openbookqa", "openbookqa", (8000, 1000, 900), 10914, 1000),
    ("cosmos_qa", "cosmosqa/valid.csv.gz", (4000, 500, 1000), 5970, None),
    ("sentence_polarity", "nltk_sentiment/sentence_polarity.zip", (8000, 1000, 1500), 10662, None),
]


@pytest.mark.parametrize(("name", "path", "sizes", "pool", "test"), CASES, ids=str)
def test_real_files(real, task, name, path, sizes, pool, test):
    if not (real / path).exists():
        pytest.skip(f"no {path} among the real task data")
    train, validation, asked = sizes
    declared = task(
        name=name, path=str(real / path), train=train, validation=validation, test=asked
    )
    rows = read_rows(declared)
    assert len(rows.pool) == pool
    assert (rows.test and len(rows.test)) == test
    split = make_split(rows, task=declared)
    assert [split.counts[part] for part in PARTS] == [train // 2, train // 2, validation, asked]
    groups = [{row.group for row in split.parts[part]} for part in PARTS]
    assert sum(map(len, groups)) == len(set().union(*groups))
    for part in split.parts.values():
        assert sum(row.label for row in part) == len(part) // 2
    everything = [row for part in split.parts.values() for row in part]
    assert len({row.text for row in everything}) == len(everything)
    assert not any(re.search(r"\nA: \(?[A-D]\)?$", row.text) for row in everything)
