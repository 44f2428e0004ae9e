"""Results in Python: a store opened for reading, with pandas frames as results.

Owns the interface for notebooks, and the computed tables in SQL. The computations are in other
modules; it writes no runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_ray.errors import InputError
from w2s_ray.printable import shown
from w2s_ray.report.columns import schema_of
from w2s_ray.report.frames import to_frame
from w2s_ray.report.render import to_arrow
from w2s_ray.report.savings import Savings, savings
from w2s_ray.report.sealed import count_look
from w2s_ray.report.table import PgrTable, pgr_table
from w2s_ray.short_table import ShortTable, ShownAsTable
from w2s_ray.store import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from w2s_ray.report.figures import Figure, XAxis
    from w2s_ray.report.ranking import Ranking


def open_results(uri: str | Path) -> Results:
    """The results in a store. It counts as a look at the test of each sealed sweep.

    Raises:
        StoreError: there is no store at `uri`.
        InputError: the look can't be counted.
    """
    store = Store.open(uri)
    store.check_readable()
    count_look(store, store.manifests.sweeps(), command="python")
    return Results(store)


def sql_tables(store: Store) -> Mapping[str, Callable[[], pa.Table]]:
    """The computed tables in SQL: `pgr`, `pgr_by_seed` and `pgr_by_method` of every sweep, the
    `comparisons` of each of its methods with each other, their `ranks` and `pairwise_wins`, the
    `scores` of every fit and the `cell_scores` of every cell. Each is computed at its first use.
    """

    def scores() -> pa.Table:
        from w2s_ray.report.scores import scores

        return scores(store)

    def cell_scores() -> pa.Table:
        from w2s_ray.report.cell_scores import cell_scores

        return cell_scores(store)

    def comparisons() -> pa.Table:
        from w2s_ray.report.compare import compare
        from w2s_ray.report.comparison_sheets import to_arrow

        return to_arrow(compare(table(), store, against=None))

    @cache
    def rankings() -> tuple[Ranking, ...]:
        from w2s_ray.report.rank import rank

        return rank(table(), store)

    def ranks() -> pa.Table:
        from w2s_ray.report import rank_sheets

        return rank_sheets.to_arrow(rankings())

    def pairwise_wins() -> pa.Table:
        from w2s_ray.report import rank_sheets

        return rank_sheets.pairs_to_arrow(rankings())

    table = cache(lambda: pgr_table(store))
    return {
        "pgr": lambda: to_arrow(table(), "rows"),
        "pgr_by_seed": lambda: to_arrow(table(), "by_seed"),
        "pgr_by_method": lambda: to_arrow(table(), "by_method"),
        "scores": scores,
        "cell_scores": cell_scores,
        "comparisons": comparisons,
        "ranks": ranks,
        "pairwise_wins": pairwise_wins,
    }


@dataclass(frozen=True, repr=False)
class Results(ShownAsTable):
    """A store's results as pandas frames. Run ids may be shortened to a unique beginning.

    A column has the type that `docs/tables.md` gives it, whatever rows there are: whole numbers are
    `Int64`, missing ones too.
    """

    store: Store

    def summary(self) -> ShortTable:
        """The store's sweeps, with the runs of their cells and how many of them are done."""
        title = f"Results in {self.store.uri}"
        columns = ("sweep", "tasks", "pairs", "methods", "seeds", "runs", "done")
        try:
            rows = [self._counts(name) for name in self.store.manifests.sweeps()]
        except InputError as error:  # a value must show itself all the same
            return ShortTable(title, columns, notes=(str(error),))
        return ShortTable(title, columns, tuple(rows), notes=() if rows else ("no sweep yet",))

    def _counts(self, sweep: str) -> tuple[str | int, ...]:
        cells = self.store.manifests.latest(sweep).cells
        runs = {run for cell in cells for run in (cell.supervisor, cell.ceiling, cell.student)}
        runs -= {None}
        return (
            sweep,
            len({cell.task for cell in cells}),
            len({(cell.weak, cell.strong) for cell in cells}),
            len({cell.method for cell in cells}),
            len({cell.seed for cell in cells}),
            len(runs),
            len(self.store.done(run for run in runs if run is not None)),
        )

    def figures(self, sweep: str | None = None, *, x: XAxis = "parameters") -> dict[str, Figure]:
        """Every figure of a sweep that has data, by its name; a figure shows itself in a notebook.

        `x` is the measure of a model's size.

        Raises:
            InputError: no such sweep or `x`; or no `sweep` is given, and the store has several.
        """
        from w2s_ray.report.figures import figures_of

        return figures_of(self, sweep or self._only_sweep(), x=x)

    def figure(self, name: str, sweep: str | None = None, *, x: XAxis = "parameters") -> Figure:
        """One figure of a sweep, such as `pgr`.

        Raises:
            InputError: as for `figures`; or there is no such figure, or no data for it.
        """
        from w2s_ray.report.figures import figures_of

        found = figures_of(self, sweep or self._only_sweep(), x=x, only=(name,))
        if name not in found:
            known = ", ".join(self.figures(sweep, x=x)) or "none: no run is done"
            raise InputError(f"figure is {shown(name)}; the sweep has the figures {known}")
        return found[name]

    def _only_sweep(self) -> str:
        names = self.store.manifests.sweeps()
        if len(names) != 1:
            raise InputError(
                f"{self.store.uri} has the sweeps {', '.join(names) or 'none'}; name one"
            )
        return names[0]

    def table(self, sweep: str | None = None) -> PgrTable:
        """The PGR table of a sweep or of all, as plain values."""
        return pgr_table(self.store, sweep=sweep)

    def pgr(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per task, pair and method: means over seeds, PGR and its spread."""
        return to_frame(to_arrow(self.table(sweep), "rows"))

    def pgr_by_seed(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per task, pair, method and seed."""
        return to_frame(to_arrow(self.table(sweep), "by_seed"))

    def pgr_by_method(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per method: the median over tasks and pairs."""
        return to_frame(to_arrow(self.table(sweep), "by_method"))

    def compare(
        self, against: str = "naive", sweep: str | None = None, *, over_tasks: bool = False
    ) -> pd.DataFrame:
        """Two rows (PGR, student accuracy) per method: its difference from `against`, with
        intervals and p values; the columns of `report.comparison.Comparison`.

        `over_tasks`: intervals for new tasks, from resampled tasks.

        Raises:
            ValueError: no such method.
        """
        from w2s_ray.report.compare import compare
        from w2s_ray.report.comparison_sheets import to_arrow

        found = compare(self.table(sweep), self.store, against=against, over_tasks=over_tasks)
        return to_frame(to_arrow(found))

    def ranks(self, sweep: str | None = None, *, over_tasks: bool = False) -> pd.DataFrame:
        """One row per ranked method, best first: its mean rank over tasks and pairs and its
        probability of being best; the columns of `report.ranking.MethodRank`.

        `over_tasks`: intervals for new tasks, from resampled tasks.
        """
        from w2s_ray.report import rank_sheets
        from w2s_ray.report.rank import rank

        found = rank(self.table(sweep), self.store, over_tasks=over_tasks)
        return to_frame(rank_sheets.to_arrow(found))

    def pairwise_wins(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per two ranked methods: the rows in which one has the higher student accuracy;
        the columns of `report.ranking.PairwiseWins`.
        """
        from w2s_ray.report import rank_sheets
        from w2s_ray.report.rank import rank

        return to_frame(rank_sheets.pairs_to_arrow(rank(self.table(sweep), self.store)))

    def savings(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per sweep: the shares of training that early stopping and pruning saved."""
        from w2s_ray.store.tables import from_rows

        names = self.store.manifests.sweeps() if sweep is None else [sweep]
        found = [asdict(savings(self.store, sweep=name)) for name in names]
        return to_frame(from_rows(found, schema_of(Savings)))

    def scores(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per fit, of a sweep or of all: its figures on test rows, and a student's
        agreement, misfit and blind spots; the columns of `report.scores.SCORES`.
        """
        from w2s_ray.report.scores import scores

        return to_frame(scores(self.store, sweep=sweep))

    def cell_scores(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per cell, of a sweep or of all: the similarity of supervisor and ceiling, and the
        student where each of them is right or wrong; the columns of
        `report.cell_scores.CELL_SCORES`.
        """
        from w2s_ray.report.cell_scores import cell_scores

        return to_frame(cell_scores(self.store, sweep=sweep))

    def reliability(self, run_id: str) -> pd.DataFrame:
        """One run's confidence and accuracy on test rows, in bins of similar confidence; the
        columns of `report.scores.RELIABILITY`.
        """
        from w2s_ray.report.scores import reliability

        return to_frame(reliability(self.store, self.store.resolve_id(run_id)))

    def runs(self) -> pd.DataFrame:
        """One row per run, done or not."""
        return self.query("select * from runs order by started_at, id")

    def metrics(self, run_id: str | None = None) -> pd.DataFrame:
        """Training and validation metrics of one run or of all, in long form."""
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
            QueryError: a query that can't be run or does more than read.
        """
        from w2s_ray.store.sql_query import query

        return to_frame(query(self.store, sql, extra_tables=sql_tables(self.store)))

    def _where(self, id_: str | None, *, column: str = "run_id") -> str:
        # An id is a checked name without quotes, so it needs no escaping in SQL.
        return "" if id_ is None else f" where {column} = '{self.store.resolve_id(id_)}'"
