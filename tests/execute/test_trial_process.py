"""The imports of a trial's process, of which the driver's node runs one per concurrent trial."""

from __future__ import annotations

import subprocess
import sys

import ray.cloudpickle as cloudpickle

from tests.execute.test_study import searcher
from w2s_ray.execute.trial import trial_function

HEAVY = ("torch", "transformers", "duckdb", "optuna", "scipy", "sklearn", "datasets", "deepspeed")
OWN = "w2s_ray.execute.run_fit", "w2s_ray.search.curves", "w2s_ray.plan", "w2s_ray.store.store"
"""What a trial's process runs, without Tune's part."""
REPORT = "print(*(name for name in sys.argv[2].split() if name in sys.modules))"


def imported(code: str, argument: str, names: tuple[str, ...]) -> list[str]:
    """Those of `names` that a new process has imported after `code`."""
    command = [sys.executable, "-c", f"import sys; {code}; {REPORT}", argument, " ".join(names)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return ended.stdout.split()


def test_our_part_of_a_trials_process_imports_no_library_for_tables_or_training():
    """Tune's part imports pandas and pyarrow itself, in the first lines of `ray.tune`:
    https://github.com/ray-project/ray/blob/ray-2.60.0/python/ray/tune/__init__.py
    """
    code = "from importlib import import_module; [import_module(m) for m in sys.argv[1].split()]"
    assert imported(code, " ".join(OWN), (*HEAVY, "pandas", "pyarrow", "ray.tune")) == []


def test_a_trial_function_can_be_loaded_without_a_library_for_training(tmp_path):
    state = searcher(tmp_path).state
    file = tmp_path / "trial"
    file.write_bytes(cloudpickle.dumps(trial_function(state.study, state.context)))
    code = "import pickle; pickle.load(open(sys.argv[1], 'rb'))"
    found = imported(code, str(file), (*HEAVY, "w2s_ray.execute.run_fit"))
    assert found == ["w2s_ray.execute.run_fit"]
