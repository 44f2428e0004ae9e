"""Plugins that the tests write, and sweeps that use them."""

from __future__ import annotations

from pathlib import Path

from w2s_ray.config import Sweep, load_sweep
from w2s_ray.plugins import Plugin, find_source, loaded

HEAD = """\
from typing import Annotated, Literal
from pydantic import Field
import w2s_ray as w2s
"""
LOSS = """
@w2s.loss
def mine(logits_BC, labels_BC, *, q: Annotated[float, Field(gt=0, le=1)] = 0.7):
    log_p_BC = logits_BC.float().log_softmax(dim=1)
    return (labels_BC * (1 - (q * log_p_BC).exp()) / q).sum(dim=1)
"""
CLASS = """
@w2s.loss
class Mine(w2s.Loss):
    kind: Literal["mine"] = "mine"
    q: float = Field(default=0.5, gt=0, le=1)
    def each(self, logits_BC, labels_BC, *, statistic, progress):
        return -(labels_BC * logits_BC.float().log_softmax(dim=1)).sum(dim=1) * self.q
"""
TRANSFORM = """
@w2s.transform
def sharper(labels_NC, *, by: float = 2.0):
    raised_NC = labels_NC**by
    return raised_NC / raised_NC.sum(axis=1, keepdims=True)
"""
TASK = """
@w2s.task
def numbers():
    for i in range(400):
        yield {"text": f"w{i % 20} w{20 + i // 20} w{40 + i % 2}", "label": i % 2}
"""
EXTRACTOR = """
@w2s.extractor
def after(text, *, sign: str = "="):
    _, found, answer = text.rpartition(sign)
    return answer if found else None
"""
MODELS = 'models: ["embedded:xs", "embedded:s"]'
EMBEDDED = "{name: embedded, train: 64, validation: 16, test: 32}"


def write_plugin(file: Path, *parts: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEAD + "".join(parts))
    return file


def plugin_of(file: Path, *parts: str) -> Plugin:
    """The loaded plugin of a file with these parts."""
    return loaded(find_source(str(write_plugin(file, *parts))))


def sweep_with(
    folder: Path,
    *,
    methods: str,
    plugins: str = "plugins: [mine.py]",
    task: str = EMBEDDED,
    more: str = "",
) -> Path:
    """A sweep file with these methods."""
    file = folder / "sweep.yaml"
    file.write_text(
        f"name: own\n{plugins}\ntask: {task}\n{MODELS}\nmethods:\n  {methods}\n"
        f"execution: {{gpus_per_worker: 0}}\nstore: {folder}/results\n{more}\n"
    )
    return file


def loaded_sweep(folder: Path, *, methods: str, **given: str) -> Sweep:
    return load_sweep(sweep_with(folder, methods=methods, **given))
