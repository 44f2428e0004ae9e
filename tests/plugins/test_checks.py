"""`w2s check`: the package's own kinds pass, and for each check a plugin that fails that check."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.plugins.written import EXTRACTOR, LOSS, TASK, TRANSFORM, plugin_of, write_plugin
from w2s_ray.checks import check_plugin
from w2s_ray.checks.extractors import extractor_checks
from w2s_ray.checks.losses import loss_checks
from w2s_ray.checks.transforms import transform_checks
from w2s_ray.cli import app
from w2s_ray.methods.extractors import ChoiceLetter, Exact, LastNumber, Regex
from w2s_ray.methods.kinds import kind_of
from w2s_ray.methods.losses import BUILT_IN as LOSSES
from w2s_ray.methods.transforms import BUILT_IN as TRANSFORMS
from w2s_ray.methods.transforms import SLICED


def loss(body: str, *, head: str = "") -> str:
    """A loss whose `each` has this body; `head` are other members of the class."""
    return f"""
@w2s.loss
class Wrong(w2s.Loss):
    kind: Literal["wrong"] = "wrong"
{head}
    def each(self, logits_BC, labels_BC, *, statistic, progress):
        log_p_BC = logits_BC.float().log_softmax(dim=1)
        each_B = -(labels_BC * log_p_BC).sum(dim=1)
        {body}
"""


def transform(body: str) -> str:
    return f"""
CALLS = []
@w2s.transform
class Wrong(w2s.Transform):
    kind: Literal["wrong"] = "wrong"
    def apply(self, rows):
        import numpy as np
        {body}
"""


def extractor(body: str) -> str:
    return f"""
CALLS = []
@w2s.extractor
def wrong(text):
    {body}
"""


def task(row: str) -> str:
    return f"""
import random
@w2s.task
def wrong():
    for i in range(20):
        yield {row}
"""


HALVED = """
    q: float = 0.5
    @field_validator("q")
    @classmethod
    def _halved(cls, q):
        return q / 2
"""
LOST = """
    q: float = 0.5
    def __setstate__(self, state):
        super().__setstate__({**state, "__dict__": {**state["__dict__"], "q": 0.0}})
"""

WRONG: dict[str, tuple[str, str, str]] = {
    "a mean over rows": (loss("return each_B.mean()"), "one value a row", "shape () for 12 rows"),
    "a column": (loss("return each_B[:, None]"), "one value a row", "shape (12, 1)"),
    "a detour": (
        loss("return each_B * logits_BC.data.float().softmax(dim=1)[:, 1]"),
        "gradients",
        "largest difference from finite differences",
    ),
    "numbers of Python": (
        loss("return each_B * float(each_B.max())"),
        "gradients",
        "(at most 1e-05)",
    ),
    "no gradient": (loss("return each_B.detach() + logits_BC.data[:, 0]"), "gradients", "1 (at"),
    "a logarithm of zero": (
        loss("return -(labels_BC * logits_BC.float().softmax(dim=1).log()).sum(dim=1)"),
        "extreme logits",
        "at logits [0, -10000]",
    ),
    "a logarithm of a hard label": (
        loss("return each_B + labels_BC.log().sum(dim=1)"),
        "extreme logits",
        "value -inf",
    ),
    "the spread of a batch": (
        loss("return each_B / each_B.detach().std()"),
        "batches of one",
        "of row 0 alone",
    ),
    "computed in bf16": (
        loss("return -(labels_BC * logits_BC.log_softmax(dim=1)).sum(dim=1)"),
        "bf16 logits",
        "convert logits with .float() first",
    ),
    "rows that influence each other": (
        loss("return each_B * log_p_BC.detach().mean()"),
        "layouts",
        "largest difference from the whole batch",
    ),
    "a statistic of its own": (
        loss(
            "return each_B * (log_p_BC[:, 1] > log_p_BC[:, 1].detach().median())",
        ),
        "layouts",
        "with 1 worker, micro-batches of",
    ),
    "validation that changes a setting": (
        loss("return each_B * self.q", head=HALVED),
        "settings",
        "after it was written and read",
    ),
    "a setting lost in pickling": (
        loss("return each_B * self.q", head=LOST),
        "settings",
        "after pickling",
    ),
    "an error": (loss("return each_B * self.nothing"), "one value a row", "AttributeError"),
    "labels in another order": (
        transform("return rows.relabelled(np.sort(rows.labels_NC, axis=0))"),
        "rows",
        "in another order",
    ),
    "labels that are lost": (
        transform(
            "from dataclasses import replace; return replace(rows, labels_NC=rows.labels_NC[1:])"
        ),
        "rows",
        "199 labels of 200 rows",
    ),
    "the first rows": (
        transform("return rows.keeping(np.arange(len(rows.rows_N)) < 50)"),
        "rows",
        "50 of 200 rows kept; ",
    ),
    "labels that are no distributions": (
        transform("return rows.relabelled(rows.labels_NC * 2)"),
        "distributions",
        "sums differ from 1 by at most 1",
    ),
    "negative probabilities": (
        transform("return rows.relabelled(rows.labels_NC * 3 - 1)"),
        "distributions",
        "least probability -",
    ),
    "other labels at each call": (
        transform(
            "CALLS.append(0); shift = 0.001 * len(CALLS)\n"
            "        return rows.relabelled((rows.labels_NC + shift) / (1 + 2 * shift))"
        ),
        "deterministic",
        "a second time",
    ),
    "labels changed in place": (
        transform("rows.labels_NC[:5] = 0.5; return rows"),
        "input unchanged",
        "5 labels of its input are changed",
    ),
    "an answer that is no text": (extractor("return len(text)"), "answers", "returned 0; return a"),
    "other answers at each call": (
        extractor("CALLS.append(0); return str(len(CALLS))"),
        "deterministic",
        "20 answers differ a second time",
    ),
    "an empty text": (task('{"text": "a" * i, "label": i % 2}'), "rows", "no value in column 'te"),
    "one class": (task('{"text": f"w{i}", "label": 1}'), "rows", "1 distinct label"),
    "a missing column": (
        task('{"text": f"w{i}", "label": i % 2} if i else {"text": "a", "label": 1, "q": 2}'),
        "rows",
        "row 1: q: ",
    ),
    "other rows at each call": (
        task('{"text": f"w{i} {random.random()}", "label": i % 2}'),
        "deterministic",
        "20 rows are others at a second call",
    ),
}


def lines_of(file: Path) -> tuple[int, list[str]]:
    run = CliRunner().invoke(app, ["check", str(file)])
    assert "Traceback" not in run.output
    return run.exit_code, run.stdout.splitlines()


@pytest.mark.parametrize(("text", "check", "figures"), WRONG.values(), ids=WRONG)
def test_a_wrong_plugin_fails_its_check(tmp_path, text, check, figures):
    imports = "from pydantic import field_validator\n"
    code, lines = lines_of(write_plugin(tmp_path / "wrong.py", imports, text))
    assert code == 1, lines
    (failed,) = [
        line for line in lines if line.startswith("failed") and f" wrong: {check}: " in line
    ]
    assert figures in failed


def test_every_check_has_a_plugin_that_fails_it(tmp_path):
    plugin = plugin_of(tmp_path / "right.py", LOSS, TRANSFORM, EXTRACTOR, TASK)
    checks = {(each.subject.partition(" ")[0], each.name) for each in check_plugin(plugin)}
    kinds = {f"@w2s.{kind}": kind for kind in ("loss", "transform", "extractor", "task")}
    failing = {
        (next(kind for mark, kind in kinds.items() if mark in text), check)
        for text, check, _ in WRONG.values()
    }
    shared = {("transform", "settings"), ("extractor", "settings")}
    assert checks - failing == shared, "it is the losses' check"


def test_a_right_plugin_passes_with_a_line_for_each_check(tmp_path):
    code, lines = lines_of(write_plugin(tmp_path / "right.py", LOSS, TRANSFORM, EXTRACTOR, TASK))
    assert code == 0
    assert len(lines) == 7 + 5 + 3 + 2
    assert all(line.startswith("ok  ") for line in lines)


@pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)
def test_the_packages_losses_pass(kind):
    for name, check in loss_checks(kind()).items():
        passed, figures = check()
        assert passed, f"{name}: {figures}"


@pytest.mark.parametrize(
    "kind",
    [kind for kind in TRANSFORMS if not kind.uses_ground_truth and kind_of(kind) not in SLICED],
    ids=lambda kind: kind.__name__,
)
def test_the_packages_transforms_pass(kind):
    for name, check in transform_checks(kind()).items():
        passed, figures = check()
        assert passed, f"{name}: {figures}"


def test_settings_without_a_default_are_bad_input(tmp_path):
    text = loss("return each_B * self.q", head="    q: float")
    run = CliRunner().invoke(app, ["check", str(write_plugin(tmp_path / "p.py", text))])
    assert run.exit_code == 2
    assert "wrong has settings without a default: q; give them defaults" in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize("given", [Exact(), LastNumber(), ChoiceLetter(), Regex(pattern="= (.)")])
def test_the_packages_extractors_pass(given):
    for name, check in extractor_checks(given).items():
        passed, figures = check()
        assert passed, f"{name}: {figures}"
