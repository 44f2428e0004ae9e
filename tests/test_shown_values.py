"""How plans, outcomes, results, tables and figures show themselves, also in a notebook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.text import Text

import w2s_ray.notebook
from tests.plan.test_plan import inputs
from tests.report.figures.stores import Sweep as StoredSweep
from tests.report.figures.stores import make_store
from tests.report.stored import cells_of, write_sweep
from w2s_ray import open_results
from w2s_ray.config import load_sweep, parse_sweep, sweep_text
from w2s_ray.errors import InputError
from w2s_ray.execute.outcome import Outcome
from w2s_ray.execute.progress_display import ProgressCounts, ProgressDisplay
from w2s_ray.notebook import NotebookConsole, in_notebook, progress_console
from w2s_ray.plan import Plan, make_plan
from w2s_ray.printable import printable
from w2s_ray.report import figures
from w2s_ray.report.results import Results
from w2s_ray.short_table import ShortTable, shortened
from w2s_ray.store import Store, StoreError
from w2s_ray.store.manifests import Manifests

HOSTILE = "<img src=x onerror=hurt()> & \x1b[31m\u202e"
SEARCH = """
  confidence: {loss: {kind: confidence}, search: {loss.alpha: {uniform: [0.0, 0.9]}}}
search: {trials: 4, objective: weak_validation}"""


def a_plan(more: str = "") -> Plan:
    sweep = parse_sweep(
        "name: grid\ntask: {name: creak, train: 100, validation: 20, test: 20}\n"
        "models: [s, m, l]\nseeds: [0, 1]\nmethods:\n  naive: {}" + more
    )
    return make_plan(sweep, inputs())


def test_a_table_is_aligned_and_markup_and_control_characters_are_escaped():
    table = ShortTable(HOSTILE, ("name", HOSTILE), ((HOSTILE, 1), ("b", 20)), notes=(HOSTILE,))
    lines = table.text().splitlines()
    assert len(lines) == 5
    assert lines[3].split() == ["b", "20"]
    assert len(lines[1]) == len(lines[2]) == len(lines[3])
    assert "\x1b" not in table.text() + table.html()
    assert "\u202e" not in table.text() + table.html()
    tags = set(re.findall(r"<(\w+)", table.html()))
    assert tags == {"div", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert '<td style="text-align: right">20</td>' in table.html()


def test_a_table_without_rows_is_its_title_and_notes():
    table = ShortTable("title", ("a",), notes=("note",))
    assert table.text() == "title\nnote"
    assert table.html() == "<div><b>title</b><div>note</div></div>"


def test_a_long_list_is_shortened():
    assert shortened(map(str, range(3)), most=3) == ("0", "1", "2")
    assert shortened(map(str, range(9)), most=3) == ("0", "1", "2", "... and 6 more")


def test_a_plan_shows_its_size_and_its_fits():
    lines = repr(a_plan()).splitlines()
    assert lines[0] == "Plan of grid: 1 task x 3 pairs x 1 method x 2 seeds = 6 cells"
    assert [line.split() for line in lines[1:-1]] == [
        ["fits", "to", "train", "shared"],
        ["supervisor", "4", "2"],
        ["ceiling", "4", "2"],
        ["student", "6", "0"],
    ]
    assert lines[-1] == "14 fits; `run_sweep` trains what the store lacks"
    assert "at most " in repr(a_plan(SEARCH))
    assert "studies" in repr(a_plan(SEARCH))
    assert "<td" in a_plan()._repr_html_()


def test_an_outcome_shows_counts_and_reasons():
    plan = a_plan()
    first = next(iter(plan.fits))
    complete = Outcome(plan, done=14, trained=3)
    assert repr(complete).splitlines()[0] == "grid: complete"
    assert "continues" not in repr(complete)
    failed = Outcome(plan, done=2, trained=3, failed={first: HOSTILE, "gone": "why"})
    lines = repr(failed).splitlines()
    assert lines[0] == "grid: failed"
    assert [line.split()[-1] for line in lines[2:6]] == ["14", "2", "3", "2"]
    assert lines[6].startswith(f"failed: {plan.fits[first].description}: <img")
    assert lines[7:] == ["failed: gone: why", "the same call continues the sweep"]
    assert "<img" not in failed._repr_html_()
    stopped = Outcome(plan, done=2, trained=3, stopped="Ctrl-C", spent="1 of 2 USD", left=4)
    assert repr(stopped).splitlines()[0] == "grid: stopped by Ctrl-C"
    assert repr(stopped).splitlines()[-2:] == ["1 of 2 USD", "the same call continues the sweep"]


def test_results_show_their_sweeps_and_read_no_figures(tmp_path):
    store = Store.open(tmp_path / "results")
    assert repr(Results(store)).splitlines()[1] == "no sweep yet"
    cells = cells_of(tasks=("a", "b"), methods=("naive", "other"), seeds=2)
    students = {("a", "naive"): 0.7, ("b", "naive"): 0.7}
    write_sweep(store, cells, students=students)
    results = open_results(store.uri)
    title, head, row = repr(results).splitlines()
    assert title == f"Results in {store.uri}"
    assert head.split() == ["sweep", "tasks", "pairs", "methods", "seeds", "runs", "done"]
    assert row.split() == ["sweep", "2", "1", "2", "2", "16", "12"]


def test_results_that_cant_be_read_say_so(tmp_path, monkeypatch):
    def sweeps(self):
        raise StoreError(HOSTILE)

    monkeypatch.setattr(Manifests, "sweeps", sweeps)
    results = Results(Store.open(tmp_path / "results"))
    assert repr(results).splitlines()[1].startswith("<img")
    assert "<img" not in results._repr_html_()


def test_a_table_shows_itself_as_the_command_prints_it(tmp_path):
    store = Store.open(tmp_path / "results")
    cells = cells_of(tasks=("a",), methods=("naive",))
    write_sweep(store, cells, students={("a", "naive"): 0.75})
    table = open_results(store.uri).table()
    assert "accuracy in %" in repr(table)
    assert "small → large" in repr(table)
    assert "60.0" in repr(table)
    assert "<td" in table._repr_html_()
    assert repr(open_results(store.uri).table().__class__((), (), ())) == "PgrTable: no rows"


def test_a_figure_shows_itself_as_a_picture(tmp_path, monkeypatch):
    results = open_results(make_store(tmp_path, StoredSweep(seeds=(0,), methods=("naive",))).uri)
    figure = results.figure("accuracy")
    assert figure.name == "accuracy"
    assert figure._repr_svg_().startswith("<svg")
    assert repr(figure).startswith("Figure accuracy: ")
    assert len(repr(figure)) < 200
    monkeypatch.setattr(figures, "figures_of", lambda *_, **options: {"accuracy": figure})
    assert results.figures("sweep", x="flops") == {"accuracy": figure}
    with pytest.raises(InputError, match="figure is 'none'; the sweep has the figures accuracy"):
        results.figure("none")


def test_a_figure_of_several_sweeps_needs_a_name(tmp_path):
    store = Store.open(tmp_path / "results")
    for name in ("one", "two"):
        cells = cells_of(tasks=("a",), methods=("naive",))
        write_sweep(store, cells, students={("a", "naive"): 0.75}, name=name)
    with pytest.raises(InputError, match="has the sweeps one, two; name one"):
        open_results(store.uri).figure("accuracy")


def test_a_sweep_built_in_python_is_kept_as_the_text_of_a_file():
    for file in Path("sweeps").rglob("*.yaml"):
        sweep = load_sweep(file)
        assert parse_sweep(sweep_text(sweep), folder=file.parent) == sweep, file


def test_bad_input_is_one_line_in_a_notebook():
    assert InputError(HOSTILE, "two")._render_traceback_() == [f"error: {printable(HOSTILE)}\ntwo"]


def test_this_process_is_no_notebook():
    assert not in_notebook()
    assert not isinstance(progress_console(), NotebookConsole)


@pytest.fixture
def outputs(monkeypatch) -> dict[str, dict[str, str]]:
    """Id of an output -> its content."""
    import IPython.display

    found: dict[str, dict[str, str]] = {}

    def display(content, *, raw, display_id, update):
        assert raw
        assert update == (display_id in found)
        found[display_id] = content

    monkeypatch.setattr(IPython.display, "display", display)
    return found


def test_progress_in_a_notebook_is_one_output_that_is_replaced(outputs, monkeypatch, capsys):
    monkeypatch.setattr(w2s_ray.notebook, "in_notebook", lambda: True)
    console = progress_console()
    counts = ProgressCounts(names={}, total=4)
    with console.status("starting Ray", spinner="dots") as status:
        assert [one["text/plain"].strip() for one in outputs.values()] == ["starting Ray"]
        status.update("still starting")
    assert [one["text/plain"].strip() for one in outputs.values()] == [""]
    with ProgressDisplay(console, progress_tracker=None) as display:
        for done in range(1, 5):
            counts.done = done
            display.print_line(f"done {HOSTILE} {done}", counts)
            console.update(f"{done} of 4")
            (content,) = outputs.values()
            assert f"{done} of 4" in content["text/plain"]
            assert content["text/plain"].count("after 0 s)") == 1
            assert "<img" not in content["text/html"]
            assert "\x1b" not in content["text/html"] + content["text/plain"]
    (content,) = outputs.values()
    assert re.search(r"done .* 4 .*\(4/4 after 0 s\)", content["text/plain"])
    assert len(content["text/plain"].strip().splitlines()) == 1
    with console.status("ending Ray"):
        (content,) = outputs.values()
        assert content["text/plain"] == "ending Ray\n"
    assert "(4/4 after 0 s)" in next(iter(outputs.values()))["text/plain"]
    console.warn(Text("stays"))
    console.print("next")
    (content,) = outputs.values()
    assert content["text/plain"].split() == ["stays", "next"]
    assert capsys.readouterr() == ("", "")
