"""What came out: PGR, tables and frames from a store.

Owns the one definition of PGR and every figure shown to a reader. It knows stores, and nothing of
torch, of Ray or of how a run was executed.
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
