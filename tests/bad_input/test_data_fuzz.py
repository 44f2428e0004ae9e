"""Any bytes under any name are rows or one `InputError`, and so are any cells of a table."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.bad_input.data_files import arrow, as_csv, jsonl, npz, parquet, table
from w2s_ray.config import Columns
from w2s_ray.data.cells import text_of
from w2s_ray.data.files import Member
from w2s_ray.data.generic import table_rows
from w2s_ray.data.own_table import path_table
from w2s_ray.data.table import raw_rows
from w2s_ray.errors import InputError

GOOD = as_csv(table())
VALID = {
    ".csv": GOOD.encode(),
    ".tsv": as_csv(table(), delimiter="\t").encode(),
    ".json": json.dumps(table()).encode(),
    ".jsonl": jsonl(table()).encode(),
    ".csv.gz": gzip.compress(GOOD.encode()),
    ".parquet": parquet(table()),
    ".arrow": arrow(table()),
    ".npz": npz(text=np.array(["a", "b"]), label=np.arange(2)),
}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid file of some kind with changed, removed or added bytes, under some kind's name."""
    content = bytearray(VALID[draw(st.sampled_from(sorted(VALID)))])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        if content:
            content[at] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(content)))
    whole = bytes(content) if draw(st.booleans()) else bytes(content[:cut])
    return draw(st.sampled_from(sorted(VALID))), whole + draw(st.binary(max_size=8))


def error_of(read: Callable[[], object]) -> str | None:
    """What `read` is refused with; any other exception is a failure."""
    try:
        read()
    except InputError as error:
        return str(error)
    return None


def check(line: str | None) -> None:
    assert line is None or (line.isprintable() and len(line) < 700)


def read_back(folder: Path, suffix: str, content: bytes) -> None:
    path = folder / f"d{suffix}"
    path.write_bytes(content)
    check(error_of(lambda: list(raw_rows(Member(path.name, path)))))


fuzzing = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzzing
@given(st.sampled_from(sorted(VALID)), st.binary(max_size=200))
@example(".npz", b"\x93NUMPY\x01\x00v\x00{'descr': ")
@example(".parquet", b"PAR1PAR1")
@example(".arrow", b"ARROW1\x00\x00")
def test_any_bytes_under_any_name_are_rows_or_one_error(tmp_path, suffix, content) -> None:
    read_back(tmp_path, suffix, content)


@fuzzing
@given(damaged())
def test_damaged_files_are_rows_or_one_error(tmp_path, made) -> None:
    read_back(tmp_path, *made)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
surrogates = st.text(st.characters(categories=["Cs", "L"]), max_size=3)
cells = st.recursive(
    plain | surrogates,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner, max_size=3)
    ),
    max_leaves=5,
)
COLUMNS = (
    Columns(text="a", label="b", group="c", difficulty="d"),
    Columns(text="a", label="b"),
    Columns(first="a", second="b", label="c"),
    Columns(text="c", chosen="a", rejected="b"),
    Columns(text="a", answer="b", group="c"),
)


@fuzzing
@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys("abcd", cells)), min_size=2, max_size=4),
    st.sampled_from(COLUMNS),
)
def test_any_cells_are_examples_or_one_error(tmp_path, rows, columns) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made: list[Any] = []

    def read() -> None:
        table = path_table(str(path), columns=columns, where="task t")
        made.extend(table_rows(table, columns=columns).pool)

    check(error_of(read))
    for row in made:
        row.text.encode()
        assert isinstance(row.group, str)


@given(cells | st.binary(max_size=4))
def test_a_cell_is_a_text_or_one_error(cell) -> None:
    check(error_of(lambda: text_of(cell, where="here").encode()))
