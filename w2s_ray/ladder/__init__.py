"""The embedded ladder: tiny pretrained language models of growing size that ship with the package.

Owns their names and where they lie. `pretrain.py` made them; `data/embedded.py` makes the texts
that they read. Knows nothing of tasks, and importing it loads no library.
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
        raise InputError(f"no embedded model {name!r}; the ladder has {', '.join(MODELS)}")
    return Path(__file__).parent / "models" / name
