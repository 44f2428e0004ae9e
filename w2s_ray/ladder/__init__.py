"""The embedded ladder: tiny pretrained language models of several sizes in the package.

Owns their names and folders, and the files with descriptions of models: of these and of the open
models of `config/ladders`. `pretrain.py` made the embedded ones from the texts of
`data/embedded.py`. It imports no library.
"""

from pathlib import Path

from w2s_ray.errors import InputError

MODELS: tuple[str, ...] = ("xs", "s", "m", "l")
"""Weakest first."""
DESCRIPTIONS = Path(__file__).parent / "descriptions.json"
"""Digest of a configuration -> what `learn/describe` makes of it."""
OPEN_MODELS = Path(__file__).parent / "open_models.json"
"""Hub name of an open model -> the settings of its config.json that decide sizes, their source, and
their description without names of tensors. `scripts/open_models.py` writes the descriptions."""


def folder(name: str) -> Path:
    """The Hugging Face folder of the model `name`."""
    if name not in MODELS:
        raise InputError(f"no embedded model {name!r}; choose from {', '.join(MODELS)}")
    return Path(__file__).parent / "models" / name
