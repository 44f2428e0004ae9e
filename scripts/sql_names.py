"""Prints w2s_ray/cli/sql_names.json: the columns of each table of `w2s query`, for completion."""

from __future__ import annotations

import json

from w2s_ray.report.table_docs import sql_schemas

if __name__ == "__main__":
    names = {table: schema.names for table, schema in sql_schemas().items()}
    print("{")
    print(
        ",\n".join(f" {json.dumps(table)}: {json.dumps(found)}" for table, found in names.items())
    )
    print("}")
