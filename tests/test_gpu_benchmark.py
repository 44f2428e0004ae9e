"""`benchmarks/gpu.py`: every section runs on a CPU at toy sizes and prints whole JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow

HEAVY = ("ray", "pyarrow", "duckdb", "deepspeed", "datasets", "optuna", "pandas")


def lines(*arguments: str, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What the command prints, in a process that can't import `without`."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({without!r}));"
        f"sys.argv = ['gpu', '--toy', *{arguments!r}];"
        "from benchmarks.gpu import main; sys.exit(main())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert not [line for line in found if "error" in line]
    return found


@pytest.fixture(scope="module")
def light() -> list[dict[str, Any]]:
    """The sections that need neither Ray nor DeepSpeed, in one process."""
    sections = ("throughput", "evaluation", "language", "memory", "parity", "profile")
    return lines("--sections", *sections, "--shapes", "gpt2-124m", "llama-1.5b", without=HEAVY)


def of(found: list[dict[str, Any]], section: str) -> list[dict[str, Any]]:
    return [line for line in found if line["section"] == section]


def test_all_contestants_count_the_same_tokens(light: list[dict[str, Any]]) -> None:
    for shape in ("gpt2-124m", "llama-1.5b"):
        printed = [line for line in of(light, "throughput") if line["shape"] == shape]
        assert [line.get("who") for line in printed] == [
            "ours",
            "ours from host",
            "ours compiled",
            "ours recorded",
            "trainer",
            "bare",
            None,
        ]
        *measured, ratios = printed
        tokens = [line["tokens_per_s"] * line["step_ms"] for line in measured]
        assert tokens == pytest.approx([tokens[0]] * 6, rel=1e-3)
        assert all(line["steps"] == [8, 16] and line["passes"] == 2 for line in measured)
        ratio = measured[2]["tokens_per_s"] / measured[4]["tokens_per_s"]
        assert ratios["ours compiled to trainer"] == pytest.approx(ratio, rel=1e-3)


def test_the_other_light_sections_print_their_measurements(light: list[dict[str, Any]]) -> None:
    assert all(line["tokens_per_s"] > 0 for line in of(light, "evaluation"))
    assert {line["form"] for line in of(light, "language")} == {"text", "answers", "completions"}
    assert all(line["estimate_gib"] > 0 for line in of(light, "memory"))
    assert len(of(light, "memory")) == 9
    profiles = of(light, "profile")
    assert [(line["compile"], len(line["longest"])) for line in profiles] == [
        ("off", 10),
        ("on", 10),
    ]


def test_ways_of_computing_differ_by_rounding_alone(light: list[dict[str, Any]]) -> None:
    printed = of(light, "parity")
    assert all(line["steps"] == 32 for line in printed)
    assert {line["way"]: line["most"] for line in printed}["fp32"] == 0
    assert all(line["most"] < 1e-2 for line in printed)


def test_the_command_reports_a_missing_gpu() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--sections", "parity"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.endswith("there is no GPU; --toy runs at toy sizes on the CPU\n")


@pytest.mark.deepspeed
def test_every_stage_of_zero_runs() -> None:
    printed = lines("--sections", "sharded")
    assert [line["engine"] for line in printed] == ["torch", *(f"ZeRO-{i}" for i in range(4))]


@pytest.mark.ray
@pytest.mark.deepspeed
def test_sweeps_run_to_their_tables() -> None:
    printed = lines("--sections", "sweep", "--seconds", "240")
    assert [line["case"] for line in printed] == ["quickstart, 8 at once", "sharded search"]
    assert all(line["whole"] and line["runs_ended"] for line in printed), printed
