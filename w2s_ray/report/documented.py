"""Every table that SQL sees, with the meaning of each column and of a row.

Owns the words for the PGR tables; those of the store's own tables stand in `store.columns`, and
those of other computed tables beside what computes them. It reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from w2s_ray.report.comparison import COMPARISONS
from w2s_ray.report.schemas import SCHEMAS
from w2s_ray.report.scores import SCORES
from w2s_ray.store.columns import TABLES

_BOUND = "of the 95 % bootstrap interval of"

_MEANINGS: Mapping[str, str] = {
    "sweep": "the sweep's name",
    "task": "the task's name",
    "weak": "the supervisor's model",
    "strong": "the student's and the ceiling's model",
    "method": "how the student is trained",
    "seed": "the seed of all three fits",
    "objective": "what chose the settings; oracle: the cell's own ground truth, in whatever way",
    "weak_accuracy": "the supervisor's test accuracy; the mean over complete seeds",
    "student_accuracy": "the student's, likewise",
    "ceiling_accuracy": "the ceiling's, likewise",
    "pgr": "(student - weak) / (ceiling - weak), of the means; null where the gap may be none",
    "weak_low": f"lower bound {_BOUND} weak_accuracy",
    "weak_high": f"upper bound {_BOUND} weak_accuracy",
    "student_low": f"lower bound {_BOUND} student_accuracy",
    "student_high": f"upper bound {_BOUND} student_accuracy",
    "ceiling_low": f"lower bound {_BOUND} ceiling_accuracy",
    "ceiling_high": f"upper bound {_BOUND} ceiling_accuracy",
    "gap_low": f"lower bound {_BOUND} ceiling minus supervisor",
    "gap_high": f"upper bound {_BOUND} ceiling minus supervisor",
    "pgr_low": f"lower bound {_BOUND} pgr",
    "pgr_high": f"upper bound {_BOUND} pgr",
    "intervals_over": "what the bounds hold for: other seeds and examples, or examples alone",
    "no_intervals": "why there are no bounds although a seed is complete",
    "oracle_stopped_student": "the student's accuracy, had ground truth chosen when it stops; "
    "not the method's result",
    "oracle_stopped_pgr": "PGR of that student",
    "reason": "why there is no PGR",
    "seeds": "seeds that the means are over",
    "of_seeds": "seeds that the sweep asks for",
    "student_sd": "sample standard deviation of the student's accuracy over seeds",
    "pgr_sd": "the same of each seed's PGR",
    "missing": "the seeds that are left out, and why",
    "runs": "ids of the runs that the means are over",
    "supervisor": "id of the supervisor's fit",
    "student": "id of the student's fit; null while its study is not done",
    "ceiling": "id of the ceiling's fit",
    "median_pgr": "median of pgr over tasks and pairs",
    "median_low": f"lower bound {_BOUND} median_pgr, for these tasks and pairs",
    "median_high": f"upper bound {_BOUND} median_pgr, for these tasks and pairs",
    "cells": "rows that the median is over",
    "undefined": "rows without a gap to recover, or whose gap may be none",
    "left_out": "rows whose own ground truth chose the setting, beside rows for which it did not",
}
_OF_TABLE = {
    "pgr_by_seed": {"pgr": "(student - weak) / (ceiling - weak) of this seed; null without a gap"},
    "pgr_by_method": {"missing": "rows without a complete seed"},
}

_HEAD = """# The tables of a store

What `w2s query` and `Results.query` see, column by column. Written by
`w2s query --columns --format markdown`; do not edit. `pgr`, `pgr_by_seed`, `pgr_by_method`,
`scores` and `comparisons` are computed when a query names them, and what took long is kept. Shares
and accuracies are from 0 to 1. What begins with JSON is text that SQL can look into:
`recipe->>'$.training.lr'`."""

ROW_IS: Mapping[str, str] = {
    "runs": "a run (a fit or a study) as it stands, done or not",
    "cells": "a task, pair, method and seed of a sweep, with the runs that it is made of",
    "trials": "an ended trial of a study",
    "metrics": "a measurement of a fit at a step, in training or at its end",
    "predictions": "an example that a done fit predicted",
    "splits": "an example of a split",
    "pgr": "a task, pair and method of a sweep: means over seeds",
    "pgr_by_seed": "the same for one seed; its bounds are over test examples alone",
    "pgr_by_method": "a method of a sweep: the median over tasks and pairs",
    "scores": "a done fit, measured on the test rows of its split",
    "comparisons": "two methods of a sweep and a quantity in which they are compared",
}
"""Name of each table in SQL -> what one of its rows is."""


def sql_schemas() -> Mapping[str, pa.Schema]:
    """Name of each table in SQL -> its columns; the metadata `meaning` says what a column is."""
    parts = {"pgr": "rows", "pgr_by_seed": "by_seed", "pgr_by_method": "by_method"}
    explained = {table: _explained(table, SCHEMAS[part]) for table, part in parts.items()}
    return {**TABLES, **explained, "scores": SCORES, "comparisons": COMPARISONS}


def meaning(field: pa.Field) -> str:
    """What a column is."""
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


def _explained(table: str, schema: pa.Schema) -> pa.Schema:
    meanings = {**_MEANINGS, **_OF_TABLE.get(table, {})}
    return pa.schema(field.with_metadata({"meaning": meanings[field.name]}) for field in schema)
