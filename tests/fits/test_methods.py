"""Every method through the whole of a plan, fit by fit in this process, without Ray.

Ground truth that a student may not see is inverted between two runs of the same plan: if any of it
reached a student by any way (a chain, an ensemble, a transform, a stop), its predictions would
change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.methods.test_simulated import regression
from tests.support import WORDS, NoCheckpoints, make_model, make_task
from w2s_ray.config import FitRecipe, ModelSource, Sweep, parse_sweep
from w2s_ray.data import load_split
from w2s_ray.data.inputs import Inputs, SplitRef
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.learn import loop
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.plan import Plan, PlannedCell, make_plan
from w2s_ray.prepare import cells_of
from w2s_ray.report.cell import objective
from w2s_ray.store import Store
from w2s_ray.store.tables import SPLIT_ROWS

SIMULATED = ("uniform errors", "length errors", "confidence errors", "adversarial errors")
SWEEP = """
name: guard
task: {{name: words, path: {task}, columns: {{text: text, label: label}}, train: 96, validation: 32,
  test: 32}}
models: [a, b, c]
pairs: [[a, c]]
training: {{batch_size: 16, epochs: 1, lr: 3.0e-3, evaluations_per_epoch: 2, max_tokens: 64}}
execution: {{gpus_per_worker: 0}}
controls: {{truth_price: 4}}
methods:
  naive: {{}}
  oracle: {{early_stopping: {{patience: 1, metric: loss, oracle: true}}}}
  ensemble:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: ensemble, supervisors: [b], seeds: [7]}}]
  bootstrap:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: bootstrap}}]
  iterate:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: iterate, times: 2}}]
  relabel:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: relabel, by: {{kind: knn, k: 5}}}}, {{kind: hard}}]
  filter:
    stages: [{{kind: filter, by: {{kind: topofilter, k: 5}}}}, {{kind: confident, above: 0.5}}]
  window: {{loss: {{kind: window, radius: median_weak}}}}
  mixture:
    loss: {{kind: mixture, agreed_fraction: 0.3}}
    stages: [{{kind: ensemble, supervisors: [b], seeds: [7]}}]
  agreed: {{stages: [{{kind: ensemble, seeds: [7]}}, {{kind: consensus}}, {{kind: weights}}]}}
  confusion: {{stages: [{{kind: ensemble, seeds: [7]}}, {{kind: dawid_skene}}]}}
  overlap: {{loss: {{kind: evidential}}, stages: [{{kind: overlap, keep: overlap_and_hard}}]}}
  elicited:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: elicit, words: [w58, w59]}}, {{kind: one_per_group}}]
  refined: {{stages: [{{kind: elicit, words: [w58, w59], shots: 4}}, {{kind: hard}}]}}
  strata: {{stages: [{{kind: ensemble, supervisors: [b], seeds: [7]}}, {{kind: strata, k: 5}}]}}
  trusted:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: trust, truth: {{rows: 40}}}}]
  trusted chain:
    stages:
      - {{kind: bootstrap}}
      - {{kind: iterate}}
      - {{kind: trust, truth: {{rows: 40}}, hidden: 0}}
  trusted by new truth:
    stages: [{{kind: trust, truth: {{rows: 24, of: student_half}}}}]
  selective:
    stages:
      - {{kind: elicit, words: [w58, w59], beside: true}}
      - {{kind: selective, truth: {{rows: 40}}}}
  boosted:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: boosting, rounds: 3}}]
  layers:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: ensemble, supervisors: [b], seeds: [7]}}, {{kind: cosupervised}}]
  two stages:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: two_stage, above: 0.51, student_above: 0.51}}]
  true rows: {{stages: [{{kind: true_rows, one_in: 4}}]}}
  generative: {{stages: [{{kind: generative, lr: 1.0e-2}}]}}
  zero-shot: {{stages: [{{kind: prompt, words: [w58, w59]}}]}}
  few-shot: {{stages: [{{kind: prompt, words: [w58, w59], shots: 4}}]}}
  calibrated: {{stages: [{{kind: prompt, words: [w58, w59], shots: 4, calibration: rows}}]}}
  few-shot with truth:
    stages: [{{kind: prompt, words: [w58, w59], shots: 4, labels: ground_truth}}]
  read and asked: {{stages: [{{kind: generative}}, {{kind: prompt, words: [w58, w59], shots: 2}}]}}
  uniform errors:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: simulated, errors: {{kind: uniform}}}}]
  length errors: {{stages: [{{kind: simulated, errors: {{kind: length, power: null}}}}]}}
  confidence errors: {{stages: [{{kind: simulated, errors: {{kind: confidence}}}}]}}
  adversarial errors:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: simulated, errors: {{kind: adversarial}}}}]
  probe before: {{stages: [{{kind: linear_probe, of: pretrained}}]}}
  probe after:
    early_stopping: {{patience: 1, metric: loss}}
    stages: [{{kind: linear_probe, of: student}}]
  all:
    early_stopping: {{patience: 1, metric: loss}}
    loss: {{kind: confidence, window: 20}}
    training: {{tuning: {{kind: lp_ft}}}}
    stages: [{{kind: ensemble, seeds: [7]}}, {{kind: bootstrap, fresh: false}}, {{kind: iterate}},
      {{kind: temperature}}, {{kind: relabel, by: {{kind: logistic}}}}]
"""

PROBES = ("probe before", "probe after")
CONTROL_OF_TRUTH = "control: ground truth of 1 row in 4"
NEW_TRUTH = "trusted by new truth"
ORACLES = (
    "oracle",
    "few-shot with truth",
    "true rows",
    *SIMULATED,
    *PROBES,
    CONTROL_OF_TRUTH,
    NEW_TRUTH,
)
"""Methods whose student knows ground truth."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory) -> Iterator[None]:
    """A cache of this module's own: its models and its split have made-up identities."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    task = make_task(tmp_path_factory.mktemp("task") / "task.csv")
    return parse_sweep(SWEEP.format(task=task))


@pytest.fixture(scope="module")
def plan(sweep, tmp_path_factory) -> Plan:
    models = {
        name: ModelSource(
            name=name,
            location=str(make_model(tmp_path_factory.mktemp(name) / name)),
            identity=f"sha256:{name}",
        )
        for name in "abc"
    }
    counts = {"supervisor_half": 48, "student_half": 48, "validation": 32, "test": 32}
    splits = {"words": SplitRef("f" * 20, False, counts)}
    return make_plan(sweep, Inputs(splits=splits, models=models))


def trained(plan: Plan, folder: Path, *, flipped: bool) -> Store:
    """A store with every run of the plan; `flipped` inverts the truth of all but half 1."""
    store = Store.open(folder)
    split = load_split(plan.sweep.tasks[0])
    rows = [
        {
            "example_id": e.id,
            "part": part,
            "text": e.text,
            "label": e.label if part == "supervisor_half" or not flipped else 1 - (e.label or 0),
            "group": e.group,
        }
        for part, examples in split.parts.items()
        for e in examples
    ]
    store.splits.write("f" * 20, pa.Table.from_pylist(rows, schema=SPLIT_ROWS), {})
    for fit in plan.fits.values():
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", f"{fit.description}: {record.traceback}"
    return store


@pytest.fixture(scope="module")
def stores(plan, tmp_path_factory) -> tuple[Store, Store]:
    folder = tmp_path_factory.mktemp("stores")
    return (
        trained(plan, folder / "true", flipped=False),
        trained(plan, folder / "flipped", flipped=True),
    )


def predicted(store: Store, run: str) -> list[float]:
    return store.predictions(run, "test").column("probability").to_pylist()


def test_no_truth_of_a_cell_reaches_a_student_by_any_method(plan: Plan, stores) -> None:
    changed = {
        fit.description: (fit, [predicted(store, fit.id) for store in stores])
        for fit in plan.fits.values()
        if "test" in fit.recipe.predicts
    }
    for called, (fit, (one, other)) in changed.items():
        knows = "ceiling" in fit.roles or any(method in ORACLES for method in fit.methods)
        assert (one == other) is not knows, called


def test_exactly_the_methods_that_use_ground_truth_are_marked_as_oracle(plan: Plan, stores) -> None:
    records = {record.id: record for record in stores[0].records()}
    for cell in cells_of(plan):
        found = objective(cell, records)
        assert found == ("oracle" if cell.method in ORACLES else "none"), cell.method


def test_a_probe_trains_only_a_head_on_the_pretrained_or_the_finetuned_model(
    plan: Plan, stores
) -> None:
    before, after = (
        plan.fits[cell.student or ""]
        for method in PROBES
        for cell in plan.cells
        if cell.method == method
    )
    finetuned = plan.fits[after.parents[0]]
    assert before.recipe.model == "sha256:c" != after.recipe.model
    for probe in (before, after):
        assert stores[0].record(probe.id).summary["trained_parameters"] == 2 * 16
        assert probe.recipe.learns_from_ground_truth
    assert not finetuned.recipe.learns_from_ground_truth
    assert "test_accuracy" not in stores[0].record(finetuned.id).summary
    pretrained = Path(plan.inputs.models["c"].location)
    weights = [
        (Path(folder) / "model.safetensors").read_bytes()
        for folder in (pretrained, *(store.weights(finetuned.id) or "" for store in stores))
    ]
    assert weights[1] == weights[2]  # the truth of all but half 1 is inverted in the second
    assert weights[0] != weights[1]


def test_true_rows_come_after_weights_that_know_no_truth(plan: Plan, stores) -> None:
    (cell,) = (cell for cell in plan.cells if cell.method == "true rows")
    fit = plan.fits[cell.student or ""]
    (taught,) = fit.parents
    folders = [Path(store.weights(taught) or "") for store in stores]
    for name in ("model.safetensors", "head.safetensors"):
        one, other = ((folder / name).read_bytes() for folder in folders)
        assert one == other, name
    assert stores[0].record(fit.id).summary["train_rows"] == 48 // 4


def test_a_series_drops_rows_and_weights_them(plan: Plan, stores) -> None:
    students = {cell.method: plan.fits[cell.student or ""] for cell in plan.cells}
    summaries = {method: stores[0].record(fit.id).summary for method, fit in students.items()}
    assert 0 < summaries["layers"]["dropped_rows"] < 48
    first = students["two stages"].recipe.labels.student or ""
    dropped = [stores[0].record(first).summary["dropped_rows"]]
    dropped.append(summaries["two stages"]["dropped_rows"])
    assert 48 > dropped[0] > dropped[1] >= 0
    rounds = students["boosted"].recipe.labels.runs
    assert len({tuple(predicted(stores[0], run)) for run in rounds}) == 3


def planned_errors(
    store: Store, cell: PlannedCell, part: str, model: Path
) -> tuple[dict[str, int], set[str], int]:
    """Text -> class of a part, the texts on which a simulated supervisor errs, and how many.

    Of the supervisor's stored predictions and of the model's hidden states, by NumPy alone.
    """
    rows = [row for row in store.splits.rows("f" * 20).to_pylist() if row["part"] == part]
    predictions = store.predictions(cell.supervisor, part).to_pylist()
    weak = {row["example_id"]: row["probability"] for row in predictions}
    p = np.array([weak[row["example_id"]] for row in rows])
    truth = np.array([row["label"] for row in rows])
    errors = int(((p > 0.5) != truth).sum())
    match cell.method.removesuffix(" errors"):
        case "length":
            first = np.argsort([-len(row["text"].split()) for row in rows], kind="stable")
        case "confidence":
            first = np.argsort(np.abs(p - 0.5))
        case "adversarial":
            predicted_N = regression(
                hidden_states(model, [row["text"] for row in rows]), truth, 1e-2
            )
            first = np.argsort(np.where(truth == 1, predicted_N, 1 - predicted_N))
        case _:
            first = np.arange(0)
    texts = [row["text"] for row in rows]
    return dict(zip(texts, truth.tolist(), strict=True)), {texts[i] for i in first[:errors]}, errors


def hidden_states(model: Path, texts: list[str]) -> np.ndarray:
    """Last hidden state of the last word of each text, one text at a time."""
    from transformers import AutoModel

    backbone = AutoModel.from_pretrained(model).eval()
    with torch.no_grad():
        found = [
            backbone(torch.tensor([[WORDS.index(word) for word in text.split()]]))
            .last_hidden_state[0, -1]
            .numpy()
            for text in texts
        ]
    return np.stack(found)


@pytest.mark.parametrize("method", SIMULATED)
def test_a_student_is_trained_on_exactly_the_errors_that_are_planned(
    plan: Plan, stores, monkeypatch, method: str
) -> None:
    """What the loop is given, text by text, in training and on validation."""
    given: list[ClassData] = []
    train = loop.fit

    def noted(recipe: FitRecipe, *, data: ClassData, **more):
        given.append(data)
        return train(recipe, data=data, **more)

    monkeypatch.setattr(loop, "fit", noted)
    (cell,) = (cell for cell in plan.cells if cell.method == method)
    FitTraining(plan.fits[cell.student or ""]).run(stores[0], checkpoints=NoCheckpoints())
    (data,) = given
    model = Path(plan.inputs.models["c"].location)
    parts = {
        "student_half": (data.train, data.train_targets_NC),
        "validation": (data.validation, data.validation_targets_MC),
    }
    for part, (tokens, targets_NC) in parts.items():
        truth, planned, errors = planned_errors(stores[0], cell, part, model)
        texts = [" ".join(WORDS[token] for token in tokens.row(i)) for i in range(len(tokens))]
        assert sorted(texts) == sorted(truth)
        assert np.array_equal(np.sort(targets_NC, axis=1), np.tile([0, 1], (len(texts), 1)))
        wrong = {t for t, y in zip(texts, targets_NC.argmax(axis=1), strict=True) if y != truth[t]}
        assert len(wrong) == errors > 0
        if method == "length errors":  # texts of one length are drawn among
            assert sorted(len(t.split()) for t in wrong) == sorted(len(t.split()) for t in planned)
        elif method != "uniform errors":
            assert wrong == planned


def test_rows_dropped_by_transforms_are_in_the_record(plan: Plan, stores) -> None:
    (cell,) = (cell for cell in plan.cells if cell.method == "filter")
    summary = stores[0].record(cell.student).summary
    assert summary["dropped_rows"] > 0
    assert summary["train_rows"] == 48 - summary["dropped_rows"]
    (cell,) = (cell for cell in plan.cells if cell.method == "bootstrap")
    assert stores[0].record(cell.student).summary["train_rows"] == 24


def test_every_method_is_another_student(plan: Plan, stores) -> None:
    found = [tuple(predicted(stores[0], cell.student or "")) for cell in plan.cells]
    assert len(set(found)) >= len(found) - 1  # oracle stopping may find what naive found


def test_generative_finetuning_changes_the_initial_weights_of_student_and_ceiling(
    plan: Plan, stores
) -> None:
    cells = {cell.method: cell for cell in plan.cells}
    plain, read = cells["naive"], cells["generative"]
    assert predicted(stores[0], plain.ceiling) != predicted(stores[0], read.ceiling)
    (step,) = (fit for fit in plan.fits.values() if fit.id in plan.fits[read.ceiling].parents)
    summary = stores[0].record(step.id).summary
    assert summary["steps"] > 0
    assert stores[0].weights(step.id) is not None
    assert stores[0].weights(read.student or "") is None


def test_a_prompted_fit_trains_nothing_and_shows_only_allowed_labels(plan: Plan, stores) -> None:
    for method in ("zero-shot", "few-shot", "calibrated", "few-shot with truth"):
        (cell,) = (cell for cell in plan.cells if cell.method == method)
        record = stores[0].record(cell.student)
        assert (record.summary["steps"], record.summary["trained_parameters"]) == (0, 0)
        assert record.summary["training_flops"] == 0
        probabilities = predicted(stores[0], record.id)
        assert len(set(probabilities)) > 1
        assert all(0 < p < 1 for p in probabilities)
        assert ("calibration_prior" in record.summary) is (method == "calibrated")
        if method != "zero-shot":
            assert record.summary["test_prompts"] == 32
            assert record.summary["test_prompt_limit"] > 0
            cut, mean = (record.summary[f"test_{name}"] for name in ("prompts_cut", "shots_mean"))
            assert 0 <= cut / 32 <= 4 - mean < 1


def test_the_student_learns_the_labels_of_the_prompted_strong_model(plan: Plan, stores) -> None:
    (zero,) = (cell for cell in plan.cells if cell.method == "zero-shot")
    for method in ("elicited", "refined"):
        (cell,) = (cell for cell in plan.cells if cell.method == method)
        student = plan.fits[cell.student or ""]
        (source,) = student.recipe.labels.runs
        labeller = plan.fits[source]
        assert (labeller.roles, labeller.source.name) == (("step",), "c")
        assert labeller.recipe.labels.runs == (cell.supervisor,)
        assert labeller.recipe.labels.transforms == ()
        assert stores[0].record(source).summary["steps"] == 0
        same = predicted(stores[0], source) == predicted(stores[0], zero.student or "")
        assert same == (method == "elicited")
        assert stores[0].record(student.id).summary["steps"] > 0


def test_controls_without_labels_of_rows_predict_nearly_the_same_for_each(
    plan: Plan, stores
) -> None:
    students = {cell.method: cell.student or "" for cell in plan.cells}
    untrained = stores[0].record(students["control: untrained"]).summary
    assert set(predicted(stores[0], students["control: untrained"])) == {0.5}
    assert (untrained["steps"], untrained["training_flops"], untrained["train_loss"]) == (
        0,
        0,
        None,
    )
    prior, naive = (predicted(stores[0], students[n]) for n in ("control: class prior", "naive"))
    assert np.std(prior) < np.std(naive) / 2


def test_few_rows_of_ground_truth_are_seen_as_often_as_a_students_rows(plan: Plan, stores) -> None:
    students = {cell.method: cell.student or "" for cell in plan.cells}
    summary = stores[0].record(students[CONTROL_OF_TRUTH]).summary
    assert summary["train_rows"] == 48 // 4
    assert summary["steps"] == 4 * 1  # epochs x steps of 12 rows
    assert stores[0].record(students["naive"]).summary["steps"] == 3
