"""Times and memory of queries on a store of 100,000 runs, before and after compaction.

Owns a generator of stores (runs with records of the real shape, sweeps over 22 tasks, studies with
trials, pruned runs) and the measurements: each is a process of its own, timed from start to end,
with its processor time and its peak resident memory. The first `--files` runs have all their files
and are copied by `w2s compact`; the others have a folder, a record and predictions, but no metrics,
and their rows are written straight into a segment of the catalog, by the writer that compaction
uses. Predictions are drawn once per task and variant. Nothing is trained.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from w2s_ray.store import Cell, Manifest, Record, Store, catalog_index, tables
from w2s_ray.store.catalog_writer import SegmentWriter
from w2s_ray.store.record_rows import run_rows, trial_rows

TASKS = [f"task-{number:02d}" for number in range(22)]
MODELS = ["xs", "s", "m", "l", "xl"]
PAIRS = list(itertools.combinations(MODELS, 2))
METHODS = ["naive", "confidence", "product", "bootstrap", "topline"]
SEEDS = range(8)
STUDIES, TRIALS = 16, 20
"""Studies of a sweep, and trials of each; half of a study's trials are pruned fits of their own."""
TEST = 1000
"""Test examples of a task, which every fit predicts."""
VARIANTS = 100
"""Predictions drawn for a task; a run has those of a variant that is chosen by its accuracy."""
STEPS = 50
"""Steps of a fit, each with two metrics."""
MOMENT = "2026-01-01T00:00:00+00:00"
_CHUNK = 250


@dataclass(frozen=True)
class Run:
    """One run of the generated store."""

    id: str
    kind: str
    task: str
    model: str
    method: str | None
    seed: int
    status: str
    supervisor: str | None = None
    accuracy: float | None = None

    @property
    def variant(self) -> int:
        """The variant of its task's predictions."""
        better = (self.accuracy or 0.5) - 0.55 + int(self.id[:4], 16) / 65536 / 25
        return min(VARIANTS - 1, max(0, round(better / 0.4 * VARIANTS)))

    def record(self) -> Record:
        """Its record, with all fields of a real one."""
        fit = self.kind == "fit"
        return Record(
            id=self.id,
            kind="fit" if fit else "study",
            status="done" if self.status == "done" else "pruned",
            reason=None if self.status == "done" else "the study gave up on it",
            recipe=_recipe(self) if fit else _study_recipe(self),
            parents=(self.supervisor,) if self.supervisor else (),
            about={"task": self.task, "model": self.model, "method": self.method, "roles": []},
            execution={"engine": "torch", "workers": 1, "keep": "none", "retries": 2},
            summary=_summary(self) if fit else {},
            environment={"python": "3.11.7", "torch": "2.13.0", "device": "cpu", "host_cpus": 2},
            started_at=MOMENT,
            ended_at=MOMENT,
            seconds=1.5,
            bytes={"metrics.parquet": 3500, "predictions.parquet": 9000},
            identity_version=1,
        )


def _id(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def _recipe(run: Run) -> dict[str, Any]:
    return {
        "split": _id("split", run.task),
        "train_on": "student_half",
        "model": f"sha256:{hashlib.sha256(run.model.encode()).hexdigest()}",
        "labels": {"source": [run.supervisor] if run.supervisor else "ground_truth"},
        "training": {
            **{"batch_size": 32, "epochs": 2, "lr": 0.005, "schedule": "linear"},
            **{"lr_warmup_fraction": 0.1, "weight_decay": 0.0, "betas": [0.9, 0.999]},
            **{"clip_norm": 1.0, "max_tokens": 32, "precision": "fp32", "bucket_batches": 16},
            **{"evaluations_per_epoch": 2, "tuning": {"kind": "full"}},
        },
        "loss": {"kind": "confidence", "alpha": 0.5} if run.method else {"kind": "xent"},
        "early_stopping": None,
        "seed": run.seed,
        "predicts": ["test"],
    }


def _study_recipe(run: Run) -> dict[str, Any]:
    return {"scheduler": "none", "method": run.method, "trials": TRIALS}


def _summary(run: Run) -> dict[str, Any]:
    return {
        **{"parameters": 40576, "trained_parameters": 40576, "steps": STEPS, "total_steps": STEPS},
        **{"best_step": STEPS, "stopped_early": False, "tokens": 51410},
        **{"training_flops": 12516072960.0, "planned_training_flops": 12516072960.0},
        **{"evaluation_flops": 8397203200.0, "setup_seconds": 0.026144027709960938},
        **{"training_seconds": 1.7988965840013407, "train_loss": 0.03756050020456314},
        **{"validation_accuracy": 0.926, "validation_log_loss": 0.26342265262419245},
        **{"test_accuracy": _accuracy(run), "test_log_loss": 0.20467946993541095},
        **{"validation_agreement": 0.926, "validation_loss": 0.2634226501662451},
    }


def sweep(number: int) -> tuple[list[Run], list[Cell]]:
    """The runs of one sweep and its cells."""
    runs: dict[str, Run] = {}
    cells = []
    for task, seed in itertools.product(TASKS, SEEDS):
        for size, model in enumerate(MODELS):
            id_ = _id(number, task, seed, model)
            accuracy = 0.6 + 0.07 * size
            runs[id_] = Run(id_, "fit", task, model, None, seed, "done", accuracy=accuracy)
        for (weak, strong), method in itertools.product(PAIRS, METHODS):
            supervisor, ceiling = _id(number, task, seed, weak), _id(number, task, seed, strong)
            student = _id(number, task, seed, weak, strong, method)
            low, high = runs[supervisor].accuracy or 0.0, runs[ceiling].accuracy or 0.0
            accuracy = low + (high - low) * (0.3 + 0.1 * METHODS.index(method))
            runs[student] = Run(
                student, "fit", task, strong, method, seed, "done", supervisor, accuracy
            )
            names = {"supervisor": supervisor, "ceiling": ceiling, "student": student}
            about = {"task": task, "weak": weak, "strong": strong, "method": method, "seed": seed}
            cells.append(Cell.model_validate({**about, **names}))
    for study in range(STUDIES):
        id_ = _id(number, "study", study)
        runs[id_] = Run(id_, "study", TASKS[study], "xl", "confidence", 0, "done")
        for trial in range(0, TRIALS, 2):
            id_ = _id(number, "trial", study, trial)
            runs[id_] = Run(id_, "fit", TASKS[study], "xl", "confidence", trial, "pruned")
    return list(runs.values()), cells


def _trials(study: Run) -> list[dict[str, Any]]:
    return [
        {
            **{"settings": {"loss.alpha": number / TRIALS}, "value": 0.7, "cost": 1e9},
            **{"state": "complete" if number % 2 else "pruned", "number": number, "reason": None},
            **{"intermediate": [0.5, 0.6], "fits": [_id(study.id, "fit", number)]},
        }
        for number in range(TRIALS)
    ]


@cache
def _split(task: str) -> pa.Table:
    rng = np.random.default_rng(TASKS.index(task))
    ids = [_id(task, number) for number in range(TEST)]
    return pa.table(
        {
            "example_id": ids,
            "part": ["test"] * TEST,
            "text": [f"text of example {id_} of {task}" for id_ in ids],
            "label": pa.array(rng.integers(0, 2, TEST), pa.int8()),
            "group": pa.nulls(TEST, pa.string()),
        }
    )


def _metrics(run: Run) -> pa.Table:
    steps = np.repeat(np.arange(1, STEPS + 1), 2)
    names = pa.array(["train/loss", "train/lr"] * STEPS)
    values = np.random.default_rng(run.seed).random(2 * STEPS)
    return pa.table([pa.repeat(run.id, 2 * STEPS), steps, names, values], schema=tables.METRICS)


@cache
def _predictions(task: str, variant: int) -> pa.Table:
    """Right as often as a variant is; probabilities have the precision of a float32."""
    split, rng = _split(task), np.random.default_rng([TASKS.index(task), variant])
    right = rng.random(TEST) < 0.55 + 0.4 * variant / VARIANTS
    sure = (0.5 + rng.random(TEST, dtype=np.float32) / 2).astype(np.float64)
    positive = (split["label"].to_numpy() == 1) == right
    probability = np.where(positive, sure, 1 - sure)
    columns = {"example_id": split["example_id"], "part": split["part"], "probability": probability}
    return tables.conform(pa.table(columns), tables.PREDICTIONS, what="predictions")


def _accuracy(run: Run) -> float | None:
    """The accuracy of its predictions, which is also in its record."""
    return None if run.accuracy is None else _share_right(run.task, run.variant)


@cache
def _share_right(task: str, variant: int) -> float:
    predicted = _predictions(task, variant)["probability"].to_numpy() > 0.5
    return float(np.mean(predicted == (_split(task)["label"].to_numpy() == 1)))


@cache
def _predictions_file(task: str, variant: int) -> bytes:
    return tables.to_parquet(_predictions(task, variant))


def _has_tables(run: Run) -> bool:
    return run.kind == "fit" and run.status == "done"


def generate(folder: Path, *, sweeps: int, files: int) -> None:
    """A store of `sweeps` sweeps in `folder`; about `files` of its runs have all their files."""
    store = Store.open(folder)
    store.check_writable()
    for task in TASKS:
        store.splits.write(_id("split", task), _split(task), {"task": task})
    every: list[Run] = []
    for number in range(sweeps):
        runs, cells = sweep(number)
        text = f"name: sweep-{number}\n"
        name = f"sweep-{number}"
        store.manifests.write(
            Manifest(name=name, sweep_text=text, created_at=MOMENT, cells=tuple(cells))
        )
        every += runs
    whole = {run.id for run in every[:files]}
    for run in every:
        _write(folder / "runs" / run.id, run, with_tables=run.id in whole)
    rest = sorted((run for run in every if run.id not in whole), key=lambda run: run.id)
    if rest:
        _write_segment(store, rest)
    print(f"{len(every):,} runs, {len(whole):,} of them with all their files", file=sys.stderr)


def _write(folder: Path, run: Run, *, with_tables: bool) -> None:
    """Write a run's files without fsync, unlike the store."""
    folder.mkdir(parents=True)
    name = "record.json" if run.status == "done" else "attempt-1.json"
    if _has_tables(run):
        (folder / "predictions.parquet").write_bytes(_predictions_file(run.task, run.variant))
        if with_tables:
            (folder / "metrics.parquet").write_bytes(tables.to_parquet(_metrics(run)))
    if run.kind == "study":
        (folder / "trials").mkdir()
        for trial in _trials(run):
            (folder / "trials" / f"{trial['number']}.json").write_text(json.dumps(trial))
    (folder / name).write_bytes(run.record().to_json())
    then = 1_750_000_000
    os.utime(folder, (then, then))


def _write_segment(store: Store, runs: Sequence[Run]) -> None:
    """Write one segment of runs, equal to the result of compacting their files."""
    name = catalog_index.new_name()
    folder = Path(store.files.locate(f"{catalog_index.FOLDER}/{name}"))
    folder.mkdir(parents=True)
    writer = SegmentWriter(folder)
    for start in range(0, len(runs), _CHUNK):
        chunk = runs[start : start + _CHUNK]
        rows = run_rows(run.record() for run in chunk)
        paths = [store.files.locate(f"runs/{run.id}") for run in chunk]
        versions = pa.array([Path(path).stat().st_mtime_ns for path in paths], pa.int64())
        writer.add("runs", rows.append_column("version", versions))
        studies = [run for run in chunk if run.kind == "study"]
        writer.add("trials", trial_rows((s.id, trial) for s in studies for trial in _trials(s)))
        fits = [run for run in chunk if _has_tables(run)]
        for kind, made in (("metrics", map(_metrics, fits)), ("predictions", _labelled(fits))):
            writer.add(kind, pa.concat_tables(list(made)))
    counts = writer.close()
    sizes = {kind: (folder / f"{kind}.parquet").stat().st_size for kind in counts}
    splits = {_id("split", task): True for task in TASKS}
    segment = catalog_index.Segment(name=name, runs=counts["runs"], sizes=sizes, splits=splits)
    catalog_index.swap(store.files, catalog_index.Index(segments=(segment,)), version=None)


def _labelled(runs: Sequence[Run]) -> Iterator[pa.Table]:
    for run in runs:
        columns = [
            pa.repeat(run.id, TEST),
            *_predictions(run.task, run.variant).columns,
            _split(run.task)["label"],
        ]
        yield pa.Table.from_arrays(columns, schema=catalog_index.KINDS["predictions"])


# --- measurements


@dataclass(frozen=True)
class Measured:
    """One process."""

    seconds: float
    processor_s: float
    """Seconds of user and system time, which other work on the machine changes less."""
    peak_mb: float
    output: str
    """The last line of its output."""


def measure(command: Sequence[str], *, times: int = 3) -> Measured:
    """The fastest of several runs of a command; its peak resident memory."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        output = process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status != 0:
            sys.exit(f"{' '.join(command)} failed ({status})")
        processor_s = usage.ru_utime + usage.ru_stime
        last = output[-1] if output else ""
        found.append(Measured(seconds, processor_s, usage.ru_maxrss / 1024, last))
    return min(found, key=lambda measured: measured.seconds)


W2S = str(Path(sys.executable).with_name("w2s"))

QUERIES = {
    "filtered: done students of one task and method, mean accuracy": "select avg(test_accuracy) "
    "from runs where task = 'task-03' and method = 'confidence' and status = 'done'",
    "filtered: the curve of one run": "select * from metrics where run_id = '{run}'",
    "filtered: the predictions of one run": "select * from predictions where run_id = '{run}'",
    "metrics, all rows: last loss of every run": "select run_id, max_by(value, step) last from "
    "metrics where metric = 'train/loss' group by 1 order by 2 limit 10",
    "predictions, all rows: accuracy of every run": "select run_id, avg(((probability > 0.5)::int "
    "= label)::int) accuracy from predictions group by 1 order by 2 limit 10",
    "predictions, all rows: filter": "select count(*) n from predictions where probability > 0.99",
    "predictions joined with runs: log loss by task and method": "select r.task, r.method, "
    "avg(-ln(greatest(1e-9, if(p.label = 1, p.probability, 1 - p.probability)))) loss from "
    "predictions p join runs r on p.run_id = r.id group by all order by 3 limit 10",
    # In two steps: without statistics of its tables, DuckDB would first join all predictions of an
    # example with each other.
    "predictions joined with themselves: agreement of students with supervisors": "with students "
    "as materialized (select r.task, r.labels, s.example_id, s.probability from runs r join "
    "predictions s on s.run_id = r.id where r.method = 'naive') select s.task, "
    "avg(((s.probability > 0.5) = (w.probability > 0.5))::int) agreement from students s "
    "join predictions w on w.run_id = s.labels and w.example_id = s.example_id "
    "group by all order by 1 limit 10",
}

_TABLE = """
import sys, time
from w2s_ray.report import open_results
store, sweep = sys.argv[1], sys.argv[2]
table = open_results(store).table(sweep)
print(len(table.rows), "rows,", sum(row.pgr is not None for row in table.rows), "with PGR")
"""


def measure_queries(store: Path) -> Iterator[tuple[str, Measured]]:
    """Every query of `QUERIES`, by `w2s query`."""
    run = _id(0, TASKS[3], 0, "s", "l", "naive")
    for title, sql in QUERIES.items():
        command = [W2S, "query", sql.format(run=run), "--store", str(store), "--format", "csv"]
        yield title, measure(command, times=3 if title.startswith("filtered") else 1)


def measure_tables(store: Path) -> Iterator[tuple[str, Measured]]:
    """The PGR table of one sweep and of all, computed at the first call and then cached."""
    one = [sys.executable, "-c", _TABLE, str(store), "sweep-0"]
    every = [W2S, "table", "--store", str(store), "--format", "csv"]
    yield "PGR table of one sweep, computed", measure(one, times=1)
    yield "PGR table of one sweep, cached", measure(one)
    yield "`w2s table`, every sweep, computed", measure(every, times=1)
    yield "`w2s table`, every sweep, cached", measure(every)


def main() -> None:
    """Generate the chosen stores, measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder of the store")
    parser.add_argument("--sweeps", type=int, default=10, help="of about 10,000 runs each")
    parser.add_argument("--files", type=int, default=100_000, help="runs with all their files")
    parser.add_argument("--only", choices=("generate", "compact", "queries", "tables"))
    options = parser.parse_args()
    if not (options.folder / "store.json").exists():
        generate(options.folder, sweeps=options.sweeps, files=options.files)
    if options.only == "generate":
        return
    found: list[tuple[str, Measured]] = []
    if options.only in (None, "compact"):
        command = [W2S, "compact", "--store", str(options.folder)]
        found.append(("`w2s compact`, the first time", measure(command, times=1)))
        found.append(("`w2s compact`, nothing new", measure(command)))
    if options.only in (None, "queries"):
        found += measure_queries(options.folder)
    if options.only in (None, "tables"):
        found += measure_tables(options.folder)
    print("| what | seconds | processor seconds | peak memory, MB |\n|---|---:|---:|---:|")
    for title, done in found:
        times = f"{done.seconds:.2f} | {done.processor_s:.2f}"
        print(f"| {title} | {times} | {done.peak_mb:,.0f} |")
        print(f"{title}: {done.output[:200]}", file=sys.stderr)


if __name__ == "__main__":
    main()
