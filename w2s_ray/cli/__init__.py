"""The `w2s` command: what the terminal takes and shows. Every room is called from here, none is."""

import atexit
import gc
import os

# Pydantic looks through every installed package for plugins: a twentieth of what `w2s query` takes.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# Python looks for cycles after every 700 new objects, and imports make a hundred thousand. Before
# it ends, it looks through all that is alive once more. Both are a fifth of the same.
gc.set_threshold(20_000)
atexit.register(gc.freeze)

from w2s_ray.cli.commands import app  # noqa: E402

__all__ = ["app"]
