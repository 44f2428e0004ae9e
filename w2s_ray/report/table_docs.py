"""Every table in SQL with the meaning of each column and row, also as a Markdown manual.

Columns are declared elsewhere: those of the store's tables in `store.columns`, those of computed
tables at the fields of their rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from w2s_ray.report.cell_scores import CELL_SCORES
from w2s_ray.report.columns import schema_of
from w2s_ray.report.comparison import Comparison
from w2s_ray.report.ranking import MethodRank, PairwiseWins
from w2s_ray.report.scores import SCORES
from w2s_ray.report.table_rows import MethodRow, Row, SeedRow
from w2s_ray.store.columns import TABLES

_HEAD = """# The tables of a store

The columns of all tables in `w2s query` and `Results.query`. Written by
`w2s query --columns --format markdown`; do not edit. `pgr`, `pgr_by_seed`, `pgr_by_method`,
`scores`, `cell_scores`, `comparisons`, `ranks` and `pairwise_wins` are computed when a query names
them, and expensive values are cached.
Shares and accuracies are from 0 to 1. Columns marked JSON are text that SQL can read:
`recipe->>'$.training.lr'`."""

ROW_IS: Mapping[str, str] = {
    "runs": "a run (a fit or a study), done or not",
    "cells": "a task, pair, method and seed of a sweep, with its runs",
    "trials": "an ended trial of a study",
    "metrics": "a measurement of a fit at a step, in training or at its end",
    "predictions": "an example that a done fit predicted",
    "splits": "an example of a split",
    "pgr": "a task, pair and method of a sweep: means over seeds",
    "pgr_by_seed": "a task, pair, method and seed of a sweep; bounds are over test examples alone",
    "pgr_by_method": "a method of a sweep: the median over tasks and pairs",
    "scores": "a done fit, measured on the test rows of its split",
    "cell_scores": "a cell whose supervisor, student and ceiling predicted the same test rows",
    "comparisons": "two methods of a sweep and the quantity in which they are compared",
    "ranks": "a ranked method of a sweep",
    "pairwise_wins": "two ranked methods of a sweep",
}
"""Name of a table in SQL -> the meaning of one row."""


def sql_schemas() -> Mapping[str, pa.Schema]:
    """Name of each table in SQL -> its columns; the metadata `meaning` describes each."""
    return {
        **TABLES,
        "pgr": schema_of(Row),
        "pgr_by_seed": schema_of(SeedRow),
        "pgr_by_method": schema_of(MethodRow),
        "scores": SCORES,
        "cell_scores": CELL_SCORES,
        "comparisons": schema_of(Comparison),
        "ranks": schema_of(MethodRank),
        "pairwise_wins": schema_of(PairwiseWins),
    }


def meaning(field: pa.Field) -> str:
    """The meaning of a column."""
    return field.metadata[b"meaning"].decode()


def to_markdown() -> str:
    """Every table as GitHub Markdown: a heading for each, a line for each column."""
    return "\n\n".join((_HEAD, *(_section(*table) for table in sql_schemas().items()))) + "\n"


def _section(table: str, columns: pa.Schema) -> str:
    lines = [f"| `{field.name}` | {field.type} | {_cell(meaning(field))} |" for field in columns]
    head = ["| column | type | meaning |", "|---|---|---|"]
    return "\n".join((f"## {table}", "", f"A row is {ROW_IS[table]}.", "", *head, *lines))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
