from __future__ import annotations

import os
import shutil
import sys
import types

import pytest

from w2s_ray.config import Model
from w2s_ray.data import models
from w2s_ray.data.models import folder_digest, model_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "small"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "x"}')
    (made / "model.safetensors").write_bytes(b"weights")
    (made / "tokenizer.json").write_text("{}")
    (made / "README.md").write_text("words")
    return made


def test_a_local_model_is_its_content(folder, tmp_path):
    source = model_source(Model.model_validate(str(folder)))
    assert source.identity == f"sha256:{folder_digest(folder)}"
    assert len(source.identity) == 71
    assert (source.name, source.location, source.revision) == ("small", str(folder), None)
    assert not source.provisional
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert folder_digest(moved) == folder_digest(folder)


@pytest.mark.parametrize(
    ("name", "content", "counts"),
    [
        ("model.safetensors", b"weightz", True),
        ("config.json", b"{}", True),
        ("tokenizer.json", b"{ }", True),
        ("tokenizer_config.json", b"{}", True),
        ("modeling_x.py", b"pass", True),
        ("README.md", b"other words", False),
        ("training_args.bin", b"pickle", False),
    ],
)
def test_the_files_in_a_models_digest(folder, name, content, counts):
    before = folder_digest(folder)
    (folder / name).write_bytes(content)
    assert (folder_digest(folder) != before) == counts


def test_a_digest_is_cached_until_the_file_changes(folder, monkeypatch):
    before = folder_digest(folder)
    weights = folder / "model.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(models.hashlib, "file_digest", lambda *args: pytest.fail("read again"))
        assert folder_digest(folder) == before
    weights.write_bytes(b"weightz")
    os.utime(weights, ns=(1, 1))
    assert folder_digest(folder) != before


def test_renamed_weights_are_another_model(folder):
    before = folder_digest(folder)
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    assert folder_digest(folder) != before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no model folder at .*nowhere"),
        ("~/no/such/model", "no model folder at /"),
        ("a/b/c", "neither an existing folder nor a hub name"),
        ("two words", "neither an existing folder nor a hub name"),
    ],
)
def test_invalid_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        model_source(Model(name=name))


def test_incomplete_folders_are_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no \*\.safetensors weights; save the model with"):
        folder_digest(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"its pytorch_model.bin are pickles.*save_pretrained",
    ):
        folder_digest(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json"):
        folder_digest(folder)


def test_a_name_that_is_a_folder_here_is_that_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert model_source(Model(name="small")).identity.startswith("sha256:")


def test_an_embedded_model_is_a_folder_of_the_package(folder, monkeypatch):
    ladder = types.ModuleType("w2s_ray.ladder")
    ladder.folder = lambda name: folder.parent / name
    monkeypatch.setitem(sys.modules, "w2s_ray.ladder", ladder)
    source = model_source(Model(name="embedded:small", label="s"))
    assert (source.name, source.location) == ("s", str(folder))


def test_a_hub_model_with_a_commit_needs_no_network():
    source = model_source(Model(name="org/m", revision=COMMIT, trust_remote_code=True))
    assert source.identity == f"hub:org/m@{COMMIT}"
    assert (source.location, source.revision) == ("org/m", COMMIT)
    assert source.trust_remote_code
    assert not source.provisional


@pytest.mark.parametrize("revision", [None, "v2"])
def test_a_hub_model_that_is_cached_needs_no_network(cache, revision):
    refs = cache / "hub" / "models--org--m" / "refs"
    refs.mkdir(parents=True)
    (refs / (revision or "main")).write_text(COMMIT + "\n")
    assert model_source(Model(name="org/m", revision=revision)).identity == f"hub:org/m@{COMMIT}"


@pytest.mark.parametrize(
    ("revision", "shown"), [(None, "main"), ("v2", "v2"), ("0123456", "0123456")]
)
def test_a_hub_model_that_cannot_be_resolved_is_provisional(revision, shown):
    source = model_source(Model(name="gpt2", revision=revision))
    assert source.provisional
    assert source.identity == f"hub:gpt2@unresolved:{shown}"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("RepositoryNotFoundError", "no model 'org/m' on the Hugging Face hub"),
        ("RevisionNotFoundError", "model 'org/m' has no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_have_is_an_error(monkeypatch, error, message):
    library = pytest.importorskip("huggingface_hub")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    kind = getattr(library.errors, error)

    def look_up(self, name, **named):
        raise kind.__new__(kind)

    monkeypatch.setattr(library.HfApi, "model_info", look_up)
    with pytest.raises(ValueError, match=message):
        model_source(Model(name="org/m", revision="v9"))
