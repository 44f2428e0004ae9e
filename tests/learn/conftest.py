"""Fixtures: tiny pretrained models, made once for a test session."""

from __future__ import annotations

import pytest

from tests.learn.tiny import make_bert, make_gpt2, source_of
from w2s_ray.config import ModelSource


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return source_of(make_gpt2(tmp_path_factory.mktemp("gpt2")), "gpt2")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return source_of(make_bert(tmp_path_factory.mktemp("bert")), "bert")
