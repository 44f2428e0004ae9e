"""Features of images by frozen vision models, which linear probes are trained on.

Owns preparing pixels as a model's own configuration says, and one pass without gradients. Models
come from transformers or timm; `pixels:N` is no model but the means of N x N blocks. Labels
and files of rows are handled elsewhere. Shapes: N images, H and W pixels, D width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from w2s_ray.config import ModelSource
from w2s_ray.errors import InputError
from w2s_ray.learn.loading import load_config, load_weights, reading


@dataclass(frozen=True)
class Preparation:
    """How pixels become a model's input."""

    size: tuple[int, int]
    """Height and width of the input."""
    resize: tuple[int, int] | int | None
    """Size that an image is resized to before its middle is cropped, or its shorter side; null =
    `size` itself."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1 / 255
    """Factor of a pixel's value."""


def pixel_blocks(images: Sequence[np.ndarray], *, blocks: int) -> np.ndarray:
    """Mean brightness of `blocks` x `blocks` parts of each image, 0 to 1: float32 [N, D]."""
    grey = (torch.from_numpy(_three_channels(image)).float().mean(0) for image in images)
    pooled = [F.adaptive_avg_pool2d(image[None], blocks).flatten() for image in grey]
    return (torch.stack(pooled) / 255).numpy()


def features_of(
    images: Sequence[np.ndarray], *, source: ModelSource, on_gpu: bool, batch: int = 32
) -> np.ndarray:
    """The features of images by the model at `source`, float32 [N, D].

    Of a transformer the first token's last state, of a convolutional network the mean over places.

    Raises:
        InputError: a model that can't be used or gives no features.
    """
    location = source.location
    if location.startswith("pixels:"):
        return pixel_blocks(images, blocks=int(location.removeprefix("pixels:")))
    if location.startswith("timm:"):
        model, preparation = _timm(source)
    else:
        model, preparation = _transformers(source)
    device = torch.device("cuda" if on_gpu else "cpu")
    model = model.to(device).eval()
    found: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(images), batch):
            inputs = [prepared(image, preparation) for image in images[start : start + batch]]
            found.append(_pooled(model(torch.stack(inputs).to(device)), source).float().cpu())
    return torch.cat(found).numpy()


def prepared(image: np.ndarray, how: Preparation) -> Tensor:
    """One image as a model's input, float32 [3, H, W]; resized bilinearly with antialiasing."""
    pixels = torch.from_numpy(_three_channels(image)).float()
    target = how.resize if how.resize is not None else how.size
    if isinstance(target, int):
        height, width = pixels.shape[1:]
        shorter = min(height, width)
        target = (round(height * target / shorter), round(width * target / shorter))
    pixels = F.interpolate(pixels[None], size=target, mode="bilinear", antialias=True)[0]
    pixels = _middle(pixels, how.size) * how.scale
    mean, std = (torch.tensor(values)[:, None, None] for values in (how.mean, how.std))
    return (pixels - mean) / std


def _middle(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of an image, padded with black where it is too small."""
    down, right = (max(0, want - have) for want, have in zip(size, pixels.shape[1:], strict=True))
    pixels = F.pad(pixels, (right // 2, right - right // 2, down // 2, down - down // 2))
    top, left = ((have - want) // 2 for want, have in zip(size, pixels.shape[1:], strict=True))
    return pixels[:, top : top + size[0], left : left + size[1]]


def _three_channels(image: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, 3] as [3, H, W]."""
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"an image has shape {image.shape}; give [height, width] or [.., .., 3]")
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _transformers(source: ModelSource) -> tuple[Any, Preparation]:
    from transformers import AutoModel

    config = load_config(source)
    model = load_weights(AutoModel, source, config)
    if getattr(model, "main_input_name", None) != "pixel_values":
        raise InputError(
            f"{source.location} ({config.model_type}) reads no images; name a vision model"
        )
    with reading(source):
        return model, _own_preparation(source, config)


def _own_preparation(source: ModelSource, config: Any) -> Preparation:
    """The preparation in the model's preprocessor_config.json; mean and std 0.5 without one."""
    from transformers.utils.hub import cached_file

    file = cached_file(
        source.location,
        "preprocessor_config.json",
        revision=source.revision,
        _raise_exceptions_for_missing_entries=False,
    )
    if file is None:
        size = _pair(getattr(config, "image_size", None) or 224)
        return Preparation(size, None, (0.5,) * 3, (0.5,) * 3)
    with open(file, encoding="utf-8") as opened:
        settings = json.load(opened)
    resize = settings.get("size", getattr(config, "image_size", None) or 224)
    if isinstance(resize, dict):
        resize = resize.get("shortest_edge") or _pair(resize)
    elif isinstance(resize, int) and not settings.get("do_center_crop", False):
        resize = _pair(resize)
    crop = settings.get("crop_size", resize) if settings.get("do_center_crop", False) else resize
    plain = settings.get("do_normalize", True) is False
    return Preparation(
        size=_pair(crop),
        resize=resize if settings.get("do_resize", True) else _pair(crop),
        mean=(0.0,) * 3 if plain else tuple(settings.get("image_mean", (0.5,) * 3)),
        std=(1.0,) * 3 if plain else tuple(settings.get("image_std", (0.5,) * 3)),
        scale=settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0,
    )


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        return (edge, edge) if edge else (size["height"], size["width"])
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _timm(source: ModelSource) -> tuple[Any, Preparation]:
    try:
        timm = import_module("timm")
    except ImportError:
        raise InputError(
            f"model {source.location} needs timm, which is not installed; "
            "pip install 'w2s_ray[vision]'"
        ) from None
    at = f"@{source.revision}" if source.revision else ""
    name = f"hf-hub:timm/{source.location.removeprefix('timm:')}{at}"
    model = timm.create_model(name, pretrained=True, num_classes=0)
    settings = timm.data.resolve_model_data_config(model)
    height, width = settings["input_size"][1:]
    resize = round(min(height, width) / settings.get("crop_pct", 1.0))
    return model, Preparation(
        (height, width), resize, tuple(settings["mean"]), tuple(settings["std"])
    )


def _pooled(output: Any, source: ModelSource) -> Tensor:
    """One vector for each image from a model's output: [N, D]."""
    states = getattr(output, "last_hidden_state", output)
    if not isinstance(states, Tensor):
        raise InputError(f"{source.location} gives no hidden state; name a vision backbone")
    if states.ndim == 4:
        return states.mean(dim=(2, 3))
    return states[:, 0] if states.ndim == 3 else states
