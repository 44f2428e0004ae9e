"""`benchmarks/probes.py` at toy size: both sides train the same probes to the same predictions."""

from __future__ import annotations

import json

import pytest

from benchmarks.probes import SIDES, TRIALS, main


def test_both_sides_of_the_probe_benchmark_predict_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("W2S_CACHE", "replaced by the benchmark, and put back by this fixture")
    assert main(["--toy", "--rows", "16"]) == 0
    printed = capsys.readouterr().out
    found = json.loads(printed[printed.index("{\n") :])
    assert found["trials"] == len(TRIALS) == 16
    assert found["largest_difference"] < 1e-5
    assert all(found[side]["study_s"] > 0 for side in SIDES)
