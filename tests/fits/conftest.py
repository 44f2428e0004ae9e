"""Rows that these tests make up have no fingerprint; `test_stored_split` tests the check of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from w2s_ray.fits import train_fit
from w2s_ray.store import Store


@pytest.fixture(autouse=True, scope="module")
def any_rows(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fits take the rows of a split as they are: some tests change the truth under one run id."""
    if request.module.__name__.endswith("test_stored_split"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_fit, "stored_split", _unchecked)
        yield


def _unchecked(store: Store, fingerprint: str, *, sealed: bool = False) -> object:
    return store.splits.rows(fingerprint, sealed=sealed)
