"""Rows that these tests make up have no fingerprint; `test_stored_split` tests the check of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from w2s_ray.execute.fits import job
from w2s_ray.store import Store


@pytest.fixture(autouse=True, scope="module")
def any_rows() -> Iterator[None]:
    """Fits take the rows of a split as they are: some tests change the truth under one run id."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "stored_split", Store.split)
        yield
