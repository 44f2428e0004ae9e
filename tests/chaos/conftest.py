"""What the scenarios share: the counts of a session."""

from __future__ import annotations

from collections import Counter

import pytest


@pytest.fixture(scope="session")
def tally():
    """Counts over all scenarios of a session, printed at its end."""
    counts: Counter[str] = Counter()
    yield counts
    causes = ", ".join(
        f"{k[8:]} {n}" for k, n in sorted(counts.items()) if k.startswith("retried ")
    )
    print(
        f"\nchaos: {counts['scenarios']} scenarios ({counts['unhurt']} where the fault came too "
        f"late, {counts['within']} done within the call), {counts['runs']} calls of w2s run, "
        f"{counts['fits']} fits done, {counts['lost']} lost, {counts['twice']} trained twice, "
        f"{counts['tables']} tables equal; retries: {causes or 'none'}"
    )
