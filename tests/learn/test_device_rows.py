"""Rows on a device: what a model gets of them, and when they are kept there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.learn.tiny import Recorder, data_of, inputs_of, recipe_of
from w2s_ray.config import Execution, ModelSource
from w2s_ray.learn import device_rows
from w2s_ray.learn.device_rows import DeviceRows
from w2s_ray.learn.loop import fit
from w2s_ray.learn.rows import ActivationRows, ChoiceRows, PairRows, PolicyRows, SpanRows
from w2s_ray.learn.tokens import TokenRows

CPU = torch.device("cpu")
TEXTS = TokenRows.of([[7, 8], [1], [2, 3, 4, 5], [6, 9, 9]])
SPANS = SpanRows(TokenRows.of([[1, 2, 3], [4, 5], [6, 7, 8, 9]]), np.array([1, 1, 2]))
CHOICES = ChoiceRows(SPANS, (("a", "b"), ("c",)), np.ones(3, np.float32))
PAIRS = PairRows(TEXTS, TokenRows.of([[5], [6, 6, 6], [7], [8, 8]]))
BOTH = TokenRows.of([[1, 2, 3], [4, 5], [6, 7, 8, 9], [5, 5]])
POLICIES = PolicyRows(SpanRows(BOTH, np.array([1, 1, 2, 1])), np.zeros(2, np.float32))
ACTIVATIONS = ActivationRows(np.arange(8.0, dtype=np.float32).reshape(4, 2), np.ones(4, int), 9)
PICKED: dict[str, tuple[Any, list[int], list[Any]]] = {
    "texts": (TEXTS, [3, 1], [[[6, 9, 9], [1, 0, 0]], [3, 1]]),
    "pairs": (PAIRS, [0, 1], [[[7, 8, 0], [1, 0, 0], [5, 0, 0], [6, 6, 6]], [2, 1, 1, 3]]),
    "spans": (SPANS, [1, 0], [[[4, 5, 0], [1, 2, 3]], [2, 3], [1, 1]]),
    "choices": (
        CHOICES,
        [1, 0],
        [[[6, 7, 8, 9], [1, 2, 3, 0], [4, 5, 0, 0]], [4, 3, 2], [2, 1, 1]],
    ),
    "policies": (
        POLICIES,
        [1, 0],
        [
            [[4, 5, 0, 0], [1, 2, 3, 0], [5, 5, 0, 0], [6, 7, 8, 9]],
            [2, 3, 2, 4],
            [1, 1, 1, 2],
        ],
    ),
}


@pytest.mark.parametrize("name", PICKED)
@pytest.mark.parametrize("kept", [True, False])
def test_rows_are_padded_with_what_they_hold(name: str, kept: bool) -> None:
    rows, indices, expected = PICKED[name]
    there = DeviceRows(CPU)
    assert not kept or there.keep(rows)
    found = there.padded(rows, np.array(indices), pad_id=0, width=lambda longest: longest)
    assert [each.tolist() for each in found] == expected
    assert {each.dtype for each in found} == {torch.int64}


@pytest.mark.parametrize("kept", [True, False])
def test_activations_are_those_of_the_rows(kept: bool) -> None:
    there = DeviceRows(CPU)
    assert not kept or there.keep(ACTIVATIONS)
    found = there.activations(ACTIVATIONS, np.array([2, 0]))
    assert found.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert found.dtype == torch.float32


def test_padding_is_the_models_and_reaches_beyond_the_table() -> None:
    ids, lengths = DeviceRows(CPU).padded(TEXTS, np.array([3]), pad_id=9, width=lambda n: n + 2)
    assert ids.tolist() == [[6, 9, 9, 9, 9]]
    assert lengths.tolist() == [3]


def test_rows_that_would_fill_a_device_stay_on_the_host(
    gpt2: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways give the same fit, to the bit."""
    data, found = data_of(), []
    kept: list[bool] = []
    keep = DeviceRows.keep
    monkeypatch.setattr(DeviceRows, "keep", lambda *given: kept.append(keep(*given)))
    needed = data.train.size * 4
    for free in (needed / device_rows.SHARE, needed / device_rows.SHARE - 1):
        monkeypatch.setattr(device_rows, "free_memory", lambda _, free=free: free)
        seen = Recorder()
        execution = Execution(gpus_per_worker=0)
        fit(recipe_of(), data=data, source=gpt2, execution=execution, observer=seen)
        found.append(seen.losses)
    assert kept == [True, False]
    assert found[0] == found[1]


def test_read_only_rows_are_copied() -> None:
    values = np.arange(3, dtype=np.int32)
    values.flags.writeable = False
    rows = TokenRows(values, np.array([0, 3]))
    assert inputs_of(rows, [0])[0].tolist() == [[0, 1, 2]]
