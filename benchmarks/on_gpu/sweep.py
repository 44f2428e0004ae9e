"""Section `sweep`: whole sweeps by `w2s run`, with fits that share the GPU and a sharded search.

Owns the cases: the quickstart with sixteen, eight and five fits on the GPU and with one, and the
sharded sweep on one worker. Each runs in a separate process for `--seconds` at most; the runs that
are done by then are counted from the store. It needs Ray, and DeepSpeed for the sharded sweep.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.on_gpu.measure import Options

ROOT = Path(__file__).resolve().parents[2]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "quickstart, 16 at once": ("quickstart", {"gpus_per_worker": 0.0625}),
    "quickstart, 8 at once": ("quickstart", {"gpus_per_worker": 0.125}),
    "quickstart, 5 at once": ("quickstart", {"gpus_per_worker": 0.2}),
    "quickstart, one at a time": ("quickstart", {"gpus_per_worker": 1}),
    "sharded search": ("deepspeed_gpu", {}),
}
EVERY_S = 0.1
ENDING_S = 20.0
"""Time for an interrupted sweep to end before it is killed."""


class _Loader(yaml.SafeLoader):
    """Reads `on` as text, as YAML 1.2 does."""

    yaml_implicit_resolvers = {
        first: [(tag, expression) for tag, expression in resolvers if not tag.endswith(":bool")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def run(options: Options) -> None:
    """Run the chosen cases, by name or prefix of the name."""
    for name, (file, execution) in CASES.items():
        if options.shapes is not None and not any(name.startswith(s) for s in options.shapes):
            continue
        if options.toy and ("one at a time" in name or "16" in name or "5 at" in name):
            continue  # the same thing on a CPU
        place = options.folder / name.replace(" ", "-").replace(",", "")
        options.emit("sweep", case=name, **_measured(file, execution, place, options))


def _measured(
    file: str, execution: dict[str, Any], place: Path, options: Options
) -> dict[str, Any]:
    """One sweep from the command to its table, or to the end of its time."""
    place.mkdir(parents=True)
    text = (ROOT / "sweeps" / f"{file}.yaml").read_text()
    sweep = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    sweep["execution"] = {**sweep["execution"], **execution}
    if options.toy:
        sweep = _small(sweep)
    written, store = place / "sweep.yaml", place / "store"
    written.write_text(yaml.safe_dump(sweep))
    log, errors = place / "out", place / "err"
    began = time.perf_counter()
    with log.open("w") as out, errors.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "w2s_ray", "run", str(written), "--store", str(store)],
            stdout=out,
            stderr=err,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": _path()},
            start_new_session=True,
        )
        ended: list[float] = []
        limit = began + options.seconds
        while process.poll() is None and time.perf_counter() < limit:
            time.sleep(EVERY_S)
            fits = sum(1 for _ in store.glob("runs/*/record.json"))
            ended += [time.perf_counter() - began] * (fits - len(ended))
        whole = process.poll() is not None
        took = time.perf_counter() - began
        if not whole:
            _end(process)
    found = {
        "whole": whole and process.returncode == 0,
        "first_end_s": ended[0] if ended else None,
        "runs_ended": len(ended),
        "runs_per_s_after_first": (len(ended) - 1) / (ended[-1] - ended[0])
        if len(ended) > 1 and ended[-1] > ended[0]
        else None,
        "table_s" if whole else "stopped_s": took,
        "code": process.returncode,
    }
    if found["whole"]:
        print(log.read_text()[-3000:], file=sys.stderr)
    else:
        found["tail"] = (log.read_text() + errors.read_text())[-1500:]
    found["failures"] = _failures(store)
    shutil.rmtree(store, ignore_errors=True)
    return found


def _path() -> str:
    before = os.environ.get("PYTHONPATH")
    return f"{ROOT}{os.pathsep}{before}" if before else str(ROOT)


def _end(process: subprocess.Popen) -> None:
    """Interrupt a sweep as Ctrl-C does; kill its process group if that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _failures(store: Path) -> list[str]:
    """Reasons of runs that failed, three at most."""
    records = [json.loads(p.read_text()) for p in sorted(store.glob("runs/*/*.json"))]
    return [str(r.get("reason"))[:300] for r in records if r.get("status") == "failed"][:3]


def _small(sweep: dict[str, Any]) -> dict[str, Any]:
    """The same sweep with few rows, on CPUs."""
    small = {"train": 128, "validation": 32, "test": 64}
    execution = {k: v for k, v in sweep["execution"].items() if k != "gpus_per_worker"}
    return {
        **sweep,
        "task": {**sweep["task"], **small},
        "seeds": [0],
        "search": {**sweep["search"], "trials": 2},
        "execution": {**execution, "gpus_per_worker": 0},
    }
