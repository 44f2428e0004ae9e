"""The Parquet files of a store: their columns, and conversions between tables and bytes.

Owns the schemas of metrics, predictions and split rows, and refuses a table with other columns. It
finds no files and runs no queries.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from w2s_ray.store.damage import Damaged


def field(
    name: str, kind: pa.DataType, meaning: str, *, nullable: bool = False, optional: bool = False
) -> pa.Field:
    """A column with its meaning, for `column_meanings`; a table may leave out an optional column,
    which is then null.
    """
    about = {"meaning": meaning, **({"optional": "yes"} if optional else {})}
    return pa.field(name, kind, nullable=nullable or optional, metadata=about)


METRICS = pa.schema(
    [
        field("run_id", pa.string(), "the fit"),
        field("step", pa.int64(), "optimizer steps taken before the measurement"),
        field(
            "metric",
            pa.string(),
            "train/loss, train/lr; validation/agreement and validation/loss (with the labels that "
            "the fit is evaluated with during training); validation/accuracy and "
            "validation/log_loss (with ground truth, which does not affect training); "
            "test/accuracy and test/log_loss (of the final model); oracle/test_accuracy (of the "
            "model with the best validation/accuracy so far, as if ground truth stopped the fit "
            "there; it does not affect training)",
        ),
        field("value", pa.float64(), "the measurement; may be NaN", nullable=True),
    ]
)
"""`metrics.parquet`, in long form: one row per run, step and metric."""

PREDICTIONS = pa.schema(
    [
        field("example_id", pa.string(), "the example, as in the split's rows"),
        field("part", pa.string(), "supervisor_half, student_half, validation or test"),
        field(
            "probability",
            pa.float64(),
            "P(class 1) by the fit's final model; for a pair, the probability that the first text "
            "is better; in rows with an answer, the probability of that completion, class or "
            "choice",
        ),
        field(
            "answer",
            pa.string(),
            "the completion of a prompt; in a task of several classes, the most probable class; in "
            "multiple choice, the text of the most probable choice",
            optional=True,
        ),
        field(
            "probabilities",
            pa.list_(pa.float32()),
            "in a task of several classes, the probability of each, in the order of their names "
            "(numbers by value, before words); in multiple choice, of each of the row's choices",
            optional=True,
        ),
        field(
            "extracted",
            pa.string(),
            "the answer that the task's `extract` takes from the completion; null if it finds "
            "none, and in tasks without `extract`",
            optional=True,
        ),
        field(
            "certainty",
            pa.float64(),
            "of sampled completions, the share of samples with the answer of `answer`, which is "
            "the first of them; 0 if nothing was extracted from any sample",
            optional=True,
        ),
        field(
            "samples",
            pa.list_(pa.string()),
            "the sampled completions, in the order in which they were drawn",
            optional=True,
        ),
    ]
)
"""`predictions.parquet`: one row per predicted example. Ground truth is stored in the split."""

OF_RUN = {"metrics": METRICS, "predictions": PREDICTIONS}
"""Name of a run's Parquet file -> its columns."""

SPLIT_ROWS = pa.schema(
    [
        field("example_id", pa.string(), "the example; unique within the split"),
        field("part", pa.string(), "supervisor_half, student_half, validation or test"),
        field(
            "text", pa.string(), "the input of the models; the first text of a pair, or the prompt"
        ),
        field(
            "label",
            pa.int8(),
            "ground truth, 0 or 1; for a pair, 1 if the first text is the better one; null in a "
            "task without classes",
            nullable=True,
        ),
        field("group", pa.string(), "all rows of one group are in the same part", nullable=True),
        field("second", pa.string(), "the second text of a pair", optional=True),
        field(
            "answer",
            pa.string(),
            "the correct answer to a prompt, or the text of the right choice",
            optional=True,
        ),
        field(
            "difficulty",
            pa.float64(),
            "the row's difficulty by its source (rating)",
            optional=True,
        ),
        field(
            "near_copies",
            pa.int64(),
            "number of training rows that a test row is a near copy of: they share at least "
            "70 % of their pairs of neighbouring words; null in other parts, without "
            "texts, and in splits of earlier versions",
            optional=True,
        ),
        field(
            "choices",
            pa.list_(pa.string()),
            "the choices of a question, in an order that depends on their texts alone",
            optional=True,
        ),
        field(
            "weight",
            pa.float64(),
            "how much a training row counts (`columns.weight`); null in other parts, and in a task "
            "without weights",
            optional=True,
        ),
        field(
            "extracted",
            pa.string(),
            "the answer that the task's `extract` takes from `answer`; null without `extract`",
            optional=True,
        ),
    ]
)
"""`rows.parquet` of a split: every row of a task, and the part it is in."""

CHAT_ROWS = pa.schema(
    [
        *SPLIT_ROWS,
        field("chat", pa.string(), "JSON of the chat messages; the texts are their plain form"),
    ]
)
"""The columns of a split of chat messages; SQL has the columns of `SPLIT_ROWS` only."""


def nullable_field(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    """A column with its meaning, whose cells may be null."""
    return field(name, kind, meaning, nullable=True)


def schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """A schema from pairs of names, separated by spaces, and their type."""
    return pa.schema([(name, kind) for names, kind in columns for name in names.split()])


def column_meanings(schema: pa.Schema) -> dict[str, str]:
    """Column name -> what it means."""
    return {field.name: field.metadata[b"meaning"].decode() for field in schema}


def optional_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns that a table may leave out."""
    return [f for f in schema if b"optional" in (f.metadata or {})]


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with nulls in the optional columns that it leaves out."""
    for absent in (f for f in optional_fields(schema) if f.name not in table.column_names):
        table = table.append_column(absent, pa.nulls(len(table), absent.type))
    return table


def conform(table: pa.Table, schema: pa.Schema, *, what: str) -> pa.Table:
    """`table` with the columns of `schema`, in its order and types; optional ones may be left out.

    Raises:
        ValueError: missing or unknown columns, values of another type, or missing values.
    """
    table = completed(table, schema)
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.names]
    if missing or unknown:
        raise ValueError(
            f"{what}: columns {missing or 'none'} are missing and {unknown or 'none'} are unknown; "
            f"give {schema.names}"
        )
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise ValueError(f"{what}: column {field.name!r} has missing values; give them all")
    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{what}: {error}") from error


def to_parquet(table: pa.Table) -> bytes:
    """`table` as a Parquet file."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def from_parquet(data: bytes) -> pa.Table:
    """The table in a Parquet file."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()


def scan(path: str, schema: pa.Schema, *, filesystem: Any) -> None:
    """Check a Parquet file by reading all of it, one row group at a time.

    Raises:
        ArrowException, OSError, ValueError: it is damaged, or lacks a column of `schema`.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, filesystem=filesystem, page_checksum_verification=True)
    for field in schema:
        place = file.schema_arrow.get_field_index(field.name)
        kind = file.schema_arrow.field(place).type if place >= 0 else None
        if kind != field.type and (kind or b"optional" not in (field.metadata or {})):
            raise ValueError(f"its column {field.name} is {kind or 'missing'}, not {field.type}")
    for group in range(file.metadata.num_row_groups):
        file.read_row_group(group).validate(full=True)


def read(data: bytes, *schemas: pa.Schema, where: str, costs: str, remedy: str) -> pa.Table:
    """The table in a Parquet file, with the columns of the first schema that has all its columns.

    Raises:
        Damaged: it is not a Parquet file, a checksum doesn't match, or it has other columns.
    """
    try:
        table = from_parquet(data)
        table.validate(full=True)
        columns = set(table.column_names)
        schema = next((one for one in schemas if columns <= set(one.names)), schemas[0])
        return conform(table, schema, what="the table")
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Damaged(where, error, costs=costs, remedy=remedy) from error


def from_rows(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of `rows` of JSON values; keys that a row lacks are null.

    It uses Arrow's JSON reader because building arrays from Python values imports pandas if that is
    installed, which takes longer than the rest of a short command.
    """
    lines = "\n".join(json.dumps(row, allow_nan=False) for row in rows).encode()
    if not lines:
        return pa.Table.from_batches([], schema=schema)
    from pyarrow import json as arrow_json

    return arrow_json.read_json(
        pa.BufferReader(lines),
        read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="error"
        ),
    )
