"""Speeds of finished fits against sums by hand."""

from __future__ import annotations

import pytest

from tests.config.test_identity import STUDENT
from tests.store.builders import a_record
from w2s_ray.report.speeds import speeds
from w2s_ray.store import Record

H100 = "NVIDIA H100 80GB HBM3"
RECIPE = STUDENT.model_dump(mode="json")


def a_fit(id_: str, *, device: str = H100, workers: int = 1, **more) -> Record:
    summary = {
        "tokens": 1000,
        "training_seconds": 2.0,
        "training_flops": 3e14,
        "evaluation_flops": 1e14,
        "compiled": True,
        "peak_memory_bytes": 2**30,
    }
    return a_record(
        id=id_,
        kind="fit",
        recipe=RECIPE | {"training": RECIPE["training"] | {"precision": "bf16"}},
        about={"model": "m"},
        environment={"device": device},
        execution={"workers": workers},
        summary=summary | more,
    )


def test_sums_over_fits_workers_and_devices():
    fits = [
        a_fit("a"),
        a_fit("b", training_seconds=1.0, workers=4, compiled=False, peak_memory_bytes=3 * 2**30),
        a_fit("c", device="cpu", peak_memory_bytes=None),
    ]
    gpu, cpu = speeds(fits)
    assert (gpu.device, gpu.fits, gpu.compiled_fits) == (H100, 2, 1)
    assert gpu.tokens_per_second == pytest.approx(2000 / 6)
    assert gpu.flops_per_second == pytest.approx(8e14 / 6)
    assert gpu.share_of_peak == pytest.approx(8e14 / 6 / 989e12)
    assert gpu.peak_memory_bytes == 3 * 2**30
    assert gpu.line == (
        "m on NVIDIA H100 80GB HBM3 in bf16: 333 tokens/s, 13.5% of its peak, at most 3.0 GiB "
        "(2 fits, 1 compiled)"
    )
    assert (cpu.share_of_peak, cpu.peak_memory_bytes) == (None, None)
    assert cpu.line == "m on cpu in bf16: 500 tokens/s (1 fit, 1 compiled)"


def test_records_without_the_figures_are_left_out():
    old = a_fit("a", training_seconds=0.0)
    features = a_fit("b").model_copy(update={"recipe": {**RECIPE, "form": "features"}})
    failed = a_fit("c").model_copy(update={"status": "failed"})
    assert speeds([old, features, failed]) == []
