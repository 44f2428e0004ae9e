"""Stores for the page: one with all kinds of failures, and one with a thousand runs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.report.figures.stores import Sweep, make_store
from tests.store.builders import EARLY, LATE, a_record, an_id
from w2s_ray.config import Execution, FitRecipe
from w2s_ray.store import Cell, Manifest, Store

HOSTILE = "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>&\"\\ <!--"
"""Text that would run a script if it were interpreted as markup."""

SWEEP = Sweep(
    tasks=("boolq, with long passages", "sciq"),
    methods=("naive", "confidence", HOSTILE),
    searched="confidence",
    text=HOSTILE,
)
FAILED, PRUNED = an_id("failed"), an_id("pruned")
NOT_RUN = an_id("not run")


def store_with_failures(folder: Path) -> Store:
    """`SWEEP` with a failed student, one that never ran, one from another machine, a pruned fit."""
    store = make_store(folder, SWEEP)
    cells = store.manifests.latest(SWEEP.name).cells
    grid = {(cell.task, cell.weak, cell.strong): cell for cell in cells if cell.seed == 0}
    of_small, of_large = grid["sciq", "small", "medium"], grid["sciq", "small", "large"]
    for cause, reason in (("worker_died", "the process is gone"), ("error", HOSTILE)):
        store.write_attempt(
            a_record(
                id=FAILED,
                status="failed",
                cause=cause,
                reason=reason,
                accuracy=None,
                traceback=HOSTILE,
                attempts=2,
                retries={"worker_died": 1},
                environment={"torch": "1.0", "host": HOSTILE},
            )
        )
    store.write_attempt(
        a_record(
            id=PRUNED, status="pruned", reason="asha", accuracy=None, environment={"torch": "2.0"}
        )
    )
    store.write_trial(
        of_study(cells),
        6,
        {
            "settings": {"loss.alpha": 0.5},
            "state": "pruned",
            "value": None,
            "fits": [PRUNED],
            "reason": "asha",
            "intermediate": [0.5],
        },
    )
    more = [
        _with(of_small, method="broken", student=FAILED),
        _with(of_large, method="broken", student=NOT_RUN),
    ]
    store.manifests.write(
        Manifest(
            name=SWEEP.name,
            sweep_text=f"name: sweep\n# {HOSTILE}\u2028\n",
            created_at=LATE,
            cells=(*cells, *more),
        )
    )
    return store


def of_study(cells: tuple[Cell, ...]) -> str:
    return next(cell.study for cell in cells if cell.study)


def _with(cell: Cell, **changes: str) -> Cell:
    settled = {"objective": "none", "study": None, "searched": False}
    return Cell(**{**cell.model_dump(), **settled, **changes})


def large_store(folder: Path, *, seeds: int, steps: int = 400) -> Store:
    """A sweep of 5 tasks, 4 models, 4 methods: 150 runs a seed, each with curves of `steps`."""
    store, cells, rows = Store.open(folder), [], _split_rows()
    models = ("small", "medium", "large", "largest")
    for task, seed in itertools.product(map("task-{}".format, range(5)), range(seeds)):
        store.splits.write(f"split-{task}", rows, {"task": task})
        fits = {
            (role, m): _fit(store, task, m, seed, role)
            for role, used in (("supervisor", models[:-1]), ("ceiling", models[1:]))
            for m in used
        }
        for weak, strong in itertools.combinations(models, 2):
            for method in ("naive", "confidence", "product", "stopped"):
                supervisor = fits["supervisor", weak]
                student = _fit(
                    store, task, strong, seed, "student", weak, method, supervisor, steps=steps
                )
                cells.append(
                    Cell(
                        task=task,
                        weak=weak,
                        strong=strong,
                        method=method,
                        seed=seed,
                        supervisor=supervisor,
                        ceiling=fits["ceiling", strong],
                        student=student,
                    )
                )
    store.manifests.write(
        Manifest(name="large", sweep_text="name: large\n", created_at=EARLY, cells=tuple(cells))
    )
    return store


def _fit(
    store: Store,
    task: str,
    model: str,
    seed: int,
    role: str,
    weak: str | None = None,
    method: str | None = None,
    supervisor: str | None = None,
    steps: int = 400,
) -> str:
    id_ = an_id(f"{task} {model} {seed} {role} {weak} {method}")
    rng = np.random.default_rng(int(id_[:8], 16))
    recipe = FitRecipe.model_validate(
        {
            "split": f"split-{task}",
            "train_on": "student_half",
            "model": "sha256:" + 64 * "a",
            "labels": supervisor or "ground_truth",
            "training": {},
            "loss": {"kind": "xent"},
            "seed": seed,
        }
    )
    reached = 0.6 + 0.1 * ("small", "medium", "large", "largest").index(model)
    predictions, accuracy = _predictions(reached, rng)
    environment = dict.fromkeys(("python", "torch", "ray", "transformers", "optuna"), "1.2.3")
    store.write_run(
        a_record(
            id=id_,
            recipe=recipe.model_dump(mode="json"),
            about={
                "task": task,
                "model": model,
                "weak": weak,
                "method": method,
                "roles": [role],
                "location": "/models/somewhere/snapshots/" + 40 * "b",
                "revision": None,
            },
            summary={
                "test_accuracy": accuracy,
                "parameters": 10**6,
                "training_flops": 1e12,
                **{f"figure_{i}": float(rng.random()) for i in range(12)},
            },
            execution=Execution().model_dump(mode="json"),
            environment=environment,
            parents=(supervisor,) if supervisor else (),
        ),
        metrics=_curves(id_, rng, steps),
        predictions=predictions,
    )
    return id_


def _curves(id_: str, rng: np.random.Generator, steps: int) -> pa.Table:
    validation = [
        (s, f"validation/{n}")
        for s in range(40, steps + 1, 40)
        for n in ("accuracy", "agreement", "loss", "log_loss")
    ]
    lines = [(s, f"train/{n}") for s in range(1, steps + 1) for n in ("loss", "lr")] + validation
    step, metric = zip(*lines, strict=True)
    return pa.table(
        {
            "run_id": [id_] * len(lines),
            "step": step,
            "metric": metric,
            "value": rng.random(len(lines)),
        }
    )


def _split_rows(examples: int = 200) -> pa.Table:
    return pa.table(
        {
            "example_id": [f"e{i}" for i in range(examples)],
            "part": ["test"] * examples,
            "text": ["text"] * examples,
            "label": pa.array([i % 2 for i in range(examples)], pa.int8()),
            "group": pa.nulls(examples, pa.string()),
        }
    )


def _predictions(
    reached: float, rng: np.random.Generator, examples: int = 200
) -> tuple[pa.Table, float]:
    truth, is_right = np.arange(examples) % 2, rng.random(examples) < reached
    confidence = 0.5 + 0.5 * rng.random(examples)
    table = pa.table(
        {
            "example_id": [f"e{i}" for i in range(examples)],
            "part": ["test"] * examples,
            "probability": np.where(is_right == (truth == 1), confidence, 1 - confidence),
        }
    )
    return table, float(is_right.mean())
