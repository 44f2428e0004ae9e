"""The check that the packages of a sweep's trackers are installed, before anything is started.

Owns the names of the packages. It imports none of them.
"""

from __future__ import annotations

from importlib.util import find_spec

from w2s_ray.config import Trackers
from w2s_ray.errors import InputError

PACKAGES = {
    "tensorboard": ("tensorboardX", "ray[tune]"),
    "mlflow": ("mlflow", "w2s_ray[mlflow]"),
    "wandb": ("wandb", "w2s_ray[wandb]"),
}
"""Tracker -> the module that it needs, and the package to install for it."""


def check_trackers(trackers: Trackers) -> None:
    """Reject a tracker whose package is missing.

    Raises:
        InputError: it names the tracker and the package to install.
    """
    for name in trackers.chosen:
        module, install = PACKAGES[name]
        if find_spec(module) is None:
            raise InputError(
                f"trackers: {name} needs the package {module}, which is missing: "
                f'pip install "{install}", or leave {name} out'
            )
