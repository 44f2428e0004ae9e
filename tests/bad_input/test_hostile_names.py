"""Names and reasons out of sweep files and stores are data: on the terminal, in files, in figures.

A small store whose tasks, models, methods and reasons are markup, formulas, scripts and escape
sequences goes through every command that shows a store.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from tests.report.figures.stores import Sweep, make_store
from tests.store.builders import a_record, an_id
from w2s_ray.cli import app
from w2s_ray.printable import printable
from w2s_ray.report import latex, markdown
from w2s_ray.store import Store

SCRIPT = "</script><script>window.hurt=1</script>"
RED = "\x1b[31mred"
TASKS = ("=1+1", "a[/b]")
MODELS = (RED, "[/b]", "'\"\\{x}")
METHODS = ("naive", f"a|b {SCRIPT}", "[bold]*x* _y_ `z` ![i](u)")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
FAILED = an_id("failed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "res [v2]"
    sweep = Sweep(
        tasks=TASKS,
        models=MODELS,
        pairs=((RED, "[/b]"), (RED, MODELS[2])),
        methods=METHODS,
        searched=METHODS[1],
        examples=40,
    )
    store = make_store(folder, sweep)
    reason = f"[/red] {RED} {SCRIPT} =1"
    store.write_attempt(
        a_record(
            id=FAILED,
            status="failed",
            cause="error",
            reason=reason,
            accuracy=None,
            traceback=f"Traceback\n  {reason}",
            about={"task": TASKS[1], "model": "[/b]", "method": METHODS[1]},
        )
    )
    return folder


def shown(*arguments: object) -> str:
    """What a command prints; it must succeed, and print nothing that a terminal obeys."""
    run = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert run.exit_code == 0, run.output
    assert not CONTROL.search(run.output)
    return run.output


def test_tables_show_names_as_they_are(folder):
    for option in ([], ["--by-seed"], ["--pivot"], ["--cost"]):
        text = shown("table", "--store", folder, *option)
        assert "[/b]" in text
        assert "=1+1" in text
        assert r"\x1b[31mred" in text
        assert "[bold]*x* _y_" in text
    assert "[bold]*x* _y_" in shown("compare", "--store", folder)


@pytest.mark.parametrize("command", [["table"], ["table", "--by-seed"], ["table", "--pivot"]])
def test_csv_has_no_formula(folder, command):
    text = shown(*command, "--store", folder, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {"'=1+1", "a[/b]"} <= {row["task"] for row in rows}
    assert not [cell for row in rows for cell in row.values() if is_formula(cell)]


def is_formula(cell: str) -> bool:
    return cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not re.fullmatch(
        r"-?[\d.]+(e-?\d+)?", cell
    )


def test_comparisons_and_queries_are_csv_without_formulas(folder):
    text = shown("compare", "--store", folder, "--format", "csv")
    assert not [c for row in csv.reader(io.StringIO(text)) for c in row if is_formula(c)]
    sql = "select '=1+1' as a, '-x' as b, -1.5 as c, -2 as d, '+1' as \"=e\""
    text = shown("query", sql, "--store", folder, "--format", "csv")
    assert text == "a,b,c,d,'=e\n'=1+1,'-x,-1.5,-2,'+1\n"


@pytest.mark.parametrize("command", [["table"], ["table", "--by-seed"], ["table", "--pivot"]])
def test_markdown_has_neither_html_nor_markup(folder, command):
    text = shown(*command, "--store", folder, "--format", "markdown")
    assert "<" not in text
    assert "&lt;/script&gt;" in text
    assert r"\*x\* \_y\_ \`z\` \!\[i\](u)" in text or r"!\[i" in text or r"\![i\](u)" in text
    columns = {
        line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("| ")
    }
    assert all(count > 2 for count in columns)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b_c 0.5 [0.4, 0.6]", "a_b_c 0.5 [0.4, 0.6]"),
        ("_a_ *b* ~c~ `d` $e$ f|g h\\i", r"\_a\_ \*b\* \~c\~ \`d\` \$e\$ f\|g h\\i"),
        ("[a](b) ![c][d] [e]: f", r"[a\](b) \![c\][d] [e\]: f"),
        ("<b> &lt; a & b", "&lt;b&gt; &amp;lt; a & b"),
        ("a\nb\r\nc\x1bd", r"a b c\\x1bd"),
    ],
)
def test_markdown_is_escaped_where_it_would_be_markup(text, escaped):
    assert markdown.escaped(text) == escaped


def test_latex_has_no_control_characters():
    assert latex.escaped("a\x1bb\nc_\x07") == r"a\textbackslash{}x1bb c\_\textbackslash{}x07"


def test_json_has_the_names_themselves(folder):
    rows = json.loads(shown("table", "--store", folder, "--format", "json"))["rows"]
    assert {row["weak"] for row in rows} == {RED}


def test_queries_show_cells_and_headings_as_they_are(folder):
    sql = "select distinct task, weak, '[/x]' as \"[/y]\" from cells order by task"
    text = shown("query", sql, "--store", folder)
    for found in ("=1+1", "a[/b]", "[/x]", "[/y]", r"\x1b[31mred"):
        assert found in text


def test_a_run_is_explained_as_it_is(folder):
    text = shown("explain", FAILED, "--store", folder)
    assert r"failed: [/red] \x1b[31mred </script>" in text
    assert text.count("[/red]") >= 3


def test_the_status_of_a_store_names_it_as_it_is(folder):
    text = shown("status", "--store", folder)
    assert "res [v2]: " in text.replace("\n", "")
    assert "a[/b]" in text


def test_the_report_holds_no_script_of_a_name(folder, tmp_path):
    out = tmp_path / "page [b].html"
    assert "page [b].html: " in shown("report", "--store", folder, "--out", out)
    page = out.read_text(encoding="utf-8")
    assert SCRIPT not in page
    assert "window.hurt" in page


def test_figures_are_drawn_and_hold_no_script_of_a_name(folder, tmp_path):
    names = ("accuracy", "pgr-grid", "training", "agreement-by-size", "study-history")
    only = [word for name in names for word in ("--only", name)]
    shown("figures", "--store", folder, "--out", tmp_path, "--format", "svg,html,json", *only)
    made = tmp_path / "sweep"
    assert {path.stem for path in made.iterdir()} == set(names)
    for path in made.glob("*.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert not tags & {"script", "a", "img", "image", "foreignObject"}
    for path in made.glob("*.html"):
        assert SCRIPT not in path.read_text(encoding="utf-8")
    for path in made.glob("*.json"):
        assert not CONTROL.search(path.read_text(encoding="utf-8"))


def test_a_search_of_a_hostile_name_is_drawn(folder, tmp_path):
    text = shown("figures", "--store", folder, "--out", tmp_path)
    (searched,) = re.findall(r"search-\S+(?=:)", text)
    svg = (tmp_path / "sweep" / f"{searched}.svg").read_text(encoding="utf-8")
    assert printable(RED) in svg
    assert svg.count("<path") > 20


SWEEP = """\
name: t
task: {name: "b[/b]", path: "d ata [1].csv", columns: {text: text, label: label},
  train: 40, validation: 8, test: 8}
models: [{name: "embedded:s", label: "[/b]"}, {name: "embedded:xs", label: "=1"}]
methods: {"a[/b]": {}}
store: "res [/old] v2"
"""


def test_a_plan_shows_names_unchanged_and_warns_about_the_order_of_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"text number {i},{i % 2}\n" for i in range(100))
    Path("d ata [1].csv").write_text("text,label\n" + rows)
    Path("s [x].yaml").write_text(SWEEP)
    text = shown("plan", "s [x].yaml", "--runs")
    assert "results in" in text
    assert "res [/old] v2" in text
    assert "task b[/b]: " in text
    assert "model [/b] (embedded:s" in text
    assert "student =1 taught by [/b], a[/b] on b[/b], seed 0" in text
    assert (
        "the weak model [/b] has more parameters (17,864) than its strong model =1 (13,254)" in text
    )
    Path("s.yaml").write_text(SWEEP.replace('"embedded:s"', '"embedded:xs"'))
    assert "warning" not in shown("plan", "s.yaml")
    assert not Store.open("res [/old] v2").exists()


def test_progress_shows_names_unchanged():
    from w2s_ray.execute.progress_display import ProgressCounts, ProgressDisplay
    from w2s_ray.plain_console import PlainConsole
    from w2s_ray.status.run_state import ProgressSnapshot

    console = PlainConsole(file=io.StringIO(), width=200)
    display = ProgressDisplay(console, progress_tracker=None)
    display.snapshot = ProgressSnapshot(steps={"run": (1, 2)})
    tally = ProgressCounts(names={"run": f"student [/b] {RED}"}, total=2)
    display.print_line(f"failed student [/b]: [/red] {RED}", tally)
    console.print(display._picture(tally))
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert r"failed student [/b]: [/red] \x1b[31mred" in text
    assert r"student [/b] \x1b[31mred" in text.splitlines()[-1]
    assert not CONTROL.search(text)


def test_every_console_of_the_package_is_a_plain_one():
    package = Path(__file__).parents[2] / "w2s_ray"
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    makes = [
        path.name
        for path, text in sources.items()
        if re.search(r"(?<!Plain)(?<!Notebook)Console\(", text)
    ]
    assert makes == []
    assert not [path.name for path, text in sources.items() if "rich.markup" in text]
