"""Features of images: block means, a tiny vision transformer, and timm by its interface."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.support import make_model
from w2s_ray.config import ModelSource
from w2s_ray.learn.vision import Preparation, features_of, pixel_blocks, prepared

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(5)]


def source(location: Path | str) -> ModelSource:
    return ModelSource(name="m", location=str(location), identity="sha256:x")


def make_vit(folder: Path, **preprocessing) -> Path:
    """A ViT with random weights, of 16 x 16 pixels."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    if preprocessing:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def test_blocks_are_means_of_the_pixels():
    image = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
    (found,) = pixel_blocks([image], blocks=2)
    expected = image.reshape(2, 4, 2, 4).mean((1, 3)).ravel() / 255
    assert np.allclose(found, expected, atol=1e-6)
    assert np.allclose(pixel_blocks([image], blocks=8)[0], image.ravel() / 255)
    again = features_of([image], source=source("pixels:2"), on_gpu=False)
    assert (again[0] == found).all()


def test_pixels_are_prepared_by_the_models_settings(tmp_path):
    folder = make_vit(
        tmp_path / "vit", size={"height": 16, "width": 16}, image_mean=[0.1, 0.2, 0.3]
    )
    features = features_of(IMAGES, source=source(folder), on_gpu=False, batch=2)
    assert features.shape == (5, 16)
    from transformers import ViTModel

    model = ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
    pixels = np.stack(IMAGES).transpose(0, 3, 1, 2) / 255
    pixels = (pixels - np.array([0.1, 0.2, 0.3])[:, None, None]) / 0.5
    with torch.no_grad():
        states = model(torch.tensor(pixels, dtype=torch.float32)).last_hidden_state
    assert np.allclose(features, states[:, 0].numpy(), atol=1e-5)


def test_an_image_is_resized_and_its_middle_taken():
    image = np.zeros((10, 20, 3), dtype=np.uint8)
    image[:, 8:12] = 255
    how = Preparation((4, 4), 10, (0.0,) * 3, (1.0,) * 3)
    assert torch.equal(prepared(image, how), torch.ones(3, 4, 4))
    whole = prepared(image, Preparation((4, 4), None, (0.0,) * 3, (1.0,) * 3))
    assert whole.shape == (3, 4, 4)
    assert float(whole.mean()) == pytest.approx(0.2, abs=0.02)


def test_a_language_model_reads_no_images(tmp_path):
    folder = make_model(tmp_path / "gpt")
    with pytest.raises(ValueError, match="reads no images; name a vision model"):
        features_of(IMAGES, source=source(folder), on_gpu=False)


def test_timm_models_are_created_without_a_head(monkeypatch):
    created = {}

    class Mean(torch.nn.Module):
        def forward(self, pixels):
            return pixels.mean(dim=(2, 3))

    def create_model(name, **options):
        created.update(name=name, **options)
        return Mean()

    data_config = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop_pct": 0.5}
    data = SimpleNamespace(resolve_model_data_config=lambda model: data_config)
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model, data=data))
    model = source("timm:resnet50.a1").model_copy(update={"revision": "abc"})
    features = features_of(IMAGES, source=model, on_gpu=False)
    assert created == {"name": "hf-hub:timm/resnet50.a1@abc", "pretrained": True, "num_classes": 0}
    middle = np.stack(IMAGES)[:, 4:12, 4:12].mean((1, 2)) / 255
    assert np.allclose(features, (middle - 0.5) / 0.25, atol=1e-4)


def test_a_missing_timm_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"pip install 'w2s_ray\[vision\]'"):
        features_of(IMAGES, source=source("timm:resnet50"), on_gpu=False)
