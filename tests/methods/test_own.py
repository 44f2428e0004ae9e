"""The document's method of one's own: exactly its file and its line make a loss that trains."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
USED = """
import sys
from pathlib import Path
import numpy as np, torch
from tests.learn.tiny import Recorder, data_of, make_gpt2, recipe_of, source_of
import w2s_ray
from w2s_ray.learn.loop import fit
from w2s_ray.learn.losses import loss_sum
from w2s_ray.methods.losses import GeneralizedLoss
from w2s_ray.config import Execution, parse_sweep

here = Path(sys.argv[1])
assert Path(w2s_ray.__file__).is_relative_to(here), w2s_ray.__file__
sweep = parse_sweep('''
name: own
task: {name: creak, train: 100, validation: 20, test: 20}
models: [a, b]
methods:
  own: {loss: {kind: generalized, q: 0.5}, search: {loss.q: {uniform: [0.1, 1]}}}
search: {on: [[a, b]]}
''')
assert sweep.methods["own"].loss == GeneralizedLoss(q=0.5)
half, whole = (recipe_of(loss=GeneralizedLoss(q=q)) for q in (0.5, 1.0))
assert half.run_id != whole.run_id
seen = Recorder()
source = source_of(make_gpt2(here / "model"), "m")
fit(half, source=source, data=data_of(), execution=Execution(gpus_per_worker=0), observer=seen)
assert seen.losses[-1] < seen.losses[0]
logits = torch.tensor([[0.3, -0.2], [1.5, 0.1]])
labels = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
print(float(loss_sum(GeneralizedLoss(q=0.5), logits, labels, statistic=None, progress=0.0)))
"""


@pytest.mark.slow
def test_one_file_and_one_line_are_a_method(tmp_path: Path) -> None:
    section = (ROOT / "docs" / "own-method.md").read_text().split("\n## A transform of labels")[0]
    file, line = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(line.strip().splitlines()) == 1
    shutil.copytree(
        ROOT / "w2s_ray", tmp_path / "w2s_ray", ignore=shutil.ignore_patterns("__pycache__")
    )
    losses = tmp_path / "w2s_ray" / "methods" / "losses"
    (losses / "generalized.py").write_text(file)
    known = (losses / "__init__.py").read_text()
    place = known.index("from w2s_ray.methods.losses.kl")
    (losses / "__init__.py").write_text(known[:place] + line + known[place:])
    run = subprocess.run(
        [sys.executable, "-c", USED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "", "HOME": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr
    logits = np.array([[0.3, -0.2], [1.5, 0.1]])
    labels = np.array([[0.2, 0.8], [1.0, 0.0]])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = (labels * (1 - np.sqrt(p)) / 0.5).sum()
    assert abs(float(run.stdout.splitlines()[-1]) - expected) < 1e-5
