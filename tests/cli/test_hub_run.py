"""A sweep on hub models as a user runs it: downloaded by its fits, and again without a network."""

from __future__ import annotations

import pytest

from tests.hub_server import Repository, hub_server
from tests.support import make_model, sweep_text, w2s


@pytest.mark.ray
def test_hub_models_are_downloaded_once_and_run_again_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    text = sweep_text(tmp_path, extra="").replace("seeds: [0, 1]", "seeds: [0]")
    with hub_server() as server:
        for i, name in enumerate(("a", "b", "c")):
            folder = make_model(tmp_path / "hub_models" / name, width=8 * (i + 1), seed=i)
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            server.models[f"org/{name}"] = Repository.of(files)
            text = text.replace(f"{tmp_path}/{name}", f"org/{name}")
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        sweep = tmp_path / "sweep.yaml"
        sweep.write_text(text)
        first = w2s("run", sweep)
        assert first.returncode == 0, first.stdout + first.stderr
        assert sum("/blob/" in request for request in server.requests) >= 3
        server.disappear()
        again = w2s("run", sweep, "--store", tmp_path / "other")
        assert again.returncode == 0, again.stdout + again.stderr
    tables = [w2s("table", sweep, "--store", tmp_path / s) for s in ("results", "other")]
    assert tables[0].stdout == tables[1].stdout
    assert "naive" in tables[0].stdout
