"""Wrong plugins: each gives one line with its file and the remedy, exit code 2, nothing on stdout.

A table of plugin files, one of entries of `plugins`, and one of sweeps that use a right plugin
wrongly.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.plugins.written import CLASS, LOSS, TASK, TRANSFORM, sweep_with, write_plugin
from w2s_ray.cli import app

NOISE = "print('on stdout')\n"
FILES: dict[str, tuple[str, str]] = {
    "a syntax error": ("def broken(:\n", "mine.py:4: not valid Python: invalid syntax"),
    "an error at import": ("x = 1\ny = x / 0\n", "mine.py:5: ZeroDivisionError: division by zero"),
    "an exit at import": ("raise SystemExit(0)\n", "mine.py:4: SystemExit: 0"),
    "a module that is missing": (
        "import helper_beside_it\n",
        "mine.py:4: ModuleNotFoundError: No module named 'helper_beside_it'",
    ),
    "output at import": (NOISE, "mine.py registers nothing; put @w2s.loss"),
    "nothing registered": ("", "mine.py registers nothing; put @w2s.loss, @w2s.transform, @w2s"),
    "a kind twice": (
        LOSS + CLASS,
        "mine.py has two of 'loss mine'; rename one",
    ),
    "a loss of the package": (
        LOSS.replace("mine", "kl"),
        "mine.py:5: the package has the kind 'kl' already; give the loss another kind",
    ),
    "a stage of the package": (
        TRANSFORM.replace("sharper", "ensemble"),
        "the package has the kind 'ensemble' already; give the transform another kind",
    ),
    "no class of losses": (
        "@w2s.loss\nclass Mine: pass\n",
        "mine.py:4: @w2s.loss is above Mine, which is no w2s.Loss; make it one",
    ),
    "no function": ("w2s.loss(3)\n", "mine.py:4: @w2s.loss is above 3, which is no function"),
    "a class without a kind": (
        CLASS.replace('    kind: Literal["mine"] = "mine"\n', ""),
        'loss Mine has no kind; add the line kind: Literal["mine"] = "mine"',
    ),
    "a kind that is not fixed": (
        CLASS.replace('Literal["mine"]', "str"),
        'loss Mine has no kind; add the line kind: Literal["mine"] = "mine"',
    ),
    "a kind with a dot": (
        CLASS.replace('"mine"', '"my.loss"'),
        "loss kind 'my.loss' has other characters than letters, digits, _",
    ),
    "a class without a computation": (
        CLASS.replace("def each", "def other"),
        "loss Mine overrides neither each nor target; add one",
    ),
    "ground truth in a signature": (
        CLASS.replace("labels_BC, *,", "labels_BC, truth_B, *,"),
        "Mine.each can't be called as each(self, logits_BC, labels_BC, statistic=..., "
        "progress=...): missing a required argument: 'truth_B'",
    ),
    "a signature without progress": (
        CLASS.replace(", progress", ""),
        "Mine.each can't be called as each(self, logits_BC, labels_BC, statistic=..., "
        "progress=...): got an unexpected keyword argument 'progress'",
    ),
    "a function of three": (
        LOSS.replace("labels_BC, *,", "labels_BC, truth_B, *,"),
        "loss mine has the parameters (logits_BC, labels_BC, truth_B) before `*`; write "
        "mine(logits_BC, labels_BC, *, setting: float = 0.5)",
    ),
    "a setting without a type": (
        LOSS.replace("q: Annotated[float, Field(gt=0, le=1)] = 0.7", "q=0.7"),
        "loss mine: write q: TYPE = DEFAULT, as for every setting",
    ),
    "a setting called source": (
        CLASS.replace("q: float", "source: float"),
        "loss Mine has a setting 'source'; give it another name",
    ),
    "a statistic that is never computed": (
        CLASS + "    def statistic(self, p1_W, labels_BC): return p1_W.mean()\n",
        "loss Mine overrides statistic, which is computed only with needs_whole_batch = True",
    ),
    "a transform with ground truth": (
        "@w2s.transform\nclass Cheat(w2s.Transform):\n    kind: Literal['cheat'] = 'cheat'\n"
        "    uses_ground_truth = True\n    def apply(self, rows): return rows\n",
        "transform Cheat has uses_ground_truth, which a plugin can't have; remove it",
    ),
    "a transform with a slice of ground truth": (
        "@w2s.transform\nclass Cheat(w2s.Transform):\n    kind: Literal['cheat'] = 'cheat'\n"
        "    @property\n    def truth_slice(self): return 64\n"
        "    def apply(self, rows): return rows\n",
        "transform Cheat has a truth_slice, which a plugin can't have; remove it",
    ),
    "a transform of something else": (
        TRANSFORM.replace("labels_NC, *", "labels_NC, truth_N, *"),
        "transform sharper has the parameters (labels_NC, truth_N) before `*`",
    ),
    "a task with a parameter": (
        TASK.replace("numbers()", "numbers(rows)"),
        "task numbers is called without arguments: missing a required argument: 'rows'",
    ),
}
ENTRIES: dict[str, tuple[str, str]] = {
    "no file": ("plugins: [nowhere.py]", "plugins: no plugin file at FOLDER/nowhere.py; restore"),
    "a folder": ("plugins: [./]", "plugins: FOLDER is a folder; give a Python file"),
    "a device": ("plugins: [/dev/zero]", "/dev/zero is a pipe, a socket or a device; give a Pyth"),
    "no module": (
        "plugins: [no_such_module.losses]",
        "plugins: 'no_such_module.losses' is neither a file nor a module that can be imported here",
    ),
    "a module without source": ("plugins: [sys]", "plugins: module sys has no Python source"),
    "a module that registers nothing": ("plugins: [colorsys]", "colorsys.py registers nothing"),
    "a URL": ("plugins: ['https://x.org/p.py']", "plugins: 'https://x.org/p.py' is a URL"),
    "no list": ("plugins: mine.py", "plugins: write a list, [value, ...] (got 'mine.py')"),
    "no name": ("plugins: [3]", "plugins.0: 3 is no plugin; write the path of a file, or a module"),
    "not UTF-8": ("plugins: [latin.py]", "latin.py: byte 0 is not UTF-8; save the file as UTF-8"),
    "the same kind in two": (
        "plugins: [mine.py, other.py]",
        "plugins: mine.py and other.py both have 'mine'; rename one",
    ),
}
USES: dict[str, tuple[str, str]] = {
    "a misspelt kind": ("{loss: {kind: minee}}", "unknown kind 'minee'; did you mean 'mine'?"),
    "a misspelt setting": (
        "{loss: {kind: mine, qq: 1}}",
        "methods.a.loss.qq: unknown key 'qq'; did you mean 'q'?",
    ),
    "a value out of bounds": (
        "{loss: {kind: mine, q: 2}}",
        "methods.a.loss.q: Input should be less than or equal to 1 (got 2)",
    ),
    "a searched value out of bounds": (
        "{loss: {kind: mine}, search: {loss.q: {uniform: [0.5, 2]}}}",
        "loss.q = 2.0: loss.q: Input should be less than or equal to 1 (got 2.0)",
    ),
    "a searched setting that is not there": (
        "{loss: {kind: mine}, search: {loss.p: {uniform: [0.5, 2]}}}",
        "loss.p is not a setting: unknown key 'p'; known: kind, q, source",
    ),
    "an unknown setting in one_of": (
        "{search: {loss: {one_of: [{kind: mine, p: 1}]}}}",
        "loss.one_of.mine.p: unknown key 'p'; known: kind, q, source",
    ),
    "a loss as a stage": ("{stages: [{kind: mine}]}", "unknown kind 'mine'; known: generative"),
    "another source": (
        "{loss: {kind: mine, source: abc}}",
        "methods.a.loss.source: write '",
    ),
}


def refused(file: Path) -> str:
    """The one line that `w2s plan` prints."""
    run = CliRunner().invoke(app, ["plan", str(file)])
    assert run.exit_code == 2, run.output
    assert run.stdout == ""
    lines = [line for line in run.stderr.splitlines() if line != NOISE[7:-3]]
    assert len(lines) == 1, run.stderr
    assert "Traceback" not in run.stderr
    return lines[0]


@pytest.mark.parametrize(("text", "line"), FILES.values(), ids=FILES)
def test_a_wrong_plugin_file_is_one_line(tmp_path, text, line):
    write_plugin(tmp_path / "mine.py", text)
    found = refused(sweep_with(tmp_path, methods="naive: {}"))
    assert line in found
    assert f"sweep.yaml:2: plugins: {tmp_path}/mine.py" in found
    run = CliRunner().invoke(app, ["check", str(tmp_path / "mine.py")])
    assert run.exit_code == 2
    assert line in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize(("plugins", "line"), ENTRIES.values(), ids=ENTRIES)
def test_a_wrong_entry_of_plugins_is_one_line(tmp_path, plugins, line):
    write_plugin(tmp_path / "mine.py", LOSS)
    write_plugin(tmp_path / "other.py", CLASS)
    (tmp_path / "latin.py").write_bytes(b"\xe9")
    found = refused(sweep_with(tmp_path, methods="naive: {}", plugins=plugins))
    assert line.replace("FOLDER", str(tmp_path)) in found
    assert "sweep.yaml:2: " in found


@pytest.mark.parametrize(("method", "line"), USES.values(), ids=USES)
def test_a_wrong_use_of_a_plugin_is_one_line(tmp_path, method, line):
    write_plugin(tmp_path / "mine.py", LOSS)
    more = "search: {trials: 2, on: [['embedded:xs', 'embedded:s']]}"
    assert line in refused(sweep_with(tmp_path, methods=f"a: {method}", more=more))


ROWS: dict[str, tuple[str, str]] = {
    "an error": (
        TASK.replace("range(400)", "range(1 // 0)"),
        "mine.py:7: ZeroDivisionError: integer",
    ),
    "no rows": (
        "@w2s.task\ndef numbers(): return []\n",
        "its function gives no rows",
    ),
    "one text": ("@w2s.task\ndef numbers(): return 'x'\n", "its function gives 'x'; yield rows"),
    "no mapping": ("@w2s.task\ndef numbers(): yield 3\n", "row 1 is 3; give a mapping of columns"),
    "an unknown column": (
        TASK.replace('"text"', '"words"'),
        "task numbers: row 1: words: unknown key 'words'; known: text, label, ",
    ),
    "another form": (
        TASK.replace('"label": i % 2', '"answer": "a"'),
        "the form 'answers', but @w2s.task has the form 'classes'; write @w2s.task(form='answers')",
    ),
    "an unknown form": (
        TASK.replace("@w2s.task", "@w2s.task(form='classses')"),
        "@w2s.task has the form 'classses'; give one of classes, categories, pairs, answers, "
        "choices, text",
    ),
    "an empty cell": (
        TASK.replace('"label": i % 2', '"label": None'),
        "task numbers: row 1 has no value in column 'label'",
    ),
    "the name of a task of the package": (
        TASK.replace("numbers", "sciq"),
        "the package has a task sciq already; give the plugin's function another name",
    ),
    "too few rows": (TASK.replace("range(400)", "range(40)"), "train + validation + test need"),
}


@pytest.mark.parametrize(("text", "line"), ROWS.values(), ids=ROWS)
def test_wrong_rows_of_a_task_are_one_line(tmp_path, monkeypatch, text, line):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    write_plugin(tmp_path / "mine.py", text)
    name = "sciq" if "sciq" in text else "numbers"
    task = f"{{name: {name}, train: 200, validation: 50, test: 100}}"
    assert line in refused(sweep_with(tmp_path, methods="naive: {}", task=task))


def test_a_path_of_a_plugins_task_is_refused(tmp_path):
    write_plugin(tmp_path / "mine.py", TASK)
    task = "{name: numbers, path: x.csv, train: 200, validation: 50, test: 100}"
    found = refused(sweep_with(tmp_path, methods="naive: {}", task=task))
    assert "task 'numbers' is a plugin's and reads no file; remove `path`" in found
    task = "{name: numbers, train: 200, validation: 50, test: {path: x.csv}}"
    found = refused(sweep_with(tmp_path, methods="naive: {}", task=task))
    assert "task 'numbers' is a plugin's and reads no file; give test as a number of rows" in found
