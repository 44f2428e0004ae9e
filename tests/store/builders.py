"""Small records, tables and manifests for tests of the store and of the report."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from w2s_ray.store import Cell, Manifest, Record

EARLY = "2026-01-01T00:00:00+00:00"
LATE = "2026-01-02T00:00:00+00:00"


def an_id(name: str) -> str:
    """A value in the form of a run id, derived from `name` and not from a recipe."""
    return hashlib.sha256(name.encode()).hexdigest()[:20]


def a_recipe(**changes: Any) -> dict[str, Any]:
    return {
        "split": "split-1",
        "train_on": "student_half",
        "model": "sha256:abc",
        "labels": {"source": ["a-supervisor"]},
        "training": {"lr": 1e-4, "epochs": 2, "batch_size": 32, "tuning": {"kind": "full"}},
        "loss": {"kind": "xent"},
        "early_stopping": None,
        "seed": 0,
        **changes,
    }


def a_record(name: str = "run", *, accuracy: float | None = 0.75, **changes: Any) -> Record:
    return Record(
        **{
            "id": an_id(name),
            "kind": "fit",
            "status": "done",
            "recipe": a_recipe(),
            "about": {"task": "sciq", "model": "tiny"},
            "summary": {} if accuracy is None else {"test_accuracy": accuracy, "steps": 10},
            "started_at": EARLY,
            "ended_at": LATE,
            "seconds": 1.5,
            "identity_version": 1,
            **changes,
        }
    )


def some_metrics(name: str = "run") -> pa.Table:
    return pa.table(
        {
            "run_id": [an_id(name)] * 3,
            "step": [1, 2, 2],
            "metric": ["train/loss", "train/loss", "validation/accuracy"],
            "value": [0.7, float("nan"), 0.5],
        }
    )


def some_predictions() -> pa.Table:
    return pa.table(
        {
            "example_id": ["a", "b", "c"],
            "part": ["validation", "test", "test"],
            "probability": [0.1, 0.6, 1.0],
            "answer": pa.nulls(3, pa.string()),
            "probabilities": pa.nulls(3, pa.list_(pa.float32())),
            "extracted": pa.nulls(3, pa.string()),
            "certainty": pa.nulls(3, pa.float64()),
            "samples": pa.nulls(3, pa.list_(pa.string())),
        }
    )


def some_rows() -> pa.Table:
    return pa.table(
        {
            "example_id": ["a", "b", "c", "d"],
            "part": ["validation", "test", "test", "student_half"],
            "text": ["one", "two", "three", "four"],
            "label": pa.array([0, 1, 0, 1], pa.int8()),
            "group": ["g", "h", None, "i"],
            **{name: pa.nulls(4, pa.string()) for name in ("second", "answer")},
            "difficulty": pa.nulls(4, pa.float64()),
            "near_copies": pa.array([None, 2, 0, None], pa.int64()),
            "choices": pa.nulls(4, pa.list_(pa.string())),
            "weight": pa.nulls(4, pa.float64()),
            "extracted": pa.nulls(4, pa.string()),
        }
    )


def a_cell(**changes: Any) -> Cell:
    given = {"task": "sciq", "weak": "small", "strong": "large", "method": "naive", "seed": 0}
    given |= changes
    seed, task = given["seed"], given["task"]
    names = {
        "supervisor": an_id(f"{task}-{given['weak']}-{seed}"),
        "ceiling": an_id(f"{task}-{given['strong']}-{seed}"),
        "student": an_id(f"{task}-{given['weak']}-{given['strong']}-{given['method']}-{seed}"),
    }
    return Cell(**{**names, **given})


def a_manifest(*cells: Cell, **changes: Any) -> Manifest:
    given = {"name": "sweep", "sweep_text": "name: sweep\n", "created_at": EARLY, "cells": cells}
    return Manifest(**{**given, **changes})
