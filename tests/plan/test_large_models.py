"""Estimates of large models against published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.large_models import EXECUTION, LONGEST, MODELS, LargeModel, rows
from w2s_ray.config import FullTuning, Training
from w2s_ray.plan.estimates.memory import memory

COST = Path(__file__).resolve().parents[2] / "docs" / "cost.md"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_number_of_weights_is_the_published_one(model: LargeModel):
    architecture = model.architecture
    head = architecture.vocabulary * architecture.pooled
    assert architecture.parameters + head == model.parameters


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_weights_gradients_and_adam_take_16_bytes_a_weight_and_shards_of_them(model: LargeModel):
    """ZeRO's baseline (arXiv 1910.02054, section 3.1), and its stages with weights in fp32."""
    architecture, training = model.architecture, Training(tuning=FullTuning())
    weights = architecture.parameters

    def states(**execution: object) -> float:
        found = memory(
            architecture,
            training=training,
            execution=EXECUTION.model_copy(update=execution),
            longest=LONGEST,
        )
        return (found.weights + found.gradients + found.optimizer) / weights

    assert states() == pytest.approx(16, rel=1e-3)
    group = {"engine": "deepspeed", "workers": 64}
    by_stage = [states(**group, zero_stage=stage) for stage in range(4)]
    # From stage 1 on, DeepSpeed's optimizer has fp32 weights of its own, also beside fp32 weights.
    expected = [16, 4 + 4 + 12 / 64, 4 + (4 + 12) / 64, (4 + 4 + 12) / 64]
    assert by_stage == pytest.approx(expected, rel=1e-3)


def test_the_documented_table_is_the_current_one():
    text = COST.read_text(encoding="utf-8")
    for row in rows():
        assert f"| {' | '.join(row)} |" in text
