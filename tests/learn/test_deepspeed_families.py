"""ZeRO-3 gives the numbers of the torch engine for a tiny model of each open ladder.

One group of two workers runs all fits, since starting a group takes seconds.
"""

from __future__ import annotations

import pickle
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learn.families import FAMILIES, make_family, targets_of
from tests.learn.parity_worker import settled, worker
from tests.learn.tiny import Recorder
from w2s_ray.config import Execution, FullTuning, LoraTuning
from w2s_ray.learn.loop import fit

pytestmark = [pytest.mark.deepspeed, pytest.mark.timeout(500)]

WORKERS = 2
ADAPTED = ("gemma2", "modernbert")
SHORT = {"lr": 3e-3, "epochs": 1, "evaluations_per_epoch": 1}


def jobs() -> dict[str, dict[str, Any]]:
    """Every fit, by name: each family's whole model, and adapters of some."""
    models = {name: (name, FullTuning()) for name in FAMILIES}
    for name in ADAPTED:
        models[f"{name}-lora"] = (name, LoraTuning(rank=2, targets=targets_of(name)))
    return {
        name: {
            "name": name,
            "model": model,
            "training": {**SHORT, "tuning": tuning},
            "execution": {"zero_stage": 3, "micro_batch": 3},
        }
        for name, (model, tuning) in models.items()
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    import torch.multiprocessing as multiprocessing

    folder = tmp_path_factory.mktemp("deepspeed")
    for name in FAMILIES:
        make_family(name, folder / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(worker, args=(WORKERS, port, folder, jobs()), nprocs=WORKERS)
    return folder, pickle.loads((folder / f"result-{WORKERS}.pickle").read_bytes())  # noqa: S301


@pytest.mark.parametrize("name", jobs())
def test_the_same_numbers_as_the_torch_engine(name: str, found: Any) -> None:
    folder, results = found
    seen, got = Recorder(), results[name]
    recipe, given = settled(folder, jobs()[name])
    result = fit(recipe, observer=seen, execution=Execution(gpus_per_worker=0), **given)
    np.testing.assert_allclose(got["losses"], seen.losses, atol=1e-3)
    for part, predictions in result.predicted.items():
        values = got["result"].predicted[part].probabilities
        np.testing.assert_allclose(values, predictions.probabilities, atol=1e-2)
        assert np.ptp(values) > 0.02
    ours = (result.parameters, result.trained_parameters)
    assert (got["result"].parameters, got["result"].trained_parameters) == ours
