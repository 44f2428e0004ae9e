"""Figures of imitated sweeps: what is in them, and that it is the table's and the store's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.report.figures.stores import Sweep, make_store
from w2s_ray.report import open_results
from w2s_ray.report.figures import (
    _MAKERS,
    Figure,
    config,
    export,
    figures_of,
    importance,
    search,
    themed,
)
from w2s_ray.report.figures.figure import COLUMNS, PANELS
from w2s_ray.report.figures.ranks import groups
from w2s_ray.report.figures.reliability import _pooled
from w2s_ray.report.figures.size import sizes_axis
from w2s_ray.report.figures.theme import DASHES, SHAPES, cycled
from w2s_ray.report.measures import Bin
from w2s_ray.report.results import Results
from w2s_ray.store import Record, StoreError
from w2s_ray.store.checksums import with_checksum, without_checksum

PGR = ("pgr-by-size", "pgr-grid", "methods", "methods-pgr")
ACCURACY = ("accuracy", "methods-accuracy", "training", "training-loss", "agreement", "reliability")
SUPERVISION = ("four-cells", "similarity", "misfit")
SEARCH = ("search-confidence", "parallel-confidence", "importance", "study-history")


def made(folder: Path, sweep: Sweep, **options: Any) -> tuple[Results, dict[str, Figure]]:
    make_store(folder, sweep)
    results = open_results(folder)
    return results, figures_of(results, sweep.name, **options)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[Results, dict[str, Figure]]:
    """A sweep of two tasks, three seeds and a search."""
    sweep = Sweep(tasks=("sciq", "boolq"), seeds=(0, 1, 2), searched="confidence")
    return made(tmp_path_factory.mktemp("drawn"), sweep)


@pytest.fixture(scope="module")
def without_gap(tmp_path_factory) -> dict[str, Figure]:
    """A sweep whose ceiling is worse than its supervisor."""
    sweep = Sweep(
        models=("a", "b"), methods=("naive",), pairs=(("a", "b"),), accuracy={"a": 0.9, "b": 0.7}
    )
    return made(tmp_path_factory.mktemp("without_gap"), sweep)[1]


def units(part: Any) -> Iterator[Mapping[str, Any]]:
    """Every part of a specification that has a mark."""
    if isinstance(part, dict):
        if "mark" in part:
            yield part
        for name, value in part.items():
            if name not in ("datasets", "config"):
                yield from units(value)
    elif isinstance(part, list):
        for value in part:
            yield from units(value)


def fields(unit: Mapping[str, Any]) -> dict[str, str]:
    """Channel -> field of a part."""
    found = {name: of for name, of in unit.get("encoding", {}).items() if isinstance(of, dict)}
    return {name: of["field"] for name, of in found.items() if "field" in of}


def texts(svg: bytes) -> list[str]:
    return [text for each in ElementTree.fromstring(svg).iter() if (text := each.text)]


def places(rows: Any) -> list[tuple[Any, ...]]:
    return [(r["task"], r["weak"], r["strong"], r["method"]) for r in rows]


def test_every_figure_with_data_is_drawn(drawn):
    _, figures = drawn
    several = {"pgr-grid-median", "agreement-by-size", "ranks"}
    assert set(figures) == {*PGR, *ACCURACY, *SUPERVISION, *SEARCH, *several}
    assert all(name == figure.name and figure.caption for name, figure in figures.items())


def test_a_figure_without_data_is_left_out(tmp_path, without_gap):
    assert set(without_gap) == {*ACCURACY, "four-cells", "pgr-grid"}
    store = make_store(tmp_path, Sweep(seeds=(0,)))
    for folder in (tmp_path / "runs").iterdir():
        (folder / "record.json").unlink()
    figures = figures_of(Results(store), "sweep")
    assert set(figures) == {"pgr-grid"}
    assert {row["void"] for row in figures["pgr-grid"].rows} == {"missing"}


def test_a_figure_of_its_own_is_the_same_and_computes_no_table(drawn, monkeypatch):
    results, figures = drawn
    assert list(figures_of(results, "sweep", only=("methods-pgr", "none"))) == ["methods-pgr"]
    monkeypatch.setattr(Results, "table", lambda *_: pytest.fail("a table"))
    alone = {name: results.figure(name) for name in ("training-loss", "importance")}
    assert {name: alone[name].rows for name in alone} == {n: figures[n].rows for n in alone}


def test_the_beginning_of_a_name_gives_the_figures_that_are_made_with_it(drawn):
    for name in drawn[1]:
        assert sum(name.startswith(begins) for begins in _MAKERS) == 1, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_compiles_under_both_themes(drawn, theme):
    for figure in drawn[1].values():
        svg = export(figure, "svg", theme=theme)
        assert figure.title in texts(svg)
        assert config(theme)["background"].encode() in svg


def test_png_and_page_are_complete_and_need_no_network(drawn):
    figure = drawn[1]["accuracy"]
    assert export(figure, "png").startswith(b"\x89PNG")
    page = export(figure, "html").decode()
    assert "vegaEmbed" in page
    assert "<script src" not in page
    assert json.loads(export(figure, "json")) == themed(figure)


def test_drawn_rows_are_the_rows_of_the_table(drawn):
    results, figures = drawn
    table = {
        (row.task, row.weak, row.strong, row.method): asdict(row)
        for row in results.table("sweep").rows
    }
    ends = [
        f"{of}_{end}" for of in ("weak", "student", "ceiling", "pgr") for end in ("low", "high")
    ]
    columns = ["weak_accuracy", "student_accuracy", "ceiling_accuracy", "pgr", "reason", *ends]
    for name in ("accuracy", "pgr-grid", "methods-accuracy"):
        rows = figures[name].spec()["datasets"]["rows"]
        assert sorted(places(rows)) == sorted(table)
        for row, place in zip(rows, places(rows), strict=True):
            expected = table[place]
            assert all(row[column] == expected[column] for column in columns)
            assert row["runs"].split() == list(expected["runs"])


def test_medians_are_the_table_of_methods(drawn):
    results, figures = drawn
    expected = {row.method: asdict(row) for row in results.table("sweep").by_method}
    rows = [row for row in figures["methods"].rows if row["is_median"]]
    assert {row["method"] for row in rows} == set(expected)
    for row in rows:
        of_table = expected[row["method"]]
        assert (row["pgr"], row["median_low"], row["median_high"]) == tuple(
            of_table[name] for name in ("median_pgr", "median_low", "median_high")
        )


def test_curves_are_the_stores_metrics(drawn):
    results, figures = drawn
    row = figures["training"].rows[5]
    found = results.metrics(row["runs"])
    at_step = found[found["step"] == row["step"]].set_index("metric")["value"]
    for name in ("accuracy", "agreement", "loss", "log_loss"):
        assert row[name] == at_step[f"validation/{name}"]
    kept = {row["step"] for row in figures["training"].rows if row["is_kept"]}
    assert kept == {20}
    assert {row["step"] for row in figures["training"].rows if row["is_oracle"]} == {20}


def test_drawn_agreement_is_the_agreement_of_the_scores(drawn):
    results, figures = drawn
    scores = results.scores("sweep").set_index("run_id")
    names = {"all test rows": "agreement", "where the supervisor is wrong": "agreement_where_wrong"}
    rows = [row for row in figures["agreement"].rows if row["measure"] in names]
    assert len(rows) == 2 * 2 * 2 * 2 * 3  # measures, tasks, pairs, methods, seeds
    for row in rows:
        assert row["value"] == scores.loc[row["runs"], names[row["measure"]]]


def test_agreement_by_size_is_separate_for_right_and_wrong_supervisors(drawn):
    results, figures = drawn
    scores = results.scores("sweep").set_index("run_id")
    parameters = results.runs().set_index("id")["parameters"]
    rows = figures["agreement-by-size"].rows
    assert len(rows) == 2 * 2 * 2 * 2 * 3  # right and wrong, tasks, pairs, methods, seeds
    columns = {"right": "agreement_where_right", "wrong": "agreement_where_wrong"}
    for row in rows:
        assert row["value"] == scores.loc[row["runs"], columns[row["measure"].split()[-1]]]
        assert row["size"] == parameters[row["runs"]]
    assert {row["panel"].split(": ")[1] for row in rows} == {"naive", "confidence"}


def test_agreement_by_size_needs_several_sizes(tmp_path):
    _, figures = made(tmp_path, Sweep(pairs=(("small", "large"),), seeds=(0,), examples=50))
    assert "agreement" in figures
    assert "agreement-by-size" not in figures


def test_the_four_cells_are_those_of_the_cell_scores(drawn):
    results, figures = drawn
    scores = results.cell_scores("sweep").set_index("student")
    names = {"only the ceiling right": "only_ceiling_right", "both wrong": "both_wrong"}
    rows = [row for row in figures["four-cells"].rows if row["measure"] in names]
    assert len(rows) == 2 * 2 * 2 * 2 * 3  # measures, tasks, pairs, methods, seeds
    for row in rows:
        name = names[row["measure"]]
        assert row["value"] == scores.loc[row["runs"], f"student_{name}"]
        assert row["examples"] == scores.loc[row["runs"], f"n_{name}"]


def test_gains_are_means_over_the_seeds_of_the_scores(drawn):
    results, figures = drawn
    cells = results.cell_scores("sweep").set_index("student")
    scores = results.scores("sweep").set_index("run_id")
    for name, table, columns in (
        ("similarity", cells, ("weak_ceiling_capa", "gain", "union_ceiling")),
        ("misfit", scores, ("misfit", "misfit_gain")),
    ):
        assert len(figures[name].rows) == 2 * 2 * 2  # tasks, pairs, methods
        for row in figures[name].rows:
            runs = row["runs"].split()
            assert row["seeds"] == len(runs) == 3
            for column in columns:
                assert row[column] == pytest.approx(table.loc[runs, column].mean())


def test_drawn_ranks_are_the_ranking_and_bars_join_methods_within_the_critical_difference(drawn):
    results, figures = drawn
    ranks = results.ranks("sweep")
    rows = figures["ranks"].rows
    of_methods = [row for row in rows if row["mean_rank"] is not None]
    for column in ("method", "mean_rank", "mean_rank_low", "p_best"):
        assert [row[column] for row in of_methods] == ranks[column].tolist()
    assert ranks["critical_difference"][0] > ranks["mean_rank"].diff()[1]
    (bar,) = [row for row in rows if "bar" in row]
    assert (bar["method"], bar["end"]) == tuple(ranks["method"])


@pytest.mark.parametrize(
    ("mean_ranks", "joined"),
    [
        ((1.0, 1.5, 3.0, 4.0), [("a", "b")]),
        ((1.0, 1.8, 2.6, 3.4), [("a", "b"), ("b", "c"), ("c", "d")]),
        ((1.0, 1.2, 1.4, 3.4), [("a", "c")]),
        ((1.0, 2.0, 3.0, 4.0), []),
    ],
)
def test_a_group_ends_where_the_difference_is_critical(mean_ranks, joined):
    ranks = [
        SimpleNamespace(method=method, mean_rank=mean_rank, critical_difference=1.0)
        for method, mean_rank in zip("abcd", mean_ranks, strict=True)
    ]
    assert groups(ranks) == joined  # type: ignore[arg-type]


def test_seeds_are_pooled_in_the_reliability(drawn):
    """A row's bin holds the predictions of all its seeds."""
    results, figures = drawn
    rows = [
        row
        for row in figures["reliability"].rows
        if (*places([row])[0], row["role"]) == ("boolq", "small", "large", "naive", "student")
    ]
    runs = rows[0]["runs"].split()
    assert len(runs) == 3
    of_runs = [results.reliability(run).set_index("low").fillna(0.0) for run in runs]
    for row in rows:
        bins = [of_run.loc[row["low"]] for of_run in of_runs]
        assert row["count"] == sum(bin_["count"] for bin_ in bins)
        right = sum(bin_["count"] * bin_["accuracy"] for bin_ in bins)
        assert row["accuracy"] == pytest.approx(right / row["count"])
        assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert sum(row["count"] for row in rows) > 500


def test_bins_of_few_predictions_are_not_drawn():
    few, many = (Bin(0.5, 0.6, count, 0.55, 0.5) for count in (4, 6))
    assert list(_pooled([[few], [few]])) == []
    (drawn,) = _pooled([[few], [many]])
    # Wilson's interval of 5 of 10.
    assert (drawn["accuracy_low"], drawn["accuracy_high"]) == pytest.approx((0.2366, 0.7634), 1e-3)


def test_drawn_trials_are_the_stores_trials_and_the_best_value_never_falls(drawn):
    _, figures = drawn
    rows = figures["study-history"].rows
    assert [(row["number"], row["state"], row["objective"]) for row in rows] == [
        (0, "complete", 0.72),
        (1, "complete", 0.73),
        (2, "pruned", 0.74),
        (3, "complete", 0.75),
        (4, "failed", None),
        (5, "complete", 0.77),
    ]
    assert [row["best"] for row in rows] == [0.72, 0.73, 0.73, 0.75, 0.75, 0.77]
    assert [row["number"] for row in rows if row["is_winner"]] == [5]
    slices = figures["search-confidence"]
    assert {row["setting"] for row in slices.rows} == {
        "loss.alpha",
        "training.lr",
        "early_stopping.patience",
        "loss.kind",
    }
    kinds = {
        (x["title"], x["type"], x.get("scale", {}).get("type"))
        for unit in units(slices.spec())
        if (x := unit["encoding"]["x"])
    }
    assert kinds == {
        ("loss.alpha", "quantitative", "linear"),
        ("training.lr", "quantitative", "log"),
        ("early_stopping.patience", "quantitative", "linear"),
        ("loss.kind", "nominal", None),
    }


@pytest.mark.parametrize(
    ("declared", "is_log"),
    [
        ({"loguniform": [1e-5, 1e-3]}, True),
        ({"uniform": [0.0, 0.9]}, False),
        ({"choice": [1e-3, 1e-2, 1e-1]}, True),
        ({"choice": [1, 2, 4]}, False),
        ({"choice": [0.0, 0.1, 10.0]}, False),
        ({"choice": [1, "many"]}, False),
        ({"choice": [True, False]}, False),
    ],
)
def test_choices_of_different_magnitudes_have_a_logarithmic_axis(declared, is_log):
    assert search._has_magnitudes(declared) == is_log


def test_a_search_of_one_setting_has_no_importance(drawn, monkeypatch):
    results, _ = drawn
    one = {"PED-ANOVA": {"training.lr": 1.0}, "fANOVA": {"training.lr": 1.0}}
    monkeypatch.setattr(importance, "importances", lambda *_: one)
    assert figures_of(results, "sweep", only=("importance",)) == {}


def test_importances_are_shares_of_each_evaluator(drawn):
    rows = drawn[1]["importance"].rows
    shares: dict[str, float] = {}
    for row in rows:
        shares[row["evaluator"]] = shares.get(row["evaluator"], 0.0) + row["share"]
    assert shares == {"PED-ANOVA": pytest.approx(1), "fANOVA": pytest.approx(1)}
    assert "4 complete trials" in rows[0]["panel"]


def test_a_trial_is_a_line_over_axes_from_the_smallest_to_the_largest_value(drawn):
    rows = drawn[1]["parallel-confidence"].rows
    points = [row for row in rows if "tick" not in row]
    by_axis: dict[str, dict[int, Any]] = {}
    for row in points:
        by_axis.setdefault(row["axis"], {})[row["number"]] = (row["value"], row["at"])
    settings = {row["setting"] for row in drawn[1]["search-confidence"].rows}
    assert set(by_axis) == {*settings, "objective"}
    trials = {row["number"]: row for row in drawn[1]["study-history"].rows}
    assert {n: value for n, (value, _) in by_axis["objective"].items()} == {
        number: trial["objective"] for number, trial in trials.items()
    }
    assert by_axis["objective"][4] == (None, None)
    for name in ("loss.alpha", "early_stopping.patience"):
        values = [value for value, _ in by_axis[name].values()]
        for value, at in by_axis[name].values():
            assert at == pytest.approx((value - min(values)) / (max(values) - min(values)))
    rates = by_axis["training.lr"].values()
    logs = [math.log(value) for value, _ in rates]
    for value, at in rates:
        assert at == pytest.approx((math.log(value) - min(logs)) / (max(logs) - min(logs)))
    assert dict(by_axis["loss.kind"].values()) == {"confidence": 0.25, "product": 0.75}
    ticks = {(row["axis"], row["tick"]) for row in rows if "tick" in row}
    assert {("loss.kind", "product"), ("objective", "0.72"), ("objective", "0.77")} <= ticks


def test_a_missing_pgr_is_null(drawn, without_gap):
    figure = without_gap["pgr-grid"]
    (row,) = figure.rows
    assert row["pgr"] is None
    assert row["reason"]
    text = texts(export(figure, "svg"))
    assert "no clear gap" in text
    assert not [text for text in text if text.startswith(("0.00", "NaN", "null", "["))]
    for name in PGR:
        if name != "pgr-grid":
            assert all(row["pgr"] is not None for row in drawn[1][name].rows)


def test_intervals_are_drawn_where_there_are_intervals(drawn):
    _, figures = drawn
    expected = {
        "accuracy": {("weak_low", "weak_high"), ("student_low", "student_high")},
        "pgr-by-size": {("pgr_low", "pgr_high")},
        "methods": {("median_low", "median_high")},
        "methods-pgr": {("pgr_low", "pgr_high")},
        "methods-accuracy": {("student_low", "student_high")},
    }
    for name, bounds in expected.items():
        found = [fields(unit) for unit in units(figures[name].spec())]
        drawn_bounds = {(of.get("x"), of.get("x2")) for of in found}
        drawn_bounds |= {(of.get("y"), of.get("y2")) for of in found}
        assert bounds <= drawn_bounds
        assert "95 % intervals" in figures[name].caption
    assert ("ceiling_low", "ceiling_high") in {
        (of.get("y"), of.get("y2")) for of in map(fields, units(figures["accuracy"].spec()))
    }


def test_a_pgr_is_on_the_axis_and_an_interval_beyond_it_ends_in_an_arrow(tmp_path):
    _, figures = made(tmp_path, Sweep(seeds=(0, 1), examples=400))
    figure = figures["methods-pgr"]
    domains = {
        tuple(x["scale"]["domain"])
        for unit in units(figure.spec())
        if "domain" in (x := unit["encoding"].get("x", {})).get("scale", {})
    }
    ((low, high),) = domains
    assert low <= 0 < 1 <= high
    assert all(low <= row["pgr"] <= high for row in figure.rows)
    is_cut = any(row["pgr_low"] < low or row["pgr_high"] > high for row in figure.rows)
    assert ("Arrows" in figure.caption) == is_cut


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("accuracy", "weak"),
        ("pgr-by-size", "weak"),
        ("methods", "method"),
        ("methods-pgr", "method"),
        ("methods-accuracy", "method"),
        ("agreement", "method"),
        ("agreement-by-size", "weak"),
        ("ranks", "method"),
        ("four-cells", "method"),
        ("similarity", "method"),
        ("misfit", "method"),
        ("training", "measure"),
        ("reliability", "role"),
        ("study-history", "state"),
    ],
)
def test_categories_differ_in_colour_and_in_shape_or_dash(drawn, name, channel):
    found = [fields(unit) for unit in units(drawn[1][name].spec())]
    assert any(of.get("color") == channel for of in found)
    assert any(channel in (of.get("shape"), of.get("strokeDash")) for of in found)
    svg = export(drawn[1][name], "svg").decode()
    assert svg.count("<path") > 0


def test_shape_and_dash_together_distinguish_ten_supervisors():
    looks = zip(cycled(SHAPES, 10), cycled(DASHES, 10), strict=True)
    assert len(set(looks)) == 10
    assert math.gcd(len(SHAPES), len(DASHES)) == 1


def test_charts_use_colours_of_the_theme_only(drawn):
    """A chart is shown under either theme, so it must not bring colours with it."""
    for figure in drawn[1].values():
        spec = json.dumps({**figure.spec(), "datasets": {}})
        if figure.name.startswith("pgr-grid"):
            spec = spec.replace("#000000", "").replace("#ffffff", "")  # on the shades
        assert '"#' not in spec


def axes(svg: bytes) -> list[list[str]]:
    """The texts of each axis' ticks."""
    groups = [each for each in ElementTree.fromstring(svg).iter() if "class" in each.attrib]
    labels = (each for each in groups if "role-axis-label" in each.attrib["class"])
    return [[text for one in group if (text := "".join(one.itertext()))] for group in labels]


def test_the_ticks_of_an_axis_differ_where_values_are_close(tmp_path):
    """Fixed digits make close ticks equal: 0.69 0.69 0.69."""
    close = {"small": 0.69, "medium": 0.692, "large": 0.694}
    _, figures = made(tmp_path, Sweep(seeds=(0, 1), accuracy=close, searched="confidence"))
    for name, figure in figures.items():
        found = axes(export(figure, "svg"))
        assert found or name.startswith("parallel"), name
        for texts_of_axis in found:
            assert len(set(texts_of_axis)) == len(texts_of_axis), (name, texts_of_axis)


def test_one_model_has_one_size_whatever_is_trained_of_it(tmp_path):
    """Adapters add parameters to some of its fits, and a probe on activations has only a head."""
    sweep = Sweep(seeds=(0,))
    store, wanted = make_store(tmp_path, sweep), {}
    for path in (tmp_path / "runs").glob("*/record.json"):
        record = Record.model_validate_json(without_checksum(path.read_bytes()))
        base = record.summary["parameters"]
        wanted[record.about["model"]] = base
        recipe, summary = record.recipe, dict(record.summary)
        recipe["model"] = record.about["model"]
        if record.about["method"] == "naive":
            recipe["training"]["tuning"] = {"kind": "lora"}
            summary |= {"parameters": base + 576, "trained_parameters": 576}
        elif record.about["method"] == "confidence":
            summary |= {"parameters": 34, "trained_parameters": 34}
        changed = record.model_copy(update={"recipe": recipe, "summary": summary})
        path.write_bytes(changed.to_json())
    figures = figures_of(Results(store), "sweep")
    for row in figures["accuracy"].rows:
        assert row["student_x"] == row["ceiling_x"] == wanted[row["strong"]]
        assert row["weak_x"] == wanted[row["weak"]]
    assert {row["size"] for row in figures["agreement-by-size"].rows} == {
        wanted["medium"],
        wanted["large"],
    }
    ticks = {tick for axis in axes(export(figures["accuracy"], "svg")) for tick in axis}
    assert {"10k", "40k", "160k"} <= ticks


def test_a_size_has_at_most_three_digits_on_its_axis():
    axis = sizes_axis("size", [40576.0, 40600.0, 1_234_567.0], x="parameters").to_dict()["axis"]
    assert axis["values"] == [40576.0, 1_234_567.0]  # 40.6k twice would be one label
    assert "'.3~s'" in axis["labelExpr"]


def test_marks_without_a_line_or_a_relation_are_no_figure(tmp_path):
    one = Sweep(pairs=(("small", "large"),), methods=("naive",), seeds=(0,), examples=50)
    _, figures = made(tmp_path, one)
    left_out = {"pgr-by-size", "agreement-by-size", "similarity", "misfit"}
    assert not left_out & figures.keys()


def test_a_supervisor_with_students_of_one_size_is_in_no_figure_of_lines(tmp_path):
    pairs = (("small", "medium"), ("small", "large"), ("medium", "large"))
    _, figures = made(tmp_path, Sweep(pairs=pairs, seeds=(0,), examples=400))
    for name in ("pgr-by-size", "agreement-by-size"):
        assert {row["weak"] for row in figures[name].rows} == {"small"}
    assert {row["weak"] for row in figures["accuracy"].rows} == {"small", "medium"}


def test_panels_of_many_methods_are_at_most_four_side_by_side(tmp_path):
    methods = [f"method {n}" for n in range(COLUMNS + 1)]
    sweep = Sweep(methods=methods, seeds=(0,), examples=50, pairs=(("small", "large"),))
    _, figures = made(tmp_path, sweep)
    for name in ("accuracy", "pgr-grid", "training", "reliability"):
        spec = figures[name].spec()
        assert spec["columns"] == COLUMNS
        shown = "".join(texts(export(figures[name], "svg")))
        assert all(f"sciq: {m}" in shown or f"large: {m}" in shown for m in methods), name


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_colours_of_the_dark_theme_stand_out_from_the_ground():
    dark = config("dark")
    assert all(contrast(c, dark["background"]) > 4.5 for c in dark["range"]["category"])
    assert len(set(dark["range"]["category"])) == len(config("light")["range"]["category"])


def test_x_is_the_records_parameters_or_flops(drawn, tmp_path):
    results, figures = drawn
    by_flops = figures_of(results, "sweep", x="flops")
    runs = results.runs().set_index("id")
    for name, of in (("parameters", figures), ("flops", by_flops)):
        row = of["accuracy"].rows[0]
        student = runs.loc[row["runs"].split()[1]]
        assert student["model"] == row["strong"]
        wanted = student["parameters"] * (1 if name == "parameters" else 1e6)
        assert row["student_x"] == row["ceiling_x"] == wanted
    with pytest.raises(ValueError, match="x is 'size'; choose among parameters, flops"):
        figures_of(results, "sweep", x="size")  # type: ignore[arg-type]


def test_models_of_unknown_size_are_left_out_of_the_figures_by_size(tmp_path):
    store = make_store(tmp_path, Sweep(seeds=(0,)))
    for path in (tmp_path / "runs").glob("*/record.json"):
        data = without_checksum(path.read_bytes()).replace(b'"parameters"', b'"weights"')
        path.write_bytes(with_checksum(data))
    figures = figures_of(Results(store), "sweep")
    assert "accuracy" not in figures
    assert "methods-accuracy" in figures


def test_a_figure_with_many_panels_is_split_by_task(tmp_path):
    tasks = [f"task {i}/x" for i in range(PANELS // 2 + 1)]
    sweep = Sweep(tasks=tasks, pairs=(("small", "large"),), seeds=(0,), examples=20)
    _, figures = made(tmp_path, sweep)
    first = figures["accuracy-1-task-0-x"]
    assert first.task == "task 0/x"
    assert {row["task"] for row in first.rows} == {"task 0/x"}
    assert first.title.endswith("task 0/x")
    assert len([name for name in figures if name.startswith("accuracy-")]) == len(tasks)


def test_long_names_are_wrapped_and_not_truncated(tmp_path):
    method = "confidence_with_a_long_method_name_and_more"
    _, figures = made(tmp_path, Sweep(methods=("naive", method), seeds=(0,), examples=50))
    for name in ("accuracy", "methods-accuracy"):
        text = "".join(texts(export(figures[name], "svg")))
        assert method in text.replace("\n", "")


def test_rows_have_the_fields_that_the_page_filters_by(drawn):
    for figure in drawn[1].values():
        for row in figure.rows:
            is_of_method = "median_pgr" in row or "mean_rank" in row
            assert {"weak", "strong", "method"} <= row.keys() or is_of_method
            assert row.get("runs") or is_of_method


def test_a_chart_has_its_data(drawn):
    """`chart` is what a notebook shows: the same specification, checked by Altair."""
    figure = drawn[1]["methods"]
    assert figure.chart.to_dict()["datasets"] == figure.spec()["datasets"]


def test_an_unknown_sweep_is_refused(drawn):
    with pytest.raises(StoreError, match="no sweep 'nope'"):
        figures_of(drawn[0], "nope")
