"""Settings made in Python: a wrong one gives the lines that a sweep file with it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from w2s_ray.config import (
    ConfidenceLoss,
    Method,
    Model,
    Search,
    Sweep,
    SweepError,
    Task,
    Training,
    parse_sweep,
)
from w2s_ray.config.yaml_files import dump_yaml
from w2s_ray.errors import InputError

SWEEP = {
    "name": "s",
    "task": {"name": "embedded", "train": 80, "validation": 20, "test": 40},
    "models": ["embedded:xs", {"name": "embedded:s", "training": {"lr": 1e-3}}],
    "methods": {"naive": {}, "confidence": {"loss": {"kind": "confidence"}}},
}


@pytest.mark.parametrize(
    ("make", "lines"),
    [
        (lambda: Training(lrr=1e-3), ["Training: lrr: unknown key 'lrr'; did you mean 'lr'?"]),  # type: ignore[call-arg]
        (lambda: Training(lr=-1), ["Training: lr: Input should be greater than 0 (got -1)"]),
        (
            lambda: Training(epochs="two", tuning={"kind": "lora", "rnk": 2}),  # type: ignore[arg-type]
            [
                "Training: epochs: write a whole number (got 'two')",
                "Training: tuning.rnk: unknown key 'rnk'; did you mean 'rank'?",
            ],
        ),
        (
            lambda: Method(loss={"kind": "confidnce"}),  # type: ignore[arg-type]
            ["Method: loss: unknown kind 'confidnce'; did you mean 'confidence'?"],
        ),
        (
            lambda: Method(stages=[{"kind": "iterate", "tmes": 2}]),  # type: ignore[arg-type]
            ["Method: stages.0.tmes: unknown key 'tmes'; did you mean 'times'?"],
        ),
        (
            lambda: ConfidenceLoss(alpha=2),
            ["ConfidenceLoss: alpha: Input should be less than or equal to 1 (got 2)"],
        ),
        (
            lambda: Task(name="t", train=4, validation=2),
            ["Task: test: missing; add it"],
        ),
        (
            lambda: Search(trials=0, sampler="tp"),  # type: ignore[arg-type]
            [
                "Search: trials: Input should be greater than or equal to 1 (got 0)",
                "Search: sampler: write 'tpe', 'random', 'grid', 'gp' or 'nsga2' (got 'tp')",
            ],
        ),
        (Model, ["Model: name: missing; add it"]),
    ],
)
def test_a_wrong_value_gives_its_key_and_the_remedy(make: Callable[[], Any], lines: list[str]):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value).splitlines() == lines


@pytest.mark.parametrize(
    "changes",
    [
        {"sed": [0]},
        {"task": {"name": "embedded", "trian": 80}},
        {"models": ["embedded:xs", {"name": "embedded:s", "training": {"lrr": 1}}]},
        {"models": [{"name": "embedded:s", "trainig": {}}, 3]},
        {"methods": {"naive": {"loss": {"kind": "xent", "alpha": 1}}}},
        {"methods": {"naive": {"search": {"loss.alpha": {"unifrm": [0, 1]}}}}},
        {"methods": {"naive": {"stages": [{"kind": "hard"}, {"kind": "hrd"}]}}},
        {"pairs": "weaker", "seeds": [0, "one"]},
        {"pairs": [["xs", "m"]]},
        {"methods": None},
    ],
)
def test_a_sweep_in_python_gives_the_lines_of_the_file(changes: dict[str, Any]):
    values = {**SWEEP, **changes}
    with pytest.raises(SweepError) as in_file:
        parse_sweep(dump_yaml(values))
    with pytest.raises(InputError) as in_python:
        Sweep(**values)
    of_file = [line.split(": ", 1)[1] for line in str(in_file.value).splitlines()]
    assert str(in_python.value).splitlines() == [f"Sweep: {line}" for line in of_file]


def test_valid_values_are_as_in_a_file():
    assert Sweep(**SWEEP) == parse_sweep(dump_yaml(SWEEP))  # type: ignore[arg-type]
