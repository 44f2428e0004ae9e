"""Methods for tasks with answers through the whole of a plan: self-consistency, agreed answers.

Ground truth that a student may not see is replaced between two runs of the same plan: if any of it
reached a student by any way, its predictions would change.
"""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.support import WORDS, NoCheckpoints, make_model
from w2s_ray.config import Execution, ModelSource, Sweep, parse_sweep
from w2s_ray.data import load_split
from w2s_ray.data.inputs import Inputs, SplitRef
from w2s_ray.errors import InputError
from w2s_ray.fits.labels import Completion, SplitRows, answers
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.learn import loop
from w2s_ray.learn.forms.answers import AnswerData
from w2s_ray.plan import Plan, PlannedFit, make_plan
from w2s_ray.prepare import cells_of
from w2s_ray.report.cell import objective
from w2s_ray.report.row_predictions import cell_rows
from w2s_ray.report.scores import scores
from w2s_ray.store import Store
from w2s_ray.store.tables import SPLIT_ROWS

DIGIT = "w([1-4])"
"""Takes the first digit of the last word that has one of these."""
SWEEP = """
name: guard
task: {{name: last, path: {task}, columns: {{text: text, answer: answer}}, train: 64,
  validation: 12, test: 16, extract: {{kind: regex, pattern: "{digit}"}}}}
models: [a, c]
training: {{batch_size: 16, epochs: 2, lr: 1.0e-2, evaluations_per_epoch: 1, max_tokens: 48,
  answer_tokens: 4}}
execution: {{gpus_per_worker: 0}}
methods:
  naive: {{}}
  voted:
    early_stopping: {{patience: 1}}
    stages: [{{kind: self_consistency, samples: 3}}]
  once: {{stages: [{{kind: self_consistency, samples: 1, temperature: 0}}]}}
  agreed:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: agreed_answers, shots: 2, samples: 3, temperature: 2}}]
  both:
    stages: [{{kind: self_consistency, samples: 3, share: 0.6}},
      {{kind: agreed_answers, shots: 1, learn: strong}}]
"""
SPLIT = "f" * 20


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    path, rng = tmp_path_factory.mktemp("task") / "task.csv", random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "answer"))
        for _ in range(160):
            row = rng.choices(WORDS[10:30], k=4)
            writer.writerow((" ".join(row), f"{row[0]} {row[-1]}"))
    return parse_sweep(SWEEP.format(task=path, digit=DIGIT))


@pytest.fixture(scope="module")
def plan(sweep, tmp_path_factory) -> Plan:
    models = {
        name: ModelSource(
            name=name,
            location=str(make_model(tmp_path_factory.mktemp(name) / name, seed=seed, eos=True)),
            identity=f"sha256:{name}",
        )
        for seed, name in enumerate("ac")
    }
    counts = {"supervisor_half": 32, "student_half": 32, "validation": 12, "test": 16}
    splits = {"last": SplitRef(SPLIT, False, counts, form="answers")}
    return make_plan(sweep, Inputs(splits=splits, models=models))


def trained(plan: Plan, folder: Path, *, other: bool) -> Store:
    """A store with every run of the plan; `other` replaces the truth of all but half 1."""
    store = Store.open(folder)
    rows = [
        {
            "example_id": e.id,
            "part": part,
            "text": e.text,
            "label": None,
            "group": e.group,
            "answer": "w59 w48" if other and part != "supervisor_half" else e.answer,
            "extracted": "4" if other and part != "supervisor_half" else e.extracted,
        }
        for part, examples in load_split(plan.sweep.tasks[0]).parts.items()
        for e in examples
    ]
    store.splits.write(SPLIT, pa.Table.from_pylist(rows, schema=SPLIT_ROWS), {})
    for fit in plan.fits.values():
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", f"{fit.description}: {record.traceback}"
    return store


@pytest.fixture(scope="module")
def stores(plan, tmp_path_factory) -> tuple[Store, Store]:
    folder = tmp_path_factory.mktemp("stores")
    return (
        trained(plan, folder / "true", other=False),
        trained(plan, folder / "other", other=True),
    )


def fit_of(plan: Plan, method: str) -> PlannedFit:
    (cell,) = (cell for cell in plan.cells if cell.method == method)
    return plan.fits[cell.student or ""]


def labels_of(store: Store, run: str, part: str = "student_half") -> dict[str, dict]:
    return {row["example_id"]: row for row in store.predictions(run, part).to_pylist()}


def test_no_truth_of_a_cell_reaches_a_student_by_any_method(plan: Plan, stores) -> None:
    for fit in plan.fits.values():
        one, again = (store.predictions(fit.id, "test").to_pylist() for store in stores)
        assert (one == again) is ("ceiling" not in fit.roles), fit.description


def test_no_method_is_marked_as_oracle(plan: Plan, stores) -> None:
    records = {record.id: record for record in stores[0].records()}
    assert {objective(cell, records) for cell in cells_of(plan)} == {"none"}


def digit(text: str) -> str | None:
    found = [word[1] for word in text.split() if word[:2] in ("w1", "w2", "w3", "w4")]
    return found[-1] if found else None


def test_a_vote_is_the_majority_of_the_stored_samples(plan: Plan, stores) -> None:
    """By Counter, whose order of equal counts is that of their first sample."""
    (run,) = fit_of(plan, "voted").recipe.labels.runs
    assert plan.fits[run].roles == ("step",)
    for row in labels_of(stores[0], run).values():
        assert len(row["samples"]) == 3
        counts = Counter(filter(None, map(digit, row["samples"])))
        answer, count = counts.most_common(1)[0] if counts else (None, 0)
        assert row["extracted"] == answer
        assert row["certainty"] == pytest.approx(count / 3)
        assert row["answer"] == next(t for t in row["samples"] if digit(t) == answer)
    shares = [row["certainty"] for row in labels_of(stores[0], run).values()]
    assert stores[0].record(run).summary["student_half_certainty"] == pytest.approx(
        sum(shares) / len(shares), abs=1e-6
    )


def test_the_supervisor_of_samples_is_trained_as_the_cells_own(plan: Plan, stores) -> None:
    (own,) = fit_of(plan, "naive").recipe.labels.runs
    (run,) = fit_of(plan, "voted").recipe.labels.runs
    (once,) = fit_of(plan, "once").recipe.labels.runs
    records = [stores[0].record(each).summary for each in (own, run, once)]
    assert len({(r["train_loss"], r["validation_agreement"]) for r in records}) == 1
    greedy, single = (labels_of(stores[0], each) for each in (own, once))
    assert {i: r["answer"] for i, r in greedy.items()} == {
        i: r["answer"] for i, r in single.items()
    }
    assert all(row["certainty"] is row["samples"] is None for row in greedy.values())
    assert {cell.supervisor for cell in plan.cells} == {own}
    same = [stores[0].predictions(fit_of(plan, m).id).to_pylist() for m in ("naive", "once")]
    assert same[0] == same[1]


def given_to(fit: PlannedFit, store: Store, monkeypatch) -> AnswerData:
    """What the loop is given."""
    seen: list[AnswerData] = []
    train = loop.fit

    def noted(recipe, *, data, **more):
        seen.append(data)
        return train(recipe, data=data, **more)

    monkeypatch.setattr(loop, "fit", noted)
    FitTraining(fit).run(store, checkpoints=NoCheckpoints())
    return seen[0]


def texts_of(data: AnswerData) -> list[str]:
    """The prompts and answers that are trained on."""
    rows = data.train.tokens
    words = [*WORDS, "[UNK]", "[PAD]", "[EOS]"]
    return sorted(" ".join(words[t] for t in rows.row(i)) for i in range(len(rows)))


def expected_texts(store: Store, fit: PlannedFit) -> tuple[list[str], int]:
    """What a student is to learn, from stored predictions alone, and how many rows it drops."""
    labels = fit.recipe.labels
    weak = labels_of(store, labels.runs[0])
    own = labels_of(store, labels.agreed_with) if labels.agreed_with else None
    prompts = {r["example_id"]: r["text"] for r in store.splits.rows(SPLIT).to_pylist()}
    found, dropped = [], 0
    for id_, row in weak.items():
        kept = (row["certainty"] or 1.0) >= labels.least_share - 1e-6
        texts = [row["answer"]]
        if own is not None:
            kept &= digit(row["answer"]) is not None
            kept &= digit(row["answer"]) == own[id_]["extracted"]
            texts.append(own[id_]["answer"])
        if labels.learned == "strong":
            texts = texts[-1:]
        dropped += not kept
        found += [f"{prompts[id_]} {t} [EOS]" for t in dict.fromkeys(texts)] if kept else []
    return sorted(found), dropped


@pytest.mark.parametrize("method", ["voted", "agreed", "both"])
def test_a_student_learns_the_completions_of_the_rows_that_are_kept(
    plan: Plan, stores, monkeypatch, method
) -> None:
    fit, store = fit_of(plan, method), stores[0]
    made = texts_of(given_to(fit, store, monkeypatch))
    expected, dropped = expected_texts(store, fit)
    whole = [text for text in expected if len(text.split()) < 4 + 4 + 1]
    assert len(made) == len(expected) > 0
    assert Counter(whole) <= Counter(made)  # longer ones end with their last token
    summary = store.record(fit.id).summary
    assert summary["dropped_rows"] == dropped
    assert summary["train_rows"] == 32 - dropped
    assert (dropped > 0) is (method != "voted")
    assert (len(expected) > 32 - dropped) is (method == "agreed")  # both completions of a row


def test_share_0_keeps_all_rows(plan: Plan, stores) -> None:
    voted, sure = (fit_of(plan, method).recipe.labels for method in ("voted", "both"))
    assert voted.least_share == 0
    assert voted.runs == sure.runs
    assert "least_share" not in voted.model_dump()


def test_the_strong_model_is_not_trained_and_no_row_is_its_own_example(
    plan: Plan, stores, monkeypatch
) -> None:
    agreed = fit_of(plan, "agreed")
    run = plan.fits[agreed.recipe.labels.agreed_with or ""]
    summary = stores[0].record(run.id).summary
    assert (run.source.name, run.roles, summary["steps"]) == ("c", ("step",), 0)
    assert run.id in agreed.parents
    assert summary["student_half_prompts"] == 32
    assert summary["student_half_prompts_cut"] == 0
    data = given_to(run, stores[0], monkeypatch)
    weak = labels_of(stores[0], agreed.recipe.labels.runs[0])
    rows = [r for r in stores[0].splits.rows(SPLIT).to_pylist() if r["part"] == "student_half"]
    shown = {f"{r['text']} {weak[r['example_id']]['answer']}".strip() for r in rows}
    used = set()
    for i, row in enumerate(rows):
        text = " ".join(WORDS[t] for t in data.predict["student_half"].row(i))
        assert text.endswith(row["text"])
        before = text.removesuffix(row["text"]).strip()
        pairs = [(a, b) for a in shown for b in shown if f"{a} {b}" == before]
        assert pairs, before
        assert not any(one.startswith(row["text"]) for one in pairs[0])
        used |= set(pairs[0])
    assert len(used) == 3  # one more than a prompt has, for the rows that are shown


def test_reports_compare_what_was_extracted(plan: Plan, stores) -> None:
    store = stores[0]
    table = {row["run_id"]: row for row in scores(store).to_pylist()}
    truth = {
        r["example_id"]: r["extracted"]
        for r in store.splits.rows(SPLIT).to_pylist()
        if r["part"] == "test"
    }
    fit = fit_of(plan, "naive")
    own, weak = (labels_of(store, run, "test") for run in (fit.id, fit.recipe.labels.runs[0]))
    right = [digit(own[i]["answer"]) == answer for i, answer in truth.items()]
    same = [
        digit(own[i]["answer"]) is not None and digit(own[i]["answer"]) == digit(weak[i]["answer"])
        for i in truth
    ]
    assert table[fit.id]["accuracy"] == pytest.approx(sum(right) / 16)
    assert store.record(fit.id).summary["test_accuracy"] == pytest.approx(sum(right) / 16)
    assert table[fit.id]["agreement"] == pytest.approx(sum(same) / 16)
    (rows,) = (r for r in cell_rows(store, cells_of(plan)) if r.method == "naive")
    assert {row.truth for row in rows.rows} <= set(truth.values())


def test_micro_batches_change_no_label(plan: Plan, stores, tmp_path) -> None:
    fit = plan.fits[fit_of(plan, "voted").recipe.labels.runs[0]]
    other = replace(fit, execution=Execution(gpus_per_worker=0, micro_batch=3, evaluation_batch=5))
    store = Store.open(tmp_path / "store")
    store.splits.write(SPLIT, stores[0].splits.rows(SPLIT), {})
    assert FitTraining(other).run(store, checkpoints=NoCheckpoints()).status == "done"
    one, again = (labels_of(s, fit.id) for s in (stores[0], store))
    assert {i: r["samples"] for i, r in one.items()} == {i: r["samples"] for i, r in again.items()}


@pytest.mark.parametrize(
    ("method", "own", "message"),
    [
        ("both", "w1", "self_consistency leaves none of 32 rows: no answer has a share of 0.6"),
        ("agreed", "w2", "agreed_answers leaves none of 32 rows: the strong model (run "),
        ("agreed", None, "agreed_answers leaves none of 32 rows: the strong model (run "),
    ],
)
def test_the_error_where_no_row_is_left_names_the_stage(
    plan: Plan, stores, method, own, message
) -> None:
    rows, recipe = SplitRows.of(stores[0].splits.rows(SPLIT)), fit_of(plan, method).recipe
    known = {(part, id_) for part, ids in rows.ids.items() for id_ in ids}
    weak = dict.fromkeys(known, Completion("w1", own and "1", share=0.3))
    with pytest.raises(InputError, match=re.escape(message)):
        answers(recipe, rows, weak=weak, own=dict.fromkeys(known, Completion("w2", own and "2")))
