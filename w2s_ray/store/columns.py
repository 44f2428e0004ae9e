"""What SQL sees of a store: every table's columns, with the meaning of each.

Owns the words in which a column is explained to a reader; a column without them is an error. It
knows nothing of how rows are read, and of PGR only that someone else describes it.
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
        ("id", _TEXT, "the run: a hash of its recipe and of what it depends on"),
        ("kind", _TEXT, "fit (one training) or study (the search of a method's settings)"),
        ("status", _TEXT, "done, failed, pruned or stopped, by its last attempt"),
        ("cause", _TEXT, "what kind of thing ended a failed attempt, such as out_of_memory"),
        ("reason", _TEXT, "why it is not done, in one line; of a done run: why it ended early"),
        ("task", _TEXT, "the task's name"),
        ("model", _TEXT, "the model that is trained, by its name in the sweep"),
        ("method", _TEXT, "how a student is trained; null for supervisors and ceilings"),
        (
            "labels",
            _TEXT,
            "ground_truth, none, or its supervisor's id; of several supervisors joined by +",
        ),
        ("train_on", _TEXT, "the part of the split that it trains on"),
        ("loss", _TEXT, "the loss's kind, such as xent or confidence"),
        ("alpha", _REAL, "weight of the student's own predictions in the loss; null without"),
        ("seed", _WHOLE, "seed of initialization and order; the split has one of its own"),
        ("lr", _REAL, "peak learning rate"),
        ("epochs", _WHOLE, "epochs of the whole schedule"),
        ("batch_size", _WHOLE, "examples per optimizer step, over all workers"),
        ("precision", _TEXT, "fp32 or bf16"),
        (
            "tuning",
            _TEXT,
            "what is trained: full (every weight), lora, probe, lp_ft or last_layers",
        ),
        ("early_stopping", _TEXT, "the metric that stops it early; null: it doesn't stop early"),
        ("stops_on_oracle", _TRUTH, "whether ground truth decides when it stops"),
        ("test_accuracy", _REAL, "share of right predictions on the test part, 0 to 1"),
        ("validation_accuracy", _REAL, "the same on the validation part, by ground truth"),
        ("validation_agreement", _REAL, "the same by the labels that steer the fit"),
        ("steps", _WHOLE, "optimizer steps taken"),
        ("total_steps", _WHOLE, "optimizer steps of the whole schedule"),
        ("best_step", _WHOLE, "the step whose weights were kept and tested"),
        ("parameters", _WHOLE, "parameters of the model"),
        ("attempts", _WHOLE, "how often it was tried, the last time included"),
        ("seconds", _REAL, "wall-clock seconds of the last attempt"),
        ("device_seconds", _REAL, "these seconds times the devices held"),
        ("bytes", _WHOLE, "bytes that the store keeps of it beside its record"),
        ("started_at", _TEXT, "start of the last attempt, ISO 8601 in UTC"),
        ("ended_at", _TEXT, "its end, ISO 8601 in UTC"),
        ("split", _TEXT, "fingerprint of the split that it is trained and tested on"),
        ("parents", pa.list_(_TEXT), "ids of the runs whose results it used"),
        ("identity_version", _WHOLE, "version of the rules by which the id was made"),
        ("traceback", _TEXT, "Python's traceback of a failed attempt"),
        ("recipe", _TEXT, "JSON: all that was hashed into the id; recipe->>'$.training.schedule'"),
        ("summary", _TEXT, "JSON: every final figure; summary->>'training_flops'"),
        ("about", _TEXT, "JSON: names to display, such as task, model, weak, method, roles"),
        ("execution", _TEXT, "JSON: how it ran (engine, workers, ...), which changes no result"),
        ("environment", _TEXT, "JSON: versions, devices and host"),
        ("retries", _TEXT, "JSON: cause -> how many earlier attempts it ended"),
        ("sizes", _TEXT, "JSON: file -> its bytes, of what is kept beside the record"),
    )
)
"""`runs`: one row per run, as it stands, done or not."""

CELLS = pa.schema(
    field(name, kind, meaning, nullable=True)
    for name, kind, meaning in (
        ("sweep", _TEXT, "the sweep's name"),
        ("task", _TEXT, "the task's name"),
        ("weak", _TEXT, "the supervisor's model"),
        ("strong", _TEXT, "the student's and the ceiling's model"),
        ("method", _TEXT, "how the student is trained"),
        ("seed", _WHOLE, "the seed of all three fits"),
        ("objective", _TEXT, "what chose the settings: none, transfer, weak_validation or oracle"),
        ("searched", _TRUTH, "whether the study trained this very task and pair"),
        ("study", _TEXT, "id of the study that chose the settings; null without a search"),
        ("supervisor", _TEXT, "id of the supervisor's fit"),
        ("ceiling", _TEXT, "id of the ceiling's fit"),
        ("student", _TEXT, "id of the student's fit; null while its study is not done"),
    )
)
"""`cells`: the grid of every sweep's latest manifest, one row per cell and seed."""

TRIALS = pa.schema(
    field(name, kind, meaning, nullable=True)
    for name, kind, meaning in (
        ("study", _TEXT, "id of the study"),
        ("number", _WHOLE, "the trial's number in its study, from 0"),
        ("state", _TEXT, "complete, pruned or failed"),
        ("value", _REAL, "the objective, which is maximized or minimized as the study says"),
        ("cost", _REAL, "the second objective, training FLOPs; null where there is one objective"),
        ("settings", _TEXT, "JSON: the settings that were tried; settings->>'$.\"loss.alpha\"'"),
        ("fits", pa.list_(_TEXT), "ids of the fits that it trained or found done"),
        ("reason", _TEXT, "why it is not complete, in one line"),
        ("trial", _TEXT, "JSON: all that is kept of it, such as `intermediate` values"),
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
