"""Forms are classes: the tables are complete, no file compares names, the document's form works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from w2s_ray.config import FORMS, TASK_FORMS
from w2s_ray.fits.forms import FIT_FORMS
from w2s_ray.learn.forms import MODELS

FORM_NAMES = [
    "classes",
    "categories",
    "pairs",
    "policies",
    "answers",
    "choices",
    "text",
    "features",
]
ROOT = Path(__file__).resolve().parents[1]
USED = """
import json, sys
from pathlib import Path
import w2s_ray
from tests.support import NoCheckpoints, make_model
from w2s_ray.config import parse_sweep
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

here = Path(sys.argv[1])
assert Path(w2s_ray.__file__).is_relative_to(here), w2s_ray.__file__
for place, name in enumerate("ab"):
    make_model(here / name, seed=place)
words = ["w3", "w5", "w7"]
rows = [{"text": f"w{10 + i // 49} w{10 + i % 49} {words[i % 3]}", "category": words[i % 3],
         "id": i} for i in range(240)]
(here / "rows.jsonl").write_text("\\n".join(map(json.dumps, rows)))
text = f'''
name: own
task: {{name: t, path: {here}/rows.jsonl, columns: {{text: text, category: category, id: id}},
        train: 120, validation: 30, test: 60}}
models: [{here}/a, {here}/b]
pairs: [[a, b]]
training: {{batch_size: 20, epochs: 20, lr: 5.0e-2, max_tokens: 8}}
methods: {{naive: {{}}}}
execution: {{gpus_per_worker: 0}}
'''
try:
    plan_sweep(parse_sweep(text.replace("naive: {}", "naive: {loss: {kind: window}}")))
except ValueError as error:
    assert "loss window needs two classes" in str(error), error
else:
    raise AssertionError("a loss of two classes is accepted")
store = Store.open(here / "results")
plan = plan_sweep(parse_sweep(text), store=store)
materialize(plan, store)
fits = {fit.roles[0]: fit for fit in plan.fits.values()}
assert {fit.recipe.form for fit in fits.values()} == {"topics"}
for role in ("supervisor", "ceiling", "student"):
    record = FitTraining(fits[role]).run(store, checkpoints=NoCheckpoints())
    assert record.status == "done", record.traceback
    assert record.summary["test_accuracy"] > 0.6, (role, record.summary["test_accuracy"])
"""


def test_every_form_is_in_every_table() -> None:
    assert list(FORMS) == list(FIT_FORMS) == FORM_NAMES
    assert set(MODELS) == set(FORMS) - {"features"}, "the probe of features has no engine"
    for name, form in FORMS.items():
        assert form.name == name
        assert bool(form.columns) is (name in TASK_FORMS) is (name != "policies")
        for columns in form.columns:
            for given in (columns.needed, columns.needed | columns.optional):
                assert [n for n, other in FORMS.items() if other.is_made_by(given)] == [name]


def test_no_file_compares_the_names_of_forms() -> None:
    names = "|".join(FORMS)
    compared = re.compile(rf"\bform(_of\(\w+\))? *(==|!=|in|not in) *[(\[{{]?[\"']({names})[\"']")
    assert compared.search('if recipe.form == "text":')
    assert compared.search('if form in ("answers", "text"):')
    assert compared.search('form_of(task) != "features"')
    for path in (ROOT / "w2s_ray").rglob("*.py"):
        found = compared.search(path.read_text())
        assert found is None, f"{path}: {found and found.group()}"


@pytest.mark.slow
def test_the_documents_form_is_its_files_and_entries(tmp_path: Path) -> None:
    section = (ROOT / "docs" / "own-method.md").read_text().split("\n## A form of task")[1]
    declared, joined = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    entries = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)`", section, re.MULTILINE))
    package = tmp_path / "w2s_ray"
    shutil.copytree(ROOT / "w2s_ray", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "config" / "forms" / "topics.py").write_text(declared)
    (package / "fits" / "forms" / "topics.py").write_text(joined)

    def register(layer: str, entry: str, *, after: str, imported: bool) -> None:
        table = package / layer / "forms" / "__init__.py"
        text = table.read_text()
        assert after in text
        text = text.replace(after, f"{after}, {entry}")
        place = text.index("\nfrom w2s_ray.") + 1
        line = f"from w2s_ray.{layer}.forms.topics import Topics\n" if imported else ""
        table.write_text(text[:place] + line + text[place:])

    register("config", entries["FORMS"], after="Features()", imported=True)
    register("fits", entries["FIT_FORMS"], after='"features": Features()', imported=True)
    register("learn", entries["MODELS"], after='"text": LanguageModel', imported=False)
    run = subprocess.run(
        [sys.executable, "-c", USED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
            "PATH": "",
            "HOME": str(tmp_path),
            "W2S_CACHE": str(tmp_path / "cache"),
        },
    )
    assert run.returncode == 0, run.stderr
