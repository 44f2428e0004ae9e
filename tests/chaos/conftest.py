"""What the scenarios share: an undisturbed sweep to compare with, and the counts of a session."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.test_chaos import write_sweep
from tests.support import w2s


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """A finished sweep in a folder of its own."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep = write_sweep(folder, execution="{}")
    run = w2s("run", sweep)
    assert run.returncode == 0, run.stdout + run.stderr
    return sweep


@pytest.fixture(scope="session")
def tally():
    """Counts over all scenarios of a session, printed at its end."""
    counts: Counter[str] = Counter()
    yield counts
    causes = ", ".join(
        f"{k[8:]} {n}" for k, n in sorted(counts.items()) if k.startswith("retried ")
    )
    print(
        f"\nchaos: {counts['scenarios']} scenarios, {counts['runs']} calls of w2s run, "
        f"{counts['fits']} fits done, {counts['lost']} lost, {counts['twice']} trained twice, "
        f"{counts['tables']} tables equal; retries: {causes or 'none'}"
    )
