"""The `w2s` command: options, output and exit codes."""

import atexit
import gc
import os

# Pydantic searches every installed package for plugins, which takes 5 % of the time of `w2s query`.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# Python collects garbage after every 700 new objects, and imports create a hundred thousand. At
# exit it traverses all live objects once more. Together these take 20 % of the same time.
gc.set_threshold(20_000)
atexit.register(gc.freeze)

from w2s_ray.cli.app import app  # noqa: E402

__all__ = ["app"]
