"""Results in Python: a store opened for reading, every answer a pandas frame.

Owns the few calls that a notebook needs, and the PGR tables that SQL sees. It computes nothing
itself, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_ray.report.render import to_arrow, to_frame
from w2s_ray.report.savings import savings
from w2s_ray.report.table import PgrTable, pgr_table
from w2s_ray.store import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def open_results(uri: str | Path) -> Results:
    """The results in a store.

    Raises:
        StoreError: there is no store at `uri`.
    """
    store = Store.open(uri)
    store.check_readable()
    return Results(store)


def sql_tables(store: Store) -> Mapping[str, Callable[[], pa.Table]]:
    """PGR for SQL: `pgr`, `pgr_by_seed` and `pgr_by_method` of every sweep, made when asked for."""
    table = cache(lambda: pgr_table(store))
    return {
        "pgr": lambda: to_arrow(table(), "rows"),
        "pgr_by_seed": lambda: to_arrow(table(), "by_seed"),
        "pgr_by_method": lambda: to_arrow(table(), "by_method"),
    }


@dataclass(frozen=True)
class Results:
    """A store's results as pandas frames. Run ids may be shortened to a unique beginning."""

    store: Store

    def table(self, sweep: str | None = None) -> PgrTable:
        """The PGR table of a sweep or of all, as plain values."""
        return pgr_table(self.store, sweep=sweep)

    def pgr(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per task, pair and method: means over seeds, PGR and its spread."""
        return to_frame(self.table(sweep), "rows")

    def pgr_by_seed(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per task, pair, method and seed."""
        return to_frame(self.table(sweep), "by_seed")

    def pgr_by_method(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per method: the median over tasks and pairs."""
        return to_frame(self.table(sweep), "by_method")

    def savings(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per sweep: the shares of training that early stopping and pruning saved."""
        from w2s_ray.report.schemas import SCHEMAS
        from w2s_ray.store.tables import from_rows

        names = self.store.sweep_names() if sweep is None else [sweep]
        found = [asdict(savings(self.store, sweep=name)) for name in names]
        return from_rows(found, SCHEMAS["savings"]).to_pandas()

    def runs(self) -> pd.DataFrame:
        """One row per run, done or not."""
        return self.query("select * from runs order by started_at, id")

    def metrics(self, run_id: str | None = None) -> pd.DataFrame:
        """Training and validation curves of one run or of all, in long form."""
        return self.query(f"select * from metrics{self._where(run_id)} order by run_id, step")

    def predictions(self, run_id: str) -> pd.DataFrame:
        """P(class 1) of one run for every example that it predicted, with the label."""
        return self.query(f"select * from predictions{self._where(run_id)}")

    def trials(self, study: str | None = None) -> pd.DataFrame:
        """Ended trials of one study or of all."""
        where = self._where(study, column="study")
        return self.query(f"select * from trials{where} order by study, number")

    def query(self, sql: str) -> pd.DataFrame:
        """The result of one SQL query over the store's views and the PGR tables.

        Raises:
            QueryError: a query that can't be run or would do more than read.
        """
        from w2s_ray.store.catalog import query

        return query(self.store, sql, extra_tables=sql_tables(self.store)).to_pandas()

    def _where(self, id_: str | None, *, column: str = "run_id") -> str:
        # An id is a checked name without quotes, so it can stand in SQL as it is.
        return "" if id_ is None else f" where {column} = '{self.store.resolve_id(id_)}'"
