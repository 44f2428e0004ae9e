from __future__ import annotations

import csv
import io
import json
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from tests.report.stored import cells_of, write_run, write_sweep
from tests.store.builders import a_manifest, a_recipe, a_record
from w2s_ray.cli.app import app
from w2s_ray.report import open_results, rank_sheets, sheet
from w2s_ray.report.columns import schema_of
from w2s_ray.report.rank import critical_difference, rank
from w2s_ray.report.rank_draws import TABLE, ranks_of, summarized
from w2s_ray.report.ranking import MethodRank, PairwiseWins, Ranking
from w2s_ray.report.render import to_markdown
from w2s_ray.report.table import pgr_table
from w2s_ray.store import Store
from w2s_ray.store.tables import column_meanings

TASKS = tuple("abcdef")
RATES = {
    "naive": (0.70, 0.72, 0.68, 0.74, 0.66, 0.70),
    "better": (0.80, 0.82, 0.67, 0.84, 0.76, 0.80),
    "even": (0.70, 0.72, 0.78, 0.64, 0.66, 0.71),
}


def students(rates=RATES) -> dict[tuple[str, str], float]:
    return {
        (task, method): share
        for method, shares in rates.items()
        for task, share in zip(TASKS, shares, strict=True)
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Six tasks, three methods, two seeds."""
    store = Store.open(tmp_path_factory.mktemp("ranked"))
    write_sweep(store, cells_of(tasks=TASKS, methods=RATES), students=students())
    return store


def ranked(store: Store, **options) -> Ranking:
    (found,) = rank(pgr_table(store), store, **options)
    return found


def expected_ranks() -> dict[str, list[float]]:
    """Each method's rank in each task, by counting."""
    ranks: dict[str, list[float]] = {method: [] for method in RATES}
    for at in range(len(TASKS)):
        for method, shares in RATES.items():
            above = sum(of[at] > shares[at] for of in RATES.values())
            equal = sum(of[at] == shares[at] for of in RATES.values())
            ranks[method].append(1 + above + (equal - 1) / 2)
    return ranks


def test_mean_ranks_and_wins_equal_counted_ones(store):
    found, ranks = ranked(store), expected_ranks()
    assert {one.method: one.mean_rank for one in found.methods} == pytest.approx(
        {method: np.mean(of) for method, of in ranks.items()}
    )
    assert [one.method for one in found.methods] == ["better", "even", "naive"]
    for one in found.methods:
        assert (one.rows, one.tasks, one.seeds, one.methods) == (6, 6, 2, 3)
        assert (one.left_out, one.missing, one.no_interval) == (0, 0, None)
        assert one.intervals_over == "seeds and examples"
        assert 1 <= one.mean_rank_low <= one.mean_rank <= one.mean_rank_high <= 3
        assert one.best_rows == sum(
            rank == min(column)
            for rank, column in zip(
                ranks[one.method], zip(*ranks.values(), strict=True), strict=True
            )
        )
    assert sum(one.p_best or 0 for one in found.methods) == pytest.approx(1)
    for pair in found.wins:
        ours, theirs = RATES[pair.method], RATES[pair.against]
        assert pair.wins == sum(a > b for a, b in zip(ours, theirs, strict=True))
        assert pair.ties == sum(a == b for a, b in zip(ours, theirs, strict=True))
        assert pair.losses == 6 - pair.wins - pair.ties
        assert pair.clear_wins <= pair.wins
    assert {(one.method, one.against) for one in found.wins} == set(permutations(RATES, 2))


def test_friedmans_test_equals_scipys(store):
    ranks = expected_ranks()
    first = ranked(store).methods[0]
    assert first.friedman_p == pytest.approx(stats.friedmanchisquare(*ranks.values()).pvalue)


@pytest.mark.parametrize(
    ("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (8, 3.031), (10, 3.164)]
)
def test_the_critical_difference_has_the_published_quantiles(methods, q):
    """Demšar 2006, table 5."""
    expected = q * np.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, blocks=14) == pytest.approx(expected, abs=0.001)


def test_a_clear_difference_is_clear_and_a_copy_shares_everything(tmp_path):
    store = Store.open(tmp_path)
    cells = cells_of(tasks=("a", "b"), methods=("good", "bad"), seeds=3)
    copies = [c.model_copy(update={"method": "copy"}) for c in cells if c.method == "good"]
    rates = {(task, name): r for task in "ab" for name, r in (("good", 0.85), ("bad", 0.65))}
    write_sweep(store, [*cells, *copies], students=rates)
    found = ranked(store)
    figures = {one.method: one for one in found.methods}
    assert figures["good"].mean_rank == figures["copy"].mean_rank == 1.5
    assert figures["good"].p_best == figures["copy"].p_best == 0.5
    assert (figures["bad"].mean_rank, figures["bad"].p_best) == (3, 0)
    assert (figures["bad"].mean_rank_low, figures["bad"].mean_rank_high) == (3, 3)
    pairs = {(one.method, one.against): one for one in found.wins}
    assert (pairs["good", "bad"].clear_wins, pairs["good", "bad"].clear_losses) == (2, 0)
    assert (pairs["good", "copy"].ties, pairs["good", "copy"].clear_wins) == (2, 0)


def test_rows_are_those_that_all_methods_have(store, tmp_path):
    """A method without one task doesn't change the others' ranks in the rows that are left."""
    other = Store.open(tmp_path)
    rates = students()
    del rates["c", "even"]
    write_sweep(other, cells_of(tasks=TASKS, methods=RATES), students=rates)
    found = {one.method: one for one in ranked(other).methods}
    ranks = expected_ranks()
    for method, one in found.items():
        assert (one.rows, one.missing) == (5, 1)
        kept = [rank for task, rank in zip(TASKS, ranks[method], strict=True) if task != "c"]
        assert one.mean_rank == pytest.approx(np.mean(kept))
    assert "left out: 1 row without a seed complete in all methods" in sheet.to_markdown(
        rank_sheets.sheets([ranked(other)])
    )


def test_a_method_that_is_used_on_some_tasks_narrows_nothing(store, tmp_path):
    other = Store.open(tmp_path)
    rates = {**RATES, "partial": (0.9,) * 6}
    cells = [
        cell
        for cell in cells_of(tasks=TASKS, methods=rates)
        if cell.method != "partial" or cell.task in "ab"
    ]
    write_sweep(other, cells, students=students(rates))
    found = ranked(other)
    assert found.excluded == (("partial", "it is used on 2 of 6 tasks"),)
    assert {one.method: one.mean_rank for one in found.methods} == {
        one.method: one.mean_rank for one in ranked(store).methods
    }
    medians = {row.method: row for row in pgr_table(other).by_method}
    assert (medians["partial"].cells, medians["partial"].own_cells) == (0, 2)
    expected = {row.method: row.median_pgr for row in pgr_table(store).by_method}
    assert {name: row.median_pgr for name, row in medians.items() if name != "partial"} == expected
    assert "so over their own rows alone: partial" in to_markdown(pgr_table(other))


def test_means_are_over_seeds_that_all_methods_have(tmp_path):
    store = Store.open(tmp_path)
    cells = cells_of(tasks=("a",), methods=("one", "two"), seeds=2)
    write_sweep(store, cells, students={})
    rights = {("one", 0): 0.7, ("one", 1): 0.9, ("two", 0): 0.8}  # two has no second seed
    for cell in cells:
        right = rights.get((cell.method, cell.seed))
        if right is not None:
            write_run(store, cell.student, task="a", right=right)
    found = ranked(store)
    assert [one.method for one in found.methods] == ["two", "one"]
    assert found.methods[0].seeds == 1
    assert found.methods[0].intervals_over == "examples"


def test_a_method_tuned_by_its_own_ground_truth_is_not_ranked(tmp_path):
    store = Store.open(tmp_path)
    cells = [
        cell.model_copy(update={"objective": "oracle"}) if cell.method == "cheat" else cell
        for cell in cells_of(tasks=("a",), methods=("one", "two", "cheat"))
    ]
    write_sweep(store, cells, students={("a", m): 0.7 for m in ("one", "two", "cheat")})
    found = ranked(store)
    assert {one.method for one in found.methods} == {"one", "two"}
    assert found.excluded == (("cheat", "its own ground truth chose a setting in every row"),)


def test_over_tasks_the_interval_has_the_spread_of_tasks(store):
    found = {one.method: one for one in ranked(store, over_tasks=True).methods}
    for method, ranks in expected_ranks().items():
        low, high = stats.t.interval(0.95, 5, np.mean(ranks), stats.sem(ranks))
        one = found[method]
        assert one.intervals_over == "tasks"
        assert one.mean_rank_low == pytest.approx(max(1, low), abs=0.25)
        assert one.mean_rank_high == pytest.approx(min(3, high), abs=0.25)
    (alone,) = rank(pgr_table(store), store, over_tasks=True)
    assert alone == ranked(store, over_tasks=True)


def test_one_task_has_no_interval_over_tasks(tmp_path):
    store = Store.open(tmp_path)
    write_sweep(
        store,
        cells_of(tasks=("a",), methods=("one", "two")),
        students={("a", "one"): 0.7, ("a", "two"): 0.8},
    )
    for one in ranked(store, over_tasks=True).methods:
        assert one.no_interval == "one task shows no spread over tasks"
        assert (one.mean_rank_low, one.p_best, one.intervals_over) == (None, None, None)


def test_ranks_without_predictions_have_a_reason_instead_of_intervals(tmp_path):
    store = Store.open(tmp_path)
    cells = cells_of(tasks=("a",), methods=("one", "two"), seeds=1)
    store.manifests.write(a_manifest(*cells))
    for number, run in enumerate({r for c in cells for r in (c.supervisor, c.student, c.ceiling)}):
        store.write_run(a_record(id=run, accuracy=0.6 + number / 100, recipe=a_recipe()))
    found = ranked(store)
    assert len(found.methods) == 2
    assert all("no interval: " in (one.no_interval or "") for one in found.methods)
    assert all(one.clear_wins is None for one in found.wins)


def test_computed_draws_are_cached(store, monkeypatch):
    first = ranked(store)
    assert store.cache.read(TABLE) is not None
    monkeypatch.setattr("w2s_ray.report.rank_draws.row_draws", lambda *_: pytest.fail("computed"))
    assert ranked(store) == first


def test_the_probability_of_being_best_counts_draws():
    draws = np.array([[1.0, 2.0], [1.5, 1.5], [2.0, 1.0], [1.0, 2.0]] * 100)
    found = summarized(draws, mean_rank_M=draws.mean(axis=0))
    assert found.p_best == (0.625, 0.375)


def test_an_interval_contains_the_draws_and_the_measured_mean_rank():
    """Drawn ranks lie around 2; the measured mean ranks are 1.2 and 2.9."""
    draws = np.random.default_rng(0).normal(2.0, 0.1, (2000, 3))
    found = summarized(draws, mean_rank_M=np.array([1.2, 2.9, 1.9]))
    near = pytest.approx
    assert found.intervals[0] == (near(1.0, abs=0.02), near(2.2, abs=0.02))
    assert found.intervals[1] == (near(1.8, abs=0.02), near(3.0))
    assert found.intervals[2] == (near(1.7, abs=0.02), near(2.2, abs=0.02))


def test_ties_share_their_mean_rank_despite_rounding():
    accuracies = np.array([[0.1 + 0.2, 0.3, 0.1], [0.5, 0.6, 0.7]])
    assert ranks_of(accuracies).tolist() == [[1.5, 1.5, 3], [3, 2, 1]]


def run_rank(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["rank", *arguments])
    return result.exit_code, result.output


def test_the_command_prints_every_format(store):
    at = ("--store", store.uri)
    code, text = run_rank(*at)
    assert code == 0
    assert "methods by mean rank over 6 rows of 6 tasks [95 % interval over seeds" in text
    assert "critical difference of mean ranks (Nemenyi, 5 %, 6 tasks): 1.35" in text
    rows = list(csv.DictReader(io.StringIO(run_rank(*at, "--format", "csv")[1])))
    assert [row["method"] for row in rows] == ["better", "even", "naive"]
    pairs = list(csv.DictReader(io.StringIO(run_rank(*at, "--format", "csv", "--pairs")[1])))
    assert Counter(pair["method"] for pair in pairs) == dict.fromkeys(RATES, 2)
    plain = json.loads(run_rank(*at, "--format", "json")[1])
    assert plain[0]["methods"][0]["method"] == "better"
    assert len(plain[0]["wins"]) == 6
    for format in ("markdown", "latex"):
        for more in ((), ("--pairs",), ("--over-tasks",)):
            code, text = run_rank(*at, "--format", format, *more)
            assert code == 0
            assert "better" in text


def test_frames_and_sql_have_the_documented_columns(store):
    results = open_results(store.uri)
    assert list(results.ranks("sweep").columns) == [*schema_of(MethodRank).names]
    assert list(results.pairwise_wins().columns) == [*schema_of(PairwiseWins).names]
    best = results.query("select method from ranks order by mean_rank limit 1")
    assert best.values.tolist() == [["better"]]
    wins = results.query("select wins from pairwise_wins where method = 'better'")
    assert len(wins) == 2
    for row in (MethodRank, PairwiseWins):
        assert all(column_meanings(schema_of(row)).values())
