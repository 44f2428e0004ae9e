"""Results of sweeps: PGR, tables, figures and data frames from a store.

Owns the one definition of PGR and all reported figures. It reads stores, and imports neither torch
nor Ray.
"""

from w2s_ray.report.results import Results, open_results, sql_tables
from w2s_ray.report.savings import Savings, savings, savings_of
from w2s_ray.report.table import pgr_table, tabulate
from w2s_ray.report.table_rows import MethodRow, Missing, PgrTable, Row, SeedRow

__all__ = [
    "MethodRow",
    "Missing",
    "PgrTable",
    "Results",
    "Row",
    "Savings",
    "SeedRow",
    "open_results",
    "pgr_table",
    "savings",
    "savings_of",
    "sql_tables",
    "tabulate",
]
