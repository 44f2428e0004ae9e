"""One grid through `w2s run` and through a bare PyTorch loop, start-up apart, as a ratio.

Owns the comparison: it makes texts and models, runs each side as a separate process, and prints
their times. Grid time runs from the start of the first fit's training to the end of the last
fit; start-up is the rest of the process (imports, Ray, planning, the table). It trains nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import bare_loop
from grid_inputs import HALF, HELD_OUT, SHAPES, write_models, write_texts

from w2s_ray.execute.environment import VARIABLES
from w2s_ray.store import Record, Store

CORES = os.cpu_count() or 1
ALLOCATOR = {name: text for name, text in VARIABLES.items() if name.startswith("MALLOC_")}
"""glibc's settings in the processes of `w2s run`."""
SIDES = ("bare", "bare_processes", "bare_allocator", "bare_processes_allocator", "w2s")
NAMES = {
    "bare": f"bare loop, 1 process x {CORES} threads",
    "bare_processes": f"bare loop, {CORES} processes x 1 thread",
    "bare_allocator": "the first, with w2s's MALLOC_ settings",
    "bare_processes_allocator": "the second, with w2s's MALLOC_ settings",
    "w2s": "w2s run",
}


def measure_bare(folder: Path, side: str) -> dict[str, Any]:
    """One run of the bare loop."""
    script = Path(bare_loop.__file__)
    processes, threads = (CORES, 1) if "processes" in side else (1, CORES)
    counts = ["--processes", str(processes), "--threads", str(threads)]
    variables = ALLOCATOR if side.endswith("allocator") else {}
    output, process_s = _timed([sys.executable, str(script), str(folder), *counts], **variables)
    return _with_startup(json.loads(output.splitlines()[-1]), process_s)


def measure_w2s(folder: Path) -> dict[str, Any]:
    """One run of the grid by the command line, in a fresh store and with empty caches."""
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix="w2s-"))
    sweep = fresh / "sweep.yaml"
    sweep.write_text(json.dumps(sweep_of(folder, store=fresh / "results"), indent=2))
    command = [str(Path(sys.executable).with_name("w2s")), "run", str(sweep)]
    variables = {"W2S_CACHE": str(fresh / "cache"), "HF_HUB_OFFLINE": "1"}
    _, process_s = _timed(command, **variables)
    return _with_startup(grid_of(fresh / "results"), process_s)


def sweep_of(folder: Path, *, store: Path) -> dict[str, Any]:
    """The sweep file's content: the grid and settings of `bare_loop`. JSON is YAML."""
    weak, strong = (shape.folder for shape in SHAPES)
    return {
        "name": "benchmark",
        "task": {
            "name": "generated",
            "path": str(folder / "texts.csv"),
            "columns": {"text": "text", "label": "label"},
            "train": 2 * HALF,
            "validation": HELD_OUT,
            "test": HELD_OUT,
        },
        "models": [str(folder / shape.folder) for shape in SHAPES],
        "pairs": [[weak, weak], [weak, strong]],
        "training": {
            "batch_size": bare_loop.BATCH,
            "epochs": bare_loop.EPOCHS,
            "lr": bare_loop.LR,
            "clip_norm": bare_loop.CLIP,
            "max_tokens": bare_loop.MAX_TOKENS,
            "bucket_batches": bare_loop.BUCKET_BATCHES,
            "evaluations_per_epoch": 1,
        },
        "methods": {"naive": {"loss": {"kind": "xent"}}},
        "execution": {"evaluation_batch": bare_loop.EVALUATION_BATCH},
        "store": str(store),
    }


def grid_of(store: Path) -> dict[str, Any]:
    """Grid time and fits of a store that holds one finished benchmark."""
    fits = [record for record in Store.open(store).records() if record.kind == "fit"]
    if len(fits) != len(bare_loop.GRID):
        raise ValueError(
            f"{store} holds {len(fits)} finished fits, not {len(bare_loop.GRID)}; "
            f"see `w2s status --store {store}`"
        )
    started = [_training_started(fit) for fit in fits]
    ended = [datetime.fromisoformat(fit.ended_at) for fit in fits]
    return {
        "grid_s": (max(ended) - min(started)).total_seconds(),
        "fits": [{"name": fit.id, "seconds": fit.seconds} for fit in fits],
    }


def _training_started(fit: Record) -> datetime:
    """When a fit's training began: its imports and tokens are start-up."""
    setup_s = float(fit.summary["setup_seconds"] or 0.0)
    return datetime.fromisoformat(fit.started_at) + timedelta(seconds=setup_s)


def compared(times: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of each side, and w2s's grid time as a multiple of the bare loops'."""
    sides = {
        side: {
            name: statistics.median(run[name] for run in runs)
            for name in ("grid_s", "startup_s", "process_s")
        }
        for side, runs in times.items()
    }
    ratios = {
        side: sides["w2s"]["grid_s"] / sides[side]["grid_s"]
        for side in sides
        if side != "w2s" and "w2s" in sides
    }
    return {"sides": sides, "ratio_of_w2s_to": ratios}


def show(result: dict[str, Any]) -> None:
    """Print the comparison as text."""
    about = result["about"]
    print(
        f"\n{len(bare_loop.GRID)} fits, {HALF} + {HALF} texts of {about['mean_tokens']:.0f} tokens "
        f"on average, models of {about['parameters']} parameters, {bare_loop.EPOCHS} epochs of "
        f"batch {bare_loop.BATCH}, fp32; {about['cores']} cores; median of {about['repeats']}\n"
    )
    print(f"{'':36}{'grid, s':>10}{'start-up, s':>13}{'in all, s':>11}")
    for side, figures in result["sides"].items():
        grid, startup, process = (figures[n] for n in ("grid_s", "startup_s", "process_s"))
        print(f"{NAMES[side]:36}{grid:10.1f}{startup:13.1f}{process:11.1f}")
    for side, ratio in result["ratio_of_w2s_to"].items():
        print(f"\nratio of grid times, w2s run / {NAMES[side]}: {ratio:.2f}", end="")
    print()


def _with_startup(run: dict[str, Any], process_s: float) -> dict[str, Any]:
    return {**run, "process_s": process_s, "startup_s": process_s - run["grid_s"]}


def _timed(command: list[str], **variables: str) -> tuple[str, float]:
    """A command's standard output and wall time, in seconds; its errors are shown if it fails."""
    started = time.perf_counter()
    ended = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if ended.returncode != 0:
        sys.exit(f"{ended.stdout}{ended.stderr}\n{' '.join(command)} failed ({ended.returncode})")
    return ended.stdout, seconds


def main() -> None:
    """Measure the chosen sides and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=("bare", "w2s"), help="measure one side")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side, in turn")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    options = parser.parse_args()
    # transformers imports DeepSpeed, which else prints on stdout, where the JSON goes.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    chosen = [s for s in SIDES if options.only is None or s.startswith(options.only)]
    times: dict[str, list[dict[str, Any]]] = {side: [] for side in chosen}
    with tempfile.TemporaryDirectory(prefix="w2s-benchmark-") as name:
        folder = Path(name)
        mean_tokens, counts = write_texts(folder), write_models(folder)
        for number in range(options.repeats):
            for side in chosen:
                print(f"{number + 1}/{options.repeats} {NAMES[side]} ...", file=sys.stderr)
                run = measure_w2s(folder) if side == "w2s" else measure_bare(folder, side)
                times[side].append(run)
    about = {
        "mean_tokens": mean_tokens,
        "parameters": " and ".join(f"{count / 1e6:.2f}M" for count in counts.values()),
        "cores": CORES,
        "repeats": options.repeats,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    result = {"about": about, **compared(times)}
    if options.json:
        print(json.dumps({**result, "runs": times}, indent=2))
    else:
        show(result)


if __name__ == "__main__":
    main()
