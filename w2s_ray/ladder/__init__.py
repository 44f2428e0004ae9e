"""The embedded ladder: tiny pretrained language models of several sizes in the package.

Owns their names and folders. `pretrain.py` made them from the texts of `data/embedded.py`. It
imports no library.
"""

from pathlib import Path

from w2s_ray.errors import InputError

MODELS: tuple[str, ...] = ("xs", "s", "m", "l")
"""Weakest first."""
DESCRIPTIONS = Path(__file__).parent / "descriptions.json"
"""Digest of a configuration -> what `learn/describe` makes of it."""


def folder(name: str) -> Path:
    """The Hugging Face folder of the model `name`."""
    if name not in MODELS:
        raise InputError(f"no embedded model {name!r}; choose from {', '.join(MODELS)}")
    return Path(__file__).parent / "models" / name
