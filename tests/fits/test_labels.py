"""Ground truth of a reported cell never reaches its student, unless the run says oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import NoCheckpoints, make_model, make_task
from w2s_ray.config import (
    Columns,
    ConfidenceLoss,
    EarlyStopping,
    Execution,
    FitRecipe,
    Labels,
    ModelSource,
    Task,
    Training,
    XentLoss,
)
from w2s_ray.data import load_split, make_split
from w2s_ray.data.sources import read_rows
from w2s_ray.fits.labels import SplitRows, slice_rows, targets
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.fits.training_data import each_weak_labels, weak_labels
from w2s_ray.methods.losses import MixtureLoss
from w2s_ray.methods.transforms import Weights
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store
from w2s_ray.store.tables import SPLIT_ROWS


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    path = make_task(tmp_path_factory.mktemp("task") / "task.csv")
    columns = Columns(text="text", label="label")
    split = load_split(
        Task(name="words", path=str(path), columns=columns, train=96, validation=32, test=32)
    )
    return [
        {"example_id": e.id, "part": part, "text": e.text, "label": e.label, "group": e.group}
        for part, examples in split.parts.items()
        for e in examples
    ]


def write_split(store: Store, rows: list[dict], *, flipped: bool) -> None:
    """The split in `store`, under one name; `flipped` inverts the truth that a student may not
    see."""
    hidden = ("student_half", "validation", "test")
    changed = [
        {**row, "label": 1 - row["label"]} if flipped and row["part"] in hidden else row
        for row in rows
    ]
    store.splits.write("s" * 20, pa.Table.from_pylist(changed, schema=SPLIT_ROWS), {})


def planned(model: Path, **recipe) -> PlannedFit:
    settings = Training(
        epochs=2, batch_size=16, bucket_batches=16, lr=3e-3, evaluations_per_epoch=2
    )
    made = FitRecipe.model_validate(
        {"split": "s" * 20, "model": "sha256:m", "training": settings, "seed": 0, **recipe}
    )
    source = ModelSource(name="m", location=str(model), identity="sha256:m")
    execution = Execution(gpus_per_worker=0)
    return PlannedFit(made.run_id, made, source, execution, task="words")


def supervisor(model: Path) -> PlannedFit:
    return planned(
        model,
        train_on="supervisor_half",
        labels="ground_truth",
        loss=XentLoss(),
        predicts=("student_half", "validation", "test"),
    )


def student(model: Path, stopping: EarlyStopping | None, transforms: Any = ()) -> PlannedFit:
    return planned(
        model,
        train_on="student_half",
        labels={"source": [supervisor(model).id], "transforms": transforms},
        loss=ConfidenceLoss(),
        early_stopping=stopping,
    )


def run_fits(store: Store, *fits: PlannedFit) -> list[list[float]]:
    found = []
    for fit in fits:
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback
        found.append(store.predictions(fit.id, "test").column("probability").to_pylist())
    return found


@pytest.mark.parametrize("finish", [False, True])
@pytest.mark.parametrize("oracle", [False, True])
def test_flipping_all_hidden_truth_changes_nothing_in_a_student_but_an_oracles(
    tmp_path, model, rows, oracle, finish
):
    stopping = EarlyStopping(patience=1, metric="loss", oracle=oracle, finish_schedule=finish)
    predictions = []
    for flipped in (False, True):
        store = Store.open(tmp_path / f"flipped-{flipped}")
        write_split(store, rows, flipped=flipped)
        predictions.append(run_fits(store, supervisor(model), student(model, stopping)))
    (weak, learned), (weak_again, learned_again) = predictions
    assert weak == weak_again
    assert (learned == learned_again) is not oracle


def test_the_oracle_stop_sees_the_whole_schedule_only_if_training_goes_on(tmp_path, model, rows):
    store = Store.open(tmp_path)
    write_split(store, rows, flipped=False)
    stopping = EarlyStopping(patience=1, metric="loss", min_delta=100)  # at the second evaluation
    learners = [
        student(model, stopping.model_copy(update={"finish_schedule": finish}))
        for finish in (False, True)
    ]
    _, *predicted = run_fits(store, supervisor(model), *learners)
    assert predicted[0] == predicted[1]
    stopped, finished = (store.record(learner.id).summary for learner in learners)
    assert (stopped["stopped_early"], finished["stopped_early"]) == (True, False)
    assert stopped["steps"] == finished["stopping_step"] < finished["steps"]
    assert finished["steps"] == finished["total_steps"]
    assert stopped["test_accuracy"] == finished["test_accuracy"]
    seen = [
        [
            row["value"]
            for row in store.metrics(learner.id).to_pylist()
            if row["metric"] == "validation/accuracy"
        ]
        for learner in learners
    ]
    assert len(seen[0]) == 2 < len(seen[1])
    for summary, accuracies in zip((stopped, finished), seen, strict=True):
        assert summary["oracle_validation_accuracy"] == max(accuracies)


def test_a_ceiling_depends_on_ground_truth(tmp_path, model, rows):
    ceiling = planned(model, train_on="student_half", labels="ground_truth", loss=XentLoss())
    found = []
    for flipped in (False, True):
        store = Store.open(tmp_path / f"flipped-{flipped}")
        write_split(store, rows, flipped=flipped)
        found.append(run_fits(store, ceiling))
    assert found[0] != found[1]


def test_a_students_targets_are_its_supervisors_probabilities(model, rows):
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))
    weak = {(row["part"], row["example_id"]): 0.25 for row in rows}
    made = targets(student(model, None).recipe, table, weak=weak)
    assert np.array_equal(made.train_NC, np.full((48, 2), (0.75, 0.25), dtype=np.float32))
    assert np.array_equal(made.validation_MC, np.full((32, 2), (0.75, 0.25), dtype=np.float32))
    oracle = student(model, EarlyStopping(oracle=True)).recipe
    made = targets(oracle, table, weak=weak)
    assert np.array_equal(made.train_NC, np.full((48, 2), (0.75, 0.25), dtype=np.float32))
    assert np.array_equal(made.validation_MC[:, 1], table.truth["validation"].labels_N)


@pytest.mark.parametrize(
    "transforms",
    [
        ({"kind": "hard"},),
        ({"kind": "temperature", "by": 2.0}, {"kind": "confident", "above": 0.5}),
        ({"kind": "filter", "by": {"kind": "knn", "k": 5}, "share": 0.25},),
        ({"kind": "relabel", "by": {"kind": "logistic"}},),
        ({"kind": "filter", "by": {"kind": "topofilter", "k": 5}}, {"kind": "hard"}),
    ],
    ids=lambda transforms: "+".join(transform["kind"] for transform in transforms),
)
def test_transforms_get_no_truth_and_dropped_rows_are_counted(tmp_path, model, rows, transforms):
    found = []
    for flipped in (False, True):
        store = Store.open(tmp_path / f"flipped-{flipped}")
        write_split(store, rows, flipped=flipped)
        learner = student(model, EarlyStopping(patience=1), transforms=transforms)
        found.append(run_fits(store, supervisor(model), learner))
        summary = store.record(learner.id).summary
        assert summary["train_rows"] + summary["dropped_rows"] == 48
        if any(transform["kind"] == "filter" for transform in transforms):
            assert summary["dropped_rows"] >= 5
    assert found[0] == found[1]


def test_transforms_of_ground_truth_are_refused(model):
    with pytest.raises(ValueError, match="transforms change weak labels"):
        planned(
            model,
            train_on="student_half",
            labels={"source": "ground_truth", "transforms": [{"kind": "hard"}]},
            loss=XentLoss(),
        )


def test_transforms_that_leave_no_row_are_named(model, rows):
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))
    weak = {(row["part"], row["example_id"]): 0.5 for row in rows}
    fit = student(model, None, transforms=({"kind": "confident"},))
    with pytest.raises(ValueError, match=r"Confident.* leaves none of 48 rows"):
        targets(fit.recipe, table, weak=weak)


def sliced(groups, index: int, count: int, **fields) -> list[int]:
    """The places of a slice's rows."""
    recipe = FitRecipe(
        split="s" * 20,
        train_on="student_half",
        train_slice=(index, count),
        model="sha256:m",
        labels=Labels(source="ground_truth"),
        training=Training(),
        loss=XentLoss(),
        seed=0,
        **fields,
    )
    return slice_rows(groups, recipe).tolist()


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=40),
    st.integers(1, 5),
    st.sampled_from(["drawn", "by_place"]),
)
def test_slices_are_disjoint_whole_groups_and_together_everything(groups, count, how):
    slices = [sliced(groups, i, count, slices=how) for i in range(count)]
    assert sorted(row for one in slices for row in one) == list(range(len(groups)))
    for name in {group for group in groups if group is not None}:
        assert sum(any(groups[row] == name for row in one) for one in slices) == 1


def test_slices_of_ungrouped_rows_are_equal_and_only_their_labels_are_read(model, rows):
    assert [len(sliced([None] * 48, i, 3, slices="drawn")) for i in range(3)] == [16, 16, 16]
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))
    ids = table.ids["student_half"]
    weak = {("student_half", row): 0.25 for row in ids[24:]}
    weak |= {("validation", row): 0.25 for row in table.ids["validation"]}
    recipe = student(model, None).recipe.model_copy(update={"train_slice": (1, 2)})
    made = targets(recipe, table, weak=weak)
    assert made.rows_N.tolist() == list(range(24, 48))  # by place
    assert len(made.train_NC) == 24


def test_labels_of_several_supervisors_are_averaged(tmp_path, model, rows):
    store = Store.open(tmp_path)
    write_split(store, rows, flipped=False)
    first = supervisor(model)
    recipe = first.recipe.model_copy(update={"seed": 1})
    second = PlannedFit(recipe.run_id, recipe, first.source, first.execution, first.task)
    run_fits(store, first, second)
    means = []
    for source in ((first.id,), (second.id,), (first.id, second.id)):
        made = weak_labels(
            store, student(model, None).recipe.model_copy(update={"labels": Labels(source=source)})
        )
        means.append(np.array([made[row] for row in sorted(made)]))
    assert np.allclose(means[2], (means[0] + means[1]) / 2)
    assert not np.allclose(means[0], means[1])


def test_the_labels_of_each_supervisor_reach_a_loss_that_takes_them(tmp_path, model, rows):
    store = Store.open(tmp_path)
    write_split(store, rows, flipped=False)
    first = supervisor(model)
    recipe = first.recipe.model_copy(update={"seed": 1})
    second = PlannedFit(recipe.run_id, recipe, first.source, first.execution, first.task)
    run_fits(store, first, second)
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))
    labels = Labels(source=(first.id, second.id), transforms=(Weights(),))
    taught = student(model, None).recipe.model_copy(update={"labels": labels})
    assert each_weak_labels(store, taught) == []
    taught = taught.model_copy(update={"loss": MixtureLoss()})
    weak = weak_labels(store, taught)
    made = targets(taught, table, weak=weak, each=each_weak_labels(store, taught))
    assert made.train_KNC is not None
    assert np.allclose(made.train_KNC.mean(axis=0), made.train_NC, atol=1e-6)
    assert not np.allclose(made.train_KNC[0], made.train_KNC[1])
    assert made.weights_N is not None
    assert made.weights_N.mean() == pytest.approx(1, abs=1e-5)
    certainty = np.abs(2 * made.train_NC[:, 1] - 1)
    assert np.allclose(made.weights_N, certainty / certainty.mean(), atol=1e-4)


def weighted(rows, weights: dict[str, float]) -> SplitRows:
    given = [{**row, "weight": weights.get(row["example_id"])} for row in rows]
    return SplitRows.of(pa.Table.from_pylist(given, schema=SPLIT_ROWS))


def test_the_weights_of_rows_count_in_every_fit_and_those_of_transforms_multiply_them(model, rows):
    halves = [row for row in rows if row["part"].endswith("_half")]
    own = {row["example_id"]: (i % 5) / 2 for i, row in enumerate(halves)}
    table = weighted(rows, own)
    weak = {(r["part"], r["example_id"]): 0.5 + i % 7 / 20 for i, r in enumerate(rows)}
    taught = student(model, None).recipe
    more = taught.model_copy(
        update={"labels": Labels(source=taught.labels.runs, transforms=(Weights(),))}
    )
    few = supervisor(model).recipe.model_copy(update={"one_row_in": 3})
    by_chance = taught.model_copy(update={"labels": Labels(source="random")})
    for recipe in (supervisor(model).recipe, few, taught, by_chance, more):
        made = targets(recipe, table, weak=weak)
        ids = [table.ids[recipe.train_on][i] for i in made.rows_N]
        expected = np.array([own[name] for name in ids])
        if recipe is more:
            expected *= [abs(2 * weak[recipe.train_on, name] - 1) for name in ids]
        assert made.weights_N is not None
        assert made.weights_N == pytest.approx(expected / expected.mean(), abs=1e-5)
    alike = targets(taught, weighted(rows, dict.fromkeys(own, 1e300)), weak=weak)
    assert set(np.asarray(alike.weights_N).tolist()) == {1.0}
    with pytest.raises(ValueError, match="all training rows have weight 0"):
        targets(taught, weighted(rows, dict.fromkeys(own, 0.0)), weak=weak)


def test_a_missing_weak_label_is_named(model, rows):
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))
    with pytest.raises(ValueError, match=r"has no label for \('student_half', "):
        targets(student(model, None).recipe, table, weak={})


def test_nan_fails_the_fit_with_its_step_and_leaves_no_result(tmp_path, model, rows):
    store = Store.open(tmp_path / "store")
    write_split(store, rows, flipped=False)
    fit = supervisor(model)
    training = fit.recipe.training.model_copy(update={"lr": 1e30, "clip_norm": None})
    recipe = fit.recipe.model_copy(update={"training": training})
    fit = PlannedFit(recipe.run_id, recipe, fit.source, fit.execution, fit.task)
    record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
    assert (record.status, record.cause) == ("failed", "diverged")
    assert "at step" in record.reason
    assert store.find(fit.id) is None


@pytest.mark.parametrize(
    "labels",
    [
        {"source": ["w" * 20], "transforms": [{"kind": "shuffled_labels"}]},
        {"source": ["w" * 20], "transforms": [{"kind": "class_prior"}]},
        {"source": "random"},
    ],
    ids=["shuffled", "prior", "random"],
)
def test_the_labels_of_a_control_have_no_relation_to_the_rows_in_training_and_on_validation(
    model, rows, labels
):
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))
    stopping = EarlyStopping(patience=1)
    fit = planned(
        model, train_on="student_half", labels=labels, loss=XentLoss(), early_stopping=stopping
    )
    truth = {
        (part, name): float(label)
        for part, ids in table.ids.items()
        for name, label in zip(ids, table.truth[part].labels_N, strict=True)
    }
    found = targets(fit.recipe, table, weak=truth)  # a supervisor that is always right
    for part, labels_NC in (
        ("student_half", found.train_NC),
        ("validation", found.validation_MC),
    ):
        right = (labels_NC.argmax(axis=1) == table.truth[part].labels_N).mean()
        assert 0.2 < right < 0.8, part


def test_few_rows_are_drawn_from_the_whole_half_by_the_seed(model, rows):
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))

    def drawn(seed: int) -> list[int]:
        fit = planned(
            model,
            train_on="student_half",
            labels="ground_truth",
            loss=XentLoss(),
            one_row_in=5,
            seed=seed,
        )
        return targets(fit.recipe, table, weak=None).rows_N.tolist()

    assert drawn(0) == drawn(0) != drawn(1)
    assert {len(set(drawn(seed))) for seed in range(5)} == {48 // 5}
    assert set().union(*(drawn(seed) for seed in range(60))) == set(range(48))


def test_a_drawn_slice_has_both_classes(tmp_path):
    """The rows of a balanced part of an unbalanced source are in the order of their classes."""
    lines = [f"row {i},{int(i % 10 < 3)}" for i in range(2000)]
    (tmp_path / "d.csv").write_text("\n".join(["text,label", *lines]))
    columns = Columns(text="text", label="label")
    path = str(tmp_path / "d.csv")
    declared = Task(name="mine", path=path, columns=columns, train=400, validation=20, test=20)
    half = make_split(read_rows(declared), task=declared).parts["student_half"]

    def ones(how: str) -> list[float]:
        slices = [sliced([None] * len(half), i, 4, slices=how) for i in range(4)]
        return [float(np.mean([half[row].label for row in rows])) for rows in slices]

    assert ones("by_place") == [0.0, 0.0, 1.0, 1.0]
    assert all(0.3 < share < 0.7 for share in ones("drawn"))
