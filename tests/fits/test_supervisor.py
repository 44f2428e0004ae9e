"""What transforms read of a supervisor: hidden states, labels by the kept head, known rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.fits.test_forms import rows as rows_of_form
from tests.fits.test_labels import planned, supervisor
from tests.support import NoCheckpoints, make_model
from w2s_ray.config import FitRecipe, Labels, XentLoss, parse_sweep
from w2s_ray.fits.forms import form_of
from w2s_ray.fits.initial_model import initial_source, kept_weights
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.labels import Supervisor as Read
from w2s_ray.fits.supervisor import supervisor_of
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.methods.transforms import Transform
from w2s_ray.methods.transforms.known_rows import TruthSlice
from w2s_ray.plan import PlannedFit
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store
from w2s_ray.store.tables import SPLIT_ROWS

HALF = ("supervisor_half",)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m", eos=True)


def trained(store: Store, fit: PlannedFit, *, keep: str = "last") -> PlannedFit:
    kept = fit.execution.model_copy(update={"keep": keep})
    record = FitTraining(replace(fit, execution=kept)).run(store, checkpoints=NoCheckpoints())
    assert record.status == "done", record.traceback
    return fit


def teacher(model: Path, form: str, tuning: dict[str, Any]) -> PlannedFit:
    """A supervisor that also predicts the half that it is trained on, as no planned one does."""
    fit = supervisor(model)
    given = fit.recipe.model_dump()
    given["training"] |= {"tuning": tuning, "lr": 3e-2}
    predicts = (*HALF, *fit.recipe.predicts)
    recipe = FitRecipe.model_validate({**given, "form": form, "predicts": predicts})
    return replace(fit, id=recipe.run_id, recipe=recipe)


def student_of(fit: PlannedFit, model: Path) -> PlannedFit:
    labels = Labels(source=(fit.id,))
    made = planned(model, train_on="student_half", labels=labels, loss=XentLoss())
    recipe = made.recipe.model_copy(update={"form": fit.recipe.form})
    return replace(made, recipe=recipe, teacher=fit)


def read_by(store: Store, fit: PlannedFit) -> tuple[Read, SplitRows]:
    rows = SplitRows.of(store.splits.rows(fit.recipe.split))
    fit = replace(fit, source=initial_source(fit, rows, store))
    read = supervisor_of(form_of(fit.recipe), fit, rows, store)
    assert read is not None
    return read, rows


@pytest.mark.parametrize(
    ("form", "tuning"),
    [
        ("classes", {"kind": "full"}),
        ("classes", {"kind": "lora", "rank": 2}),
        ("classes", {"kind": "probe"}),
        ("pairs", {"kind": "full"}),
    ],
    ids=lambda value: value if isinstance(value, str) else value["kind"],
)
def test_hidden_states_and_the_kept_head_give_the_labels_that_the_supervisor_predicted(
    tmp_path, model, form, tuning
):
    store = Store.open(tmp_path / "store")
    given = rows_of_form("pairs", flipped=False)
    if form == "classes":
        given = [{k: v for k, v in row.items() if k != "second"} for row in given]
    store.splits.write("s" * 20, pa.Table.from_pylist(given, schema=SPLIT_ROWS), {})
    is_probe = tuning["kind"] == "probe"
    fit = trained(store, teacher(model, form, tuning), keep="head" if is_probe else "last")
    kept = {path.name for path in kept_weights(store, fit.id, use="").iterdir()}
    assert ("config.json" in kept) == (not is_probe)
    assert "head.safetensors" in kept
    read, rows = read_by(store, student_of(fit, model))
    for part in ("supervisor_half", "student_half"):
        places = np.arange(3, len(rows.ids[part]), 2)
        predicted = store.predictions(fit.id, part).column("probability").to_numpy()[places]
        assert np.ptp(predicted) > 0.005
        found = read.label(part, places)
        assert found[:, 1] == pytest.approx(predicted, abs=1e-5)
        assert read.activate(part, places).shape == (len(places), 16)


def test_the_activations_of_a_probes_frozen_model_are_not_computed_again(
    tmp_path, model, monkeypatch
):
    store = Store.open(tmp_path / "store")
    given = rows_of_form("pairs", flipped=False)
    store.splits.write("s" * 20, pa.Table.from_pylist(given, schema=SPLIT_ROWS), {})
    fit = trained(store, teacher(model, "pairs", {"kind": "probe"}), keep="none")
    read, rows = read_by(store, student_of(fit, model))

    def computed(*_: Any, **__: Any) -> None:
        pytest.fail("activations were computed again")

    monkeypatch.setattr("w2s_ray.learn.activations.activations", computed)
    for part in ("supervisor_half", "student_half"):
        assert len(read.activate(part, np.arange(len(rows.ids[part])))) == len(rows.ids[part])


def test_a_supervisor_without_weights_is_named(tmp_path, model):
    store = Store.open(tmp_path / "store")
    given = rows_of_form("pairs", flipped=False)
    store.splits.write("s" * 20, pa.Table.from_pylist(given, schema=SPLIT_ROWS), {})
    fit = trained(store, teacher(model, "pairs", {"kind": "full"}), keep="none")
    read, _ = read_by(store, student_of(fit, model))
    line = f"run {fit.id}, whose hidden states this one reads, left no weights; delete its folder"
    with pytest.raises(ValueError, match=line):
        read.activate("student_half", np.arange(3))


def test_a_probe_on_features_is_read_with_its_bias(tmp_path):
    sweep = parse_sweep("""
name: digits
task: {name: digits, train: 200, validation: 60, test: 60}
models: ["pixels:2", "pixels:4"]
training: {batch_size: 50, epochs: 5, lr: 5e-2}
methods:
  trusted: {stages: [{kind: trust, truth: {rows: 60}}]}
""")
    store = Store.open(tmp_path / "store")
    plan = plan_sweep(sweep, store=store)
    materialize(plan, store)
    fits = {fit.roles[0]: fit for fit in plan.fits.values()}
    for role in ("supervisor", "student"):
        record = FitTraining(fits[role]).run(store, checkpoints=None)
        assert record.status == "done", record.traceback
    assert record.summary["train_rows"] == record.summary["dropped_rows"] == 50
    read, rows = read_by(store, fits["student"])
    predicted = store.predictions(fits["supervisor"].id, "student_half").column("probabilities")
    found = read.label("student_half", np.arange(len(rows.ids["student_half"])))
    assert found == pytest.approx(np.array(predicted.to_pylist()), abs=1e-5)


class _Known(Transform):
    """Notes what it gets."""

    truth: TruthSlice

    @property
    def truth_slice(self) -> TruthSlice:
        return self.truth

    def apply(self, rows):
        SEEN.append(rows)
        return rows


SEEN: list[Any] = []


@pytest.mark.parametrize("part", ["supervisor_half", "student_half", "validation"])
def test_a_transform_gets_the_true_classes_of_its_slice_and_of_no_other_row(model, part):
    fit = student_of(supervisor(model), model)
    given = rows_of_form("pairs", flipped=False)
    plain = SplitRows.of(pa.Table.from_pylist(given, schema=SPLIT_ROWS))
    weak = {(p, i): 0.3 for p in plain.ids if p != "supervisor_half" for i in plain.ids[p]}
    read = Read(
        activate=lambda p, places: places[:, None] * 1.0,
        label=lambda p, places: np.tile(np.float32([0.4, 0.6]), (len(places), 1)),
    )

    def known(rows: SplitRows, seed: int = 0):
        SEEN.clear()
        labels = Labels(source=fit.recipe.labels.runs).model_copy(
            update={"transforms": (_Known(truth=TruthSlice(rows=8, of=part)),)}
        )
        recipe = fit.recipe.model_copy(update={"labels": labels, "seed": seed})
        targets(
            recipe,
            rows,
            weak=weak,
            activate=lambda _, places: places[:, None] * -1.0,
            supervisor=read,
        )
        (found,) = SEEN
        assert found.all_ground_truth is None
        return found.known

    first = known(plain)
    places = first.supervisor_activations_SD[:, 0].astype(int)
    assert len(set(places.tolist())) == 8
    assert first.activations_SD[:, 0].tolist() == (-places).tolist()
    truth = plain.truth[part].labels_N
    assert truth is not None
    assert first.classes_S.tolist() == truth[places].tolist()
    expected = 0.6 if part == "supervisor_half" else 0.3
    assert first.labels_SC[:, 1] == pytest.approx([expected] * 8)
    in_slice = {plain.ids[part][i] for i in places}

    def flipped(rows: set[str]) -> SplitRows:
        made = [
            row | {"label": 1 - row["label"]} if row["example_id"] in rows else row for row in given
        ]
        return SplitRows.of(pa.Table.from_pylist(made, schema=SPLIT_ROWS))

    others = {row["example_id"] for row in given} - in_slice
    assert np.array_equal(known(flipped(others)).classes_S, first.classes_S)
    assert np.array_equal(known(flipped(in_slice)).classes_S, 1 - first.classes_S)
    assert known(plain, seed=1).activations_SD.tolist() != first.activations_SD.tolist()
