"""The columns of a store's tables in SQL, with the meaning of each.

Owns the description of each column; a column without one is an error. It reads no rows. The
columns of the PGR tables are declared in `report`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from w2s_ray.store.tables import METRICS, PREDICTIONS, SPLIT_ROWS, field

_TEXT, _REAL, _WHOLE, _TRUTH = pa.string(), pa.float64(), pa.int64(), pa.bool_()

_ID = field("run_id", _TEXT, "the fit that predicted", nullable=True)

RUNS = pa.schema(
    field(name, kind, meaning, nullable=True)
    for name, kind, meaning in (
        ("id", _TEXT, "the run: a hash of its recipe and of the runs that it depends on"),
        ("kind", _TEXT, "fit (one training) or study (the search of some fits' settings)"),
        ("status", _TEXT, "done, failed, pruned or stopped, by its last attempt"),
        ("cause", _TEXT, "the kind of failure that ended the attempt, such as out_of_memory"),
        ("reason", _TEXT, "why it is not done, in one line; of a done run: why it ended early"),
        ("task", _TEXT, "the task's name"),
        ("model", _TEXT, "the trained model, by its name in the sweep"),
        ("method", _TEXT, "how a student is trained; null for supervisors and ceilings"),
        (
            "labels",
            _TEXT,
            "ground_truth, random, none, or its supervisor's id; ids of several are joined by +",
        ),
        ("train_on", _TEXT, "the part of the split that it trains on"),
        ("loss", _TEXT, "the kind of loss, such as xent or confidence"),
        (
            "alpha",
            _REAL,
            "weight of the student's own predictions in the loss; null for a loss without it",
        ),
        ("seed", _WHOLE, "seed of initialization and data order; the split has a separate seed"),
        ("lr", _REAL, "peak learning rate"),
        ("epochs", _WHOLE, "epochs of the whole schedule"),
        ("batch_size", _WHOLE, "examples per optimizer step, over all workers"),
        ("precision", _TEXT, "fp32, tf32 or bf16"),
        (
            "tuning",
            _TEXT,
            "the trained weights: full (all of them), lora, probe, lp_ft or last_layers",
        ),
        ("early_stopping", _TEXT, "the metric for early stopping; null: no early stopping"),
        ("stops_on_oracle", _TRUTH, "whether ground truth decides when it stops"),
        ("test_accuracy", _REAL, "share of correct predictions on the test part, 0 to 1"),
        (
            "validation_accuracy",
            _REAL,
            "share of correct predictions on the validation part, by ground truth",
        ),
        (
            "validation_agreement",
            _REAL,
            "share of predictions on the validation part that agree with the labels that the fit "
            "is evaluated with during training",
        ),
        ("steps", _WHOLE, "optimizer steps taken"),
        ("total_steps", _WHOLE, "optimizer steps of the whole schedule"),
        ("best_step", _WHOLE, "the step whose weights were kept and tested"),
        ("parameters", _WHOLE, "parameters of the model"),
        ("attempts", _WHOLE, "number of attempts, the last one included"),
        ("seconds", _REAL, "wall-clock seconds of the last attempt"),
        ("device_seconds", _REAL, "these seconds times the number of devices"),
        ("bytes", _WHOLE, "bytes of its stored files apart from its record"),
        ("started_at", _TEXT, "start of the last attempt, ISO 8601 in UTC"),
        ("ended_at", _TEXT, "end of the last attempt, ISO 8601 in UTC"),
        ("split", _TEXT, "fingerprint of the split that it is trained and tested on"),
        ("parents", pa.list_(_TEXT), "ids of the runs whose results it used"),
        ("identity_version", _WHOLE, "version of the rules for ids"),
        ("traceback", _TEXT, "Python's traceback of a failed attempt"),
        ("recipe", _TEXT, "JSON: the values hashed into the id; recipe->>'$.training.schedule'"),
        ("summary", _TEXT, "JSON: every final figure; summary->>'training_flops'"),
        ("about", _TEXT, "JSON: names to display, such as task, model, weak, method, roles"),
        ("execution", _TEXT, "JSON: how it ran (engine, workers, ...); this changes no result"),
        ("environment", _TEXT, "JSON: versions, devices and host"),
        ("retries", _TEXT, "JSON: cause -> number of earlier attempts that failed with it"),
        ("sizes", _TEXT, "JSON: file -> its bytes, for the files beside the record"),
    )
)
"""`runs`: one row per run with its latest record, done or not."""

CELLS = pa.schema(
    field(name, kind, meaning, nullable=True)
    for name, kind, meaning in (
        ("sweep", _TEXT, "the sweep's name"),
        ("task", _TEXT, "the task's name"),
        ("weak", _TEXT, "the supervisor's model"),
        ("strong", _TEXT, "the student's and the ceiling's model"),
        ("method", _TEXT, "how the student is trained"),
        ("seed", _WHOLE, "the seed of all three fits"),
        (
            "objective",
            _TEXT,
            "the objective that chose the settings: none, transfer, weak_validation or oracle",
        ),
        ("searched", _TRUTH, "whether the study trained this task and pair itself"),
        ("study", _TEXT, "id of the study that chose the student's settings; null without one"),
        (
            "supervisor_study",
            _TEXT,
            "id of the study that chose the supervisor's settings; null without one",
        ),
        ("ceiling_study", _TEXT, "id of the study that chose the ceiling's; null without one"),
        ("supervisor", _TEXT, "id of the supervisor's fit; null while its study is not done"),
        ("ceiling", _TEXT, "id of the ceiling's fit; null while its study is not done"),
        ("student", _TEXT, "id of the student's fit; null while its study is not done"),
        ("control", _TRUTH, "whether the method is a control"),
    )
)
"""`cells`: the grid in the latest manifest of every sweep, one row per cell and seed."""

TRIALS = pa.schema(
    field(name, kind, meaning, nullable=True)
    for name, kind, meaning in (
        ("study", _TEXT, "id of the study"),
        ("number", _WHOLE, "the trial's number in its study, from 0"),
        ("state", _TEXT, "complete, pruned or failed"),
        ("value", _REAL, "the objective, which the study maximizes or minimizes"),
        ("cost", _REAL, "the second objective, training FLOPs; null if there is one objective"),
        ("settings", _TEXT, "JSON: the settings that were tried; settings->>'$.\"loss.alpha\"'"),
        ("fits", pa.list_(_TEXT), "ids of its fits, which it trained or which were done before"),
        ("reason", _TEXT, "why it is not complete, in one line"),
        ("trial", _TEXT, "JSON: all its stored values, such as `intermediate` values"),
    )
)
"""`trials`: one row per ended trial of a study."""

LABELLED_PREDICTIONS = pa.schema(
    [_ID, *PREDICTIONS, field("label", pa.int8(), "ground truth, 0 or 1", nullable=True)]
)
"""`predictions`: one row per done fit and predicted example."""

SPLITS = pa.schema([field("split", _TEXT, "the split's fingerprint", nullable=True), *SPLIT_ROWS])
"""`splits`: one row per split and example."""

TABLES: Mapping[str, pa.Schema] = {
    "runs": RUNS,
    "cells": CELLS,
    "trials": TRIALS,
    "metrics": METRICS,
    "predictions": LABELLED_PREDICTIONS,
    "splits": SPLITS,
}
"""Name of a table in SQL -> its columns."""
