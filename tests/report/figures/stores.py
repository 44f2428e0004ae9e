"""Stores of sweeps that were never trained: records, curves, predictions and trials by formula."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.store.builders import EARLY, LATE, a_recipe
from w2s_ray.config import FitRecipe, StudyRecipe
from w2s_ray.store import Cell, Manifest, Record, Store


@dataclass(frozen=True)
class Sweep:
    """The sweep to generate; models are sorted weakest first."""

    name: str = "sweep"
    tasks: Sequence[str] = ("sciq",)
    models: Sequence[str] = ("small", "medium", "large")
    pairs: Sequence[tuple[str, str]] = (("small", "medium"), ("small", "large"))
    methods: Sequence[str] = ("naive", "confidence")
    seeds: Sequence[int] = (0, 1)
    searched: str | None = None
    """The method whose settings a study of 6 trials chose."""
    accuracy: Mapping[str, float] | None = None
    """Model -> accuracy on ground truth; default: rises with size."""
    examples: int = 200
    text: str = ""
    """The text of every row."""

    def split(self, task: str) -> str:
        return f"{self.name}-{self.tasks.index(task)}"

    def reached(self, model: str) -> float:
        if self.accuracy is not None and model in self.accuracy:
            return self.accuracy[model]
        return 0.62 + 0.33 * self.models.index(model) / max(1, len(self.models) - 1)


def make_store(folder: Path, sweep: Sweep) -> Store:
    """A store in which all of `sweep` is done."""
    store, cells = Store.open(folder), []
    for task in sweep.tasks:
        store.splits.write(sweep.split(task), _rows(sweep, task), {"task": task})
    study = _study(store, sweep) if sweep.searched else None
    grid = itertools.product(sweep.tasks, sweep.pairs, sweep.methods, sweep.seeds)
    for task, (weak, strong), method, seed in grid:
        supervisor = _fit(store, sweep, task=task, model=weak, seed=seed, role="supervisor")
        ceiling = _fit(store, sweep, task=task, model=strong, seed=seed, role="ceiling")
        student = _fit(
            store,
            sweep,
            task=task,
            model=strong,
            seed=seed,
            role="student",
            weak=weak,
            method=method,
            supervisor=supervisor,
        )
        settled = {"objective": "transfer", "study": study} if method == sweep.searched else {}
        cells.append(
            Cell(
                task=task,
                weak=weak,
                strong=strong,
                method=method,
                seed=seed,
                supervisor=supervisor,
                ceiling=ceiling,
                student=student,
                **settled,
            )
        )
    store.manifests.write(
        Manifest(
            name=sweep.name,
            sweep_text=f"name: {sweep.name}\n",
            created_at=EARLY,
            cells=tuple(cells),
        )
    )
    return store


def _fit(
    store: Store,
    sweep: Sweep,
    *,
    task: str,
    model: str,
    seed: int,
    role: str,
    weak: str | None = None,
    method: str | None = None,
    supervisor: str | None = None,
) -> str:
    id_ = _id(sweep.name, task, model, seed, role, weak, method)
    if store.find(id_) is not None:
        return id_
    rng = np.random.default_rng(int(id_[:8], 16))
    reached, errors = sweep.reached(model), None
    if weak is not None:
        share = 0.3 + 0.2 * sweep.methods.index(method or "")
        reached = (1 - share) * sweep.reached(weak) + share * reached
        errors = _predicted(store, supervisor or "", sweep)
    predictions = _predictions(sweep, reached, rng, errors)
    size = float(4 ** sweep.models.index(model) * 10_000)
    is_right = (predictions["probability"].to_numpy() > 0.5) == _labels(sweep)
    test = predictions["part"].to_numpy(zero_copy_only=False) == "test"
    store.write_run(
        Record(
            id=id_,
            kind="fit",
            status="done",
            recipe=a_recipe(
                split=sweep.split(task),
                model=f"sha256:{model}",
                labels={"source": [supervisor] if supervisor else "ground_truth"},
                seed=seed,
            ),
            about={"task": task, "model": model, "weak": weak, "method": method, "roles": [role]},
            summary={
                "test_accuracy": float(is_right[test].mean()),
                "parameters": int(size),
                "training_flops": size * 1e6,
                "steps": 40,
                "total_steps": 40,
                "best_step": 20,
            },
            parents=(supervisor,) if supervisor else (),
            started_at=EARLY,
            ended_at=LATE,
            seconds=1.0,
            identity_version=1,
        ),
        metrics=_curve(id_, reached, rng),
        predictions=predictions,
    )
    return id_


def _study(store: Store, sweep: Sweep) -> str:
    id_ = _id(sweep.name, "study")
    space = {
        "loss.alpha": {"uniform": [0.0, 0.9]},
        "training.lr": {"loguniform": [1e-5, 1e-3]},
        "early_stopping.patience": {"choice": [1, 2, 4]},
        "loss.kind": {"choice": ["confidence", "product"]},
    }
    rng = np.random.default_rng(7)
    for number, state in enumerate(
        ("complete", "complete", "pruned", "complete", "failed", "complete")
    ):
        done = state == "complete"
        settings = {
            "loss.alpha": float(rng.uniform(0, 0.9)),
            "training.lr": float(10 ** rng.uniform(-5, -3)),
            "early_stopping.patience": int(rng.choice([1, 2, 4])),
            "loss.kind": ["confidence", "product"][number % 2],
        }
        curve = [0.7 + 0.01 * number, 0.72 + 0.01 * number]
        store.write_trial(
            id_,
            number,
            {
                "settings": settings,
                "state": state,
                "value": curve[-1] if done else None,
                "intermediate": [] if state == "failed" else curve,
                "fits": [_id(sweep.name, "trial", number)],
                "reason": "diverged" if state == "failed" else None,
            },
        )
    store.write_run(
        Record(
            id=id_,
            kind="study",
            status="done",
            recipe=StudyRecipe(
                cells=(_searched_fit(sweep),),
                space=space,  # type: ignore[arg-type]
                trials=6,
                metric="accuracy",
                objective="transfer",
                sampler="tpe",
                scheduler="none",
                grace_evaluations=1,
                reduction_factor=2.0,
                concurrent_trials=2,
                seed=1000,
            ).model_dump(mode="json"),
            about={
                "task": sweep.tasks[0],
                "method": sweep.searched,
                "winner": 5,
                "pairs": [list(sweep.pairs[0])],
            },
            summary={"value": 0.77, "trials": 6},
            started_at=EARLY,
            ended_at=LATE,
            seconds=1.0,
            identity_version=1,
        )
    )
    return id_


def _searched_fit(sweep: Sweep) -> FitRecipe:
    return FitRecipe.model_validate(
        {
            "split": sweep.split(sweep.tasks[0]),
            "train_on": "student_half",
            "model": "sha256:" + 64 * "a",
            "labels": _id(sweep.name, "supervisor"),
            "training": {},
            "loss": {"kind": "xent"},
            "seed": 1000,
        }
    )


def _curve(id_: str, reached: float, rng: np.random.Generator) -> pa.Table:
    """Accuracy rises and then falls while agreement keeps rising."""
    lines = []
    for step in (10, 20, 30, 40):
        noise = float(rng.normal(0, 0.005))
        lines += [
            (step, "train/loss", 0.7 - step / 100),
            (step, "validation/agreement", 0.6 + step / 130 + noise),
            (step, "validation/loss", 0.7 - step / 200 + noise),
            (step, "validation/accuracy", reached - 0.04 * abs(step - 20) / 20 + noise),
            (step, "validation/log_loss", 0.6 + 0.1 * abs(step - 20) / 20 + noise),
        ]
    lines += [(20, "oracle/test_accuracy", reached), (40, "test/accuracy", reached)]
    steps, metrics, values = zip(*lines, strict=True)
    return pa.table(
        {"run_id": [id_] * len(lines), "step": steps, "metric": metrics, "value": values}
    )


def _predictions(
    sweep: Sweep, reached: float, rng: np.random.Generator, teacher: np.ndarray | None
) -> pa.Table:
    """P(class 1), right with probability `reached`; a student repeats half of the errors."""
    labels = _labels(sweep)
    is_right = rng.random(len(labels)) < reached
    if teacher is not None:
        copied = rng.random(len(labels)) < 0.3
        is_right = np.where(copied, teacher == labels, is_right)
    confidence = 0.5 + 0.5 * rng.beta(2, 1, len(labels))
    probability = np.where(is_right == (labels == 1), confidence, 1 - confidence)
    return pa.table({"example_id": _ids(sweep), "part": _parts(sweep), "probability": probability})


def _predicted(store: Store, id_: str, sweep: Sweep) -> np.ndarray:
    return (store.predictions(id_)["probability"].to_numpy() > 0.5).astype(np.int8)


def _rows(sweep: Sweep, task: str) -> pa.Table:
    count = len(_ids(sweep))
    return pa.table(
        {
            "example_id": _ids(sweep),
            "part": _parts(sweep),
            "text": [f"{sweep.text}{task} text {i}" for i in range(count)],
            "label": pa.array(_labels(sweep), pa.int8()),
            "group": pa.nulls(count, pa.string()),
        }
    )


def _ids(sweep: Sweep) -> list[str]:
    return [f"e{i}" for i in range(sweep.examples + 50)]


def _parts(sweep: Sweep) -> list[str]:
    return ["test"] * sweep.examples + ["validation"] * 50


def _labels(sweep: Sweep) -> np.ndarray:
    return np.arange(sweep.examples + 50) % 2


def _id(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]
