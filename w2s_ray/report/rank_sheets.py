"""Rankings of methods as sheets, CSV, JSON and Arrow.

Owns the shown columns and notes. It computes no figures.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields

import pyarrow as pa

from w2s_ray.report.columns import schema_of
from w2s_ray.report.csv_text import Writer
from w2s_ray.report.ranking import MethodRank, PairwiseWins, Ranking
from w2s_ray.report.sheet import NONE, Sheet, SheetColumn, make_sheet, number
from w2s_ray.store.tables import from_rows


def sheets(rankings: Iterable[Ranking]) -> list[Sheet]:
    """A sheet for each ranking."""
    return [_sheet(ranking) for ranking in rankings if ranking.methods]


def pair_sheets(rankings: Iterable[Ranking]) -> list[Sheet]:
    """A sheet for each ranking: a line for each two methods."""
    return [
        make_sheet(
            f"{ranking.sweep}: rows in which a method has the higher student accuracy",
            _PAIR_COLUMNS,
            ranking.wins,
            below=["clear: the 95 % interval of the difference excludes 0"],
        )
        for ranking in rankings
        if ranking.wins
    ]


def to_csv(rankings: Iterable[Ranking], *, pairs: bool = False) -> str:
    """One line per method, or per pair of methods, with every digit."""
    buffer = io.StringIO()
    row = PairwiseWins if pairs else MethodRank
    Writer(buffer, [each.name for each in fields(row)]).write(
        asdict(one) for ranking in rankings for one in (ranking.wins if pairs else ranking.methods)
    )
    return buffer.getvalue()


def to_json(rankings: Iterable[Ranking]) -> str:
    """The rankings with their pairs, and the methods that are not ranked."""
    return json.dumps([asdict(one) for one in rankings], indent=1, allow_nan=False)


def to_arrow(rankings: Iterable[Ranking]) -> pa.Table:
    """The ranked methods with one column for each field."""
    rows = (asdict(one) for ranking in rankings for one in ranking.methods)
    return from_rows(rows, schema_of(MethodRank))


def pairs_to_arrow(rankings: Iterable[Ranking]) -> pa.Table:
    """The pairs of methods with one column for each field."""
    rows = (asdict(one) for ranking in rankings for one in ranking.wins)
    return from_rows(rows, schema_of(PairwiseWins))


def _sheet(ranking: Ranking) -> Sheet:
    first = ranking.methods[0]
    over = f" [95 % interval over {first.intervals_over}]" if first.intervals_over else ""
    return make_sheet(
        f"{ranking.sweep}: methods by mean rank over {_count(first.rows, 'row')} of "
        f"{_count(first.tasks, 'task')}{over}",
        (*_COLUMNS, _wins_column(ranking.wins)),
        ranking.methods,
        below=_below(ranking),
    )


def _wins_column(wins: Sequence[PairwiseWins]) -> SheetColumn[MethodRank]:
    """Comparisons of a method with each other one, in each row, and how many of them are clear."""

    def text(row: MethodRank) -> str:
        own = [pair for pair in wins if pair.method == row.method]
        total = "/".join(
            str(sum(getattr(pair, name) for pair in own)) for name in ("wins", "ties", "losses")
        )
        clear = [(pair.clear_wins, pair.clear_losses) for pair in own]
        if any(None in both for both in clear):
            return total
        won, lost = (sum(both[side] or 0 for both in clear) for side in (0, 1))
        return f"{total} ({won}/{lost} clear)"

    return SheetColumn("wins/ties/losses", text, is_number=True)


def _below(ranking: Ranking) -> list[str]:
    """The tests, what is not ranked, and why there are no intervals."""
    first = ranking.methods[0]
    friedman = (
        f"Friedman's test: p {_p(first.friedman_p)}"
        if first.friedman_p is not None
        else f"no Friedman test: {first.no_friedman}"
    )
    counts = {
        "where ground truth of the same task and student chose a method's setting": first.left_out,
        "without a seed complete in all methods": first.missing,
    }
    return [
        f"critical difference of mean ranks (Nemenyi, 5 %, {_count(first.tasks, 'task')}): "
        f"{first.critical_difference:.2f}; {friedman}",
        *(f"left out: {_count(count, 'row')} {why}" for why, count in counts.items() if count),
        *(f"not ranked: {method} ({why})" for method, why in ranking.excluded),
        *(text for text in (first.no_interval,) if text),
        *(
            ["one seed: intervals are over test examples alone"]
            if first.intervals_over == "examples"
            else []
        ),
    ]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _clear(value: int | None) -> str:
    return NONE if value is None else str(value)


_COLUMNS: tuple[SheetColumn[MethodRank], ...] = (
    SheetColumn("method", lambda row: row.method),
    SheetColumn(
        "mean rank",
        lambda row: number(row.mean_rank, low=row.mean_rank_low, high=row.mean_rank_high),
        is_number=True,
        field="mean_rank",
    ),
    SheetColumn("P(best)", lambda row: number(row.p_best), is_number=True, field="p_best"),
    SheetColumn(
        "best in rows", lambda row: f"{row.best_rows:g}", is_number=True, field="best_rows"
    ),
    SheetColumn("objective", lambda row: row.objective),
)
_PAIR_COLUMNS: tuple[SheetColumn[PairwiseWins], ...] = (
    SheetColumn("method", lambda row: row.method),
    SheetColumn("against", lambda row: row.against),
    *(
        SheetColumn(name, lambda row, name=name: str(getattr(row, name)), is_number=True)
        for name in ("wins", "ties", "losses")
    ),
    SheetColumn("clear wins", lambda row: _clear(row.clear_wins), True, "clear_wins"),
    SheetColumn("clear losses", lambda row: _clear(row.clear_losses), True, "clear_losses"),
)
