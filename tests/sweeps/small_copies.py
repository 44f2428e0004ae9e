"""Small copies of sweep files: the same methods, on tiny models and tasks of the same forms.

A copy has the methods of a file, and therefore the same chains of fits. Its models, tasks, row
counts and schedules are small, so that the whole plan runs in the test's process.
"""

from __future__ import annotations

import copy
import csv
import json
import random
from pathlib import Path
from typing import Any

import yaml

from tests.support import WORDS, NoCheckpoints, make_model, make_task
from w2s_ray.config import FormName, Sweep, load_sweep, parse_sweep
from w2s_ray.data.inputs import resolve
from w2s_ray.data.sources import form_of
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plan import Plan, make_plan
from w2s_ray.prepare import materialize, write_manifest
from w2s_ray.store import Store

MODELS = ("a", "b", "c", "d")
"""Models of a copy, weakest first, with two intermediate models."""
SIZES = {"train": 64, "validation": 16, "test": 24}
TRAINING = {
    "batch_size": 16,
    "epochs": 1,
    "lr": 3e-3,
    "precision": "fp32",
    "max_tokens": 48,
    "evaluations_per_epoch": 2,
}
STOPPING = {"patience": 1, "metric": "loss"}


def small_copy_of(file: Path, folder: Path) -> Sweep:
    """The small copy of a sweep file, with its models and tasks in `folder`."""
    declared = yaml.safe_load(file.read_text(encoding="utf-8"))
    tasks = load_sweep(file).tasks
    forms = list(dict.fromkeys(form_of(task) for task in tasks))
    small = {
        "name": declared["name"],
        "tasks": [_task(form, folder) for form in forms],
        "models": [_model(label, i, forms, folder) for i, label in enumerate(MODELS)],
        "pairs": [[MODELS[0], MODELS[-1]]],
        "ceiling_on": declared.get("ceiling_on", "student_half"),
        "training": {**TRAINING, "answer_tokens": 4},
        "early_stopping": STOPPING if declared.get("early_stopping") else None,
        "methods": {name: _method(given) for name, given in declared["methods"].items()},
        "execution": {"gpus_per_worker": 0},
        "store": str(folder / "results"),
    }
    return parse_sweep(json.dumps(small))


def run_whole(sweep: Sweep) -> tuple[Plan, Store]:
    """Every run of the sweep's plan, one after the other, and the store with the sweep's cells."""
    plan = make_plan(sweep, resolve(sweep, online=False))
    store = Store.open(sweep.store)
    materialize(plan, store)
    write_manifest(plan, store, "")
    for fit in plan.fits.values():
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", f"{fit.description}: {record.traceback}"
    return plan, store


def _method(given: dict[str, Any]) -> dict[str, Any]:
    """The method, with early stopping for a short schedule and words of the models' vocabulary."""
    method = copy.deepcopy(given)
    if method.get("early_stopping"):
        method["early_stopping"] |= STOPPING
    for stage in method.get("stages", ()):
        if stage["kind"] == "prompt":
            stage |= {"question": WORDS[57], "words": [WORDS[58], WORDS[59]]}
    return method


def _model(label: str, place: int, forms: list[FormName], folder: Path) -> dict[str, Any]:
    if forms == ["features"]:
        return {"name": f"pixels:{2 * (place + 1)}", "label": label}
    made = make_model(folder / label, width=8 * (place + 1), seed=place, eos=True)
    return {"name": str(made), "label": label}


def _task(form: FormName, folder: Path) -> dict[str, Any]:
    if form == "features":
        return {"name": "digits", **SIZES}
    path = folder / f"{form}.csv"
    if form == "classes":
        make_task(path, rows=240)
        return {"name": form, "path": str(path), "columns": {"text": "text", "label": "label"}} | (
            SIZES
        )
    rng = random.Random(0)
    columns = ("first", "second", "label") if form == "pairs" else ("text", "answer")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for i in range(240):
            one, other = (" ".join(rng.choices(WORDS, k=6)) for _ in range(2))
            writer.writerow((one, other, i % 2) if form == "pairs" else (one, one.split()[-1]))
    return {"name": form, "path": str(path), "columns": {c: c for c in columns}, **SIZES}
