"""An extractor of a plugin: in a task, in ids, in workers, and in results without the plugin."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.plugins.written import EXTRACTOR, plugin_of, write_plugin
from tests.support import NoCheckpoints, make_model
from w2s_ray.config import FitRecipe, Sweep, load_sweep
from w2s_ray.data import load_split
from w2s_ray.errors import InputError
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.methods.extractors.absent import AbsentExtractor
from w2s_ray.plan import Plan
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.report.scores import scores
from w2s_ray.store import Store

SWEEP = """
name: t
plugins: [mine.py]
task: {{name: sums, path: {folder}/rows.csv, columns: {{text: text, answer: answer}}, train: 24,
  validation: 6, test: 8, extract: {extract}}}
models: [{folder}/a]
pairs: [[a, a]]
training: {{epochs: 1, batch_size: 8, answer_tokens: 4, max_tokens: 16}}
execution: {{gpus_per_worker: 0}}
methods: {{naive: {{}}}}
store: {folder}/results
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


def planned(folder: Path, *, extract: str, plugin: str = EXTRACTOR) -> tuple[Sweep, Plan, Store]:
    if not (folder / "a").exists():
        make_model(folder / "a", eos=True)
        lines = [f"w1 w{i},w2 = w{i % 7}" for i in range(50)]
        (folder / "rows.csv").write_text("\n".join(["text,answer", *lines]) + "\n")
    write_plugin(folder / "mine.py", plugin)
    file = folder / "sweep.yaml"
    file.write_text(SWEEP.format(folder=folder, extract=extract))
    sweep, store = load_sweep(file), Store.open(folder / "results")
    return sweep, plan_sweep(sweep, store=store), store


def test_its_settings_and_its_source_are_part_of_ids(tmp_path: Path) -> None:
    found = [
        planned(tmp_path, extract="{kind: after}"),
        planned(tmp_path, extract="after"),
        planned(tmp_path, extract="{kind: after, sign: w}"),
        planned(tmp_path, extract="after", plugin=EXTRACTOR + "# another source\n"),
        planned(tmp_path, extract="exact"),
    ]
    one, same, sign, source, exact = (frozenset(plan.fits) for _, plan, _ in found)
    assert one == same
    assert not one & (sign | source | exact)
    assert not sign & (source | exact)
    splits = [plan.inputs.splits["sums"].fingerprint for _, plan, _ in found]
    assert splits[0] == splits[1] == splits[3]  # the same answers are taken
    assert len(set(splits)) == 3


def test_results_are_computed_without_it(tmp_path: Path, monkeypatch) -> None:
    sweep, plan, store = planned(tmp_path, extract="after")
    materialize(plan, store)
    weak = next(fit for fit in plan.fits.values() if "supervisor" in fit.roles)
    record = FitTraining(weak).run(store, checkpoints=NoCheckpoints())
    assert record.status == "done", record.traceback
    rows = {row.id: row for part in load_split(sweep.tasks[0]).parts.values() for row in part}
    assert {row.extracted for row in rows.values()} == {f"w{i}" for i in range(7)}
    predicted = store.predictions(weak.id, "test").to_pylist()
    for row in predicted:
        _, found, answer = row["answer"].rpartition("=")
        assert row["extracted"] == (answer.strip() if found else None)
    monkeypatch.setattr("w2s_ray.methods.kinds._loaded", {})
    right = sum(row["extracted"] == rows[row["example_id"]].extracted for row in predicted)
    (found,) = scores(store).to_pylist()
    assert found["accuracy"] == pytest.approx(right / len(predicted))


def test_it_travels_in_a_recipe_and_a_stored_one_has_its_id(tmp_path: Path) -> None:
    kind = plugin_of(tmp_path / "mine.py", EXTRACTOR).kinds[0]
    own = kind(sign="#")  # type: ignore[call-arg]
    copy = pickle.loads(pickle.dumps(own))  # noqa: S301 - made in this line
    assert copy.compared("a # 1,000.0") == "1000"
    given = {"split": "s", "form": "answers", "train_on": "student_half", "model": "m", "seed": 0}
    more = {"training": {}, "loss": {"kind": "xent"}, "labels": "ground_truth"}
    recipe = FitRecipe.model_validate({**given, **more, "extract": own})
    stored = recipe.model_dump(mode="json")
    assert FitRecipe.model_validate(stored).run_id == recipe.run_id
    stored["extract"]["source"] = "f" * 20
    absent = FitRecipe.model_validate(stored)
    assert isinstance(absent.extract, AbsentExtractor)
    assert absent.model_dump(mode="json") == stored
    with pytest.raises(InputError, match=r"after: the plugin with source f+ isn't loaded"):
        absent.extract.compared("a")


WRONG = {
    "raises": ("raise KeyError(text)", r"task sums: row row:\d+: KeyError: .*; correct the plugin"),
    "no text": ("return 3", r"task sums: row row:\d+: extractor after returned 3; return a text"),
    "nothing": ("return None", r"extract after finds no answer in 50 of 50 right answers, the fir"),
}


@pytest.mark.parametrize(("body", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_extractor_is_refused_when_the_sweep_is_planned(tmp_path, body, message) -> None:
    plugin = f"\n@w2s.extractor\ndef after(text):\n    {body}\n"
    with pytest.raises(InputError, match=message):
        planned(tmp_path, extract="after", plugin=plugin)


REGISTERED = {
    "no function": ("@w2s.extractor\nclass Mine:\n    pass\n", "which is no w2s.Extractor"),
    "other arguments": (
        "@w2s.extractor\ndef mine(text, more):\n    pass\n",
        r"write mine\(text, \*",
    ),
    "a kind of the package": (
        "@w2s.extractor\ndef exact(text):\n    pass\n",
        "the kind 'exact' al",
    ),
    "no method": (
        '@w2s.extractor\nclass Mine(w2s.Extractor):\n    kind: Literal["mine"] = "mine"\n',
        "extractor Mine doesn't override extract; add it",
    ),
}


@pytest.mark.parametrize(("text", "message"), REGISTERED.values(), ids=REGISTERED)
def test_what_is_no_extractor_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plugin_of(tmp_path / "mine.py", f"\n{text}")
