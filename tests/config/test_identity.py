"""A run id changes with everything that changes a number, and with nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.config import (
    ConfidenceLoss,
    Distribution,
    EarlyStopping,
    Execution,
    FitRecipe,
    Labels,
    LoraTuning,
    OneOf,
    StudyRecipe,
    Training,
    XentLoss,
)
from w2s_ray.identity import canonical_json, run_id

SUPERVISOR = FitRecipe(
    split="0123456789abcdef0123",
    train_on="supervisor_half",
    model="sha256:aa",
    labels=Labels(source="ground_truth"),
    training=Training(),
    loss=XentLoss(),
    seed=0,
    predicts=("student_half", "validation", "test"),
)
STUDENT = FitRecipe(
    split="0123456789abcdef0123",
    train_on="student_half",
    model="sha256:bb",
    labels=Labels(source=(SUPERVISOR.run_id,)),
    training=Training(lr=3e-4, bucket_batches=16),
    loss=ConfidenceLoss(alpha=0.75),
    early_stopping=EarlyStopping(patience=2),
    seed=1,
)

STUDY = StudyRecipe(
    cells=(STUDENT,),
    space={"loss.alpha": Distribution(uniform=(0.0, 0.9))},
    trials=16,
    objective="transfer",
    metric="accuracy",
    sampler="tpe",
    scheduler="asha",
    grace_evaluations=2,
    reduction_factor=3.0,
    concurrent_trials=4,
    seed=1000,
)


def test_ids_are_golden():
    """If this fails, results in every store are orphaned: raise IDENTITY_VERSION on purpose."""
    assert SUPERVISOR.run_id == "fc8ac64126eba3c9f343"
    assert STUDENT.run_id == "5ec95b069d490a3f1562"
    assert STUDY.run_id == "e5298b334d7f476e3eff"


@pytest.mark.parametrize(
    "change",
    [
        {"split": "1123456789abcdef0123"},
        {"train_on": "supervisor_half"},
        {"model": "sha256:cc"},
        {"labels": Labels(source="ground_truth")},
        {"labels": Labels(source=(SUPERVISOR.model_copy(update={"seed": 7}).run_id,))},
        {"labels": Labels(source=(SUPERVISOR.run_id, "another"))},
        {"form": "pairs"},
        {"train_slice": (0, 2)},
        {"loss": ConfidenceLoss(alpha=0.5)},
        {"loss": ConfidenceLoss(alpha=0.75, prior=0.4)},
        {"early_stopping": None},
        {"early_stopping": EarlyStopping(patience=2, oracle=True)},
        {"seed": 2},
        {"predicts": ("test",)},
        *(
            {"training": STUDENT.training.model_copy(update=update)}
            for update in (
                {"batch_size": 16},
                {"epochs": 3},
                {"lr": 1e-4},
                {"schedule": "linear"},
                {"lr_warmup_fraction": 0.1},
                {"weight_decay": 0.1},
                {"betas": (0.9, 0.95)},
                {"clip_norm": None},
                {"max_tokens": 128},
                {"precision": "bf16"},
                {"bucket_batches": 1},
                {"evaluations_per_epoch": 2},
                {"tuning": LoraTuning()},
                {"tuning": LoraTuning(rank=32)},
            )
        ),
    ],
    ids=lambda change: str(change)[:60],
)
def test_everything_that_changes_a_number_changes_the_id(change):
    assert STUDENT.model_copy(update=change).run_id != STUDENT.run_id


def test_a_recipe_has_no_execution_settings():
    shared = set(Execution.model_fields) & set(FitRecipe.model_fields)
    assert shared == set()


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )
)
def test_key_order_never_matters(value):
    def reversed_keys(v):
        if isinstance(v, dict):
            return {k: reversed_keys(v[k]) for k in reversed(list(v))}
        return [reversed_keys(i) for i in v] if isinstance(v, list) else v

    assert canonical_json(value) == canonical_json(reversed_keys(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {1, 2}, object(), b"x"])
def test_values_without_a_canonical_form_are_refused(value):
    with pytest.raises((TypeError, ValueError), match=r"no canonical form|not a string"):
        run_id(kind="fit", recipe={"field": value})


def test_ids_do_not_depend_on_the_process():
    code = "from tests.config.test_identity import STUDENT; print(STUDENT.run_id)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PATH": ""},
    )
    assert run.stdout.strip() == STUDENT.run_id


def losses(*kinds: str) -> dict[str, Any]:
    return {"loss": OneOf.model_validate({"one_of": [{"kind": kind} for kind in kinds]})}


def student(loss: Any, bucket_batches: int | None = None) -> FitRecipe:
    training = Training(bucket_batches=bucket_batches)
    return STUDENT.model_copy(update={"loss": loss, "training": training})


@pytest.mark.parametrize(
    ("space", "cell", "same_as"),
    [
        ({}, student(XentLoss()), student(XentLoss(), 16)),
        (losses("xent", "kl"), student(XentLoss()), student(XentLoss(), 16)),
        (losses("confidence"), student(ConfidenceLoss()), student(ConfidenceLoss(), 1)),
    ],
)
def test_a_study_whose_trials_batch_alike_has_the_id_of_the_number(space, cell, same_as):
    study = STUDY.model_copy(update={"cells": (cell,), "space": space})
    assert study.run_id == study.model_copy(update={"cells": (same_as,)}).run_id


@pytest.mark.parametrize("base", [XentLoss(), ConfidenceLoss()])
def test_a_study_over_losses_that_batch_differently_batches_each_trial_by_its_loss(base):
    space = losses("xent", "confidence")
    study = STUDY.model_copy(update={"cells": (student(base),), "space": space})
    stored = StudyRecipe.model_validate(study.model_dump(mode="json"))
    assert stored.run_id == study.run_id
    for one in (study, stored):
        batches = [
            one.trial_fits({"loss.kind": kind})[0].bucket_batches for kind in ("xent", "confidence")
        ]
        assert batches == [16, 1]
    for number in (1, 16):
        fixed = study.model_copy(update={"cells": (student(base, number),)})
        assert fixed.run_id != study.run_id
        assert fixed.trial_fits({"loss.kind": "xent"})[0].bucket_batches == number
