"""The overhead of a trial with warm workers, and the memory of a driver over 500 trials.

Owns three measurements on the embedded ladder: one-device trials, trials of 2 DeepSpeed workers,
and the resident memory of the driver and its actors over many stub-sized trials. A trial's training
is its steps, evaluations and predictions; everything else (proposal, placement, reading rows,
loading the model, starting DeepSpeed, writing results) is overhead. Trials run one at a time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from w2s_ray.store import Record, Store

DEEPSPEED = {"engine": "deepspeed", "workers": 2, "zero_stage": 3}
WARM_UP = 2
"""Trials that start processes and import libraries; they are excluded."""


def sweep_of(
    folder: Path, *, trials: int, execution: dict[str, Any], rows: int, seed: int = 900
) -> dict[str, Any]:
    """A sweep whose work is one study of random trials, one at a time."""
    return {
        "name": "overhead",
        "task": {"name": "embedded", "train": rows, "validation": 64, "test": 64},
        "models": ["embedded:xs", "embedded:s"],
        "pairs": [["embedded:xs", "embedded:s"]],
        "training": {"batch_size": 32, "epochs": 1, "lr": 1e-3, "evaluations_per_epoch": 1},
        "methods": {
            "confidence": {
                "loss": {"kind": "confidence"},
                "search": {"loss.alpha": {"uniform": [0.0, 0.9]}},
            }
        },
        "search": {
            "trials": trials,
            "objective": "oracle",
            "sampler": "random",
            "scheduler": "none",
            "concurrent_trials": 1,
            "seed": seed,
        },
        "execution": execution,
        "store": str(folder / "results"),
    }


def overhead(folder: Path, *, trials: int, execution: dict[str, Any]) -> dict[str, float]:
    """Seconds of one more trial and of its training, over the trials after the first few."""
    store = run(folder, sweep_of(folder, trials=trials, execution=execution, rows=512))
    fits = trial_fits(store)[WARM_UP:]
    gaps = [seconds_between(a.ended_at, b.ended_at) for a, b in itertools.pairwise(fits)]
    training = [float(fit.summary["training_seconds"] or 0.0) for fit in fits[1:]]
    each = [gap - trained for gap, trained in zip(gaps, training, strict=True)]
    return {
        "trials": len(each),
        "overhead_s": statistics.mean(each),
        "overhead_median_s": statistics.median(each),
        "training_s": statistics.mean(training),
    }


def memory(folder: Path, *, trials: int) -> dict[str, Any]:
    """Resident memory (MB) of the driver and its helpers as trials end."""
    sweep = folder / "sweep.yaml"
    sweep.write_text(json.dumps(sweep_of(folder, trials=trials, execution={}, rows=64)))
    store = Store.open(folder / "results")
    seen: dict[str, dict[int, float]] = {}
    driver = subprocess.Popen(
        [str(Path(sys.executable).with_name("w2s")), "run", str(sweep)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while driver.poll() is None:
        ended = len(list((folder / "results" / "runs").glob("*/trials/*.json")))
        for name, resident in resident_mb(driver.pid).items():
            seen.setdefault(name, {})[ended] = resident
        time.sleep(2)
    if driver.returncode != 0:
        sys.exit(f"w2s run {sweep} failed ({driver.returncode})")
    assert len(trial_fits(store)) >= trials
    return {
        name: {
            "after_50_mb": next((mb for n, mb in sorted(by_n.items()) if n >= 50), None),
            f"after_{max(by_n)}_mb": by_n[max(by_n)],
            "trials": max(by_n),
        }
        for name, by_n in seen.items()
    }


def resident_mb(pid: int) -> dict[str, float]:
    """Resident memory of the driver and of the sweep's actors."""
    found: dict[str, float] = {}
    try:
        driver = psutil.Process(pid)
        found["driver"] = driver.memory_info().rss / 1e6
        for process in driver.children(recursive=True):
            title = " ".join(process.cmdline())
            for name in (
                "ProgressTracker",
                "WorkerPool",
                "study_task",
                "SingleDeviceWorker",
                "ImplicitFunc",
            ):
                if title.startswith("ray::") and name in title:
                    found[name] = process.memory_info().rss / 1e6
    except psutil.NoSuchProcess:
        pass
    return found


def run(folder: Path, sweep: dict[str, Any]) -> Store:
    """Run a sweep by the command line; its store."""
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(sweep))  # JSON is YAML
    command = [str(Path(sys.executable).with_name("w2s")), "run", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"{ended.stdout}{ended.stderr}\n{' '.join(command)} failed ({ended.returncode})")
    return Store.open(sweep["store"])


def trial_fits(store: Store) -> list[Record]:
    """The trials' fits in the order in which they ended."""
    (study,) = (record for record in store.records() if record.kind == "study")
    ids = [fit for trial in store.trials(study.id) for fit in trial["fits"]]
    return sorted(store.records(ids), key=lambda record: record.ended_at)


def seconds_between(earlier: str, later: str) -> float:
    """Seconds from one of the store's moments to another."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def main() -> None:
    """Run the chosen measurement and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("one-device", "deepspeed", "memory"))
    parser.add_argument("--trials", type=int, help="default: 24, 10 and 500")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="w2s-overhead-") as name:
        folder = Path(name)
        match options.what:
            case "one-device":
                found = overhead(folder, trials=options.trials or 24, execution={})
            case "deepspeed":
                found = overhead(folder, trials=options.trials or 10, execution=DEEPSPEED)
            case _:
                found = memory(folder, trials=options.trials or 500)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
