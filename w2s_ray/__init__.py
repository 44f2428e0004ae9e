"""Weak-to-strong generalization experiments as sweeps on Ray.

Owns the public API: load a sweep, plan it, run it, watch it, read its results; register the losses,
transforms, extractors and tasks of a plugin. Each name is imported at its first use, so that
`import w2s_ray` imports no other library. `__version__` is the version of the installed package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from w2s_ray.config import Sweep, Task, load_sweep
    from w2s_ray.execute.driver import run_sweep
    from w2s_ray.methods.extractors import Extractor
    from w2s_ray.methods.losses import Loss
    from w2s_ray.methods.transforms import Transform
    from w2s_ray.plugins.register import extractor, loss, task, transform
    from w2s_ray.prepare import plan_sweep
    from w2s_ray.report.results import open_results
    from w2s_ray.status.watch import watch

    __version__: str

_MODULES = {
    "Extractor": "w2s_ray.methods.extractors",
    "Loss": "w2s_ray.methods.losses",
    "Sweep": "w2s_ray.config",
    "Task": "w2s_ray.config",
    "Transform": "w2s_ray.methods.transforms",
    "extractor": "w2s_ray.plugins.register",
    "load_sweep": "w2s_ray.config",
    "loss": "w2s_ray.plugins.register",
    "open_results": "w2s_ray.report.results",
    "plan_sweep": "w2s_ray.prepare",
    "run_sweep": "w2s_ray.execute.driver",
    "task": "w2s_ray.plugins.register",
    "transform": "w2s_ray.plugins.register",
    "watch": "w2s_ray.status.watch",
}

__all__ = [
    "Extractor",
    "Loss",
    "Sweep",
    "Task",
    "Transform",
    "__version__",
    "extractor",
    "load_sweep",
    "loss",
    "open_results",
    "plan_sweep",
    "run_sweep",
    "task",
    "transform",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("w2s_ray")
    raise AttributeError(f"module 'w2s_ray' has no attribute {name!r}")
