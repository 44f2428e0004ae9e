"""Weak-to-strong generalization experiments as sweeps on Ray.

Owns the public API: load a sweep, plan it, run it, watch it, read its results. Each name is
imported at its first use, so that `import w2s_ray` imports no other library. `__version__` is the
version of the installed package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from w2s_ray.config import Sweep, Task, load_sweep
    from w2s_ray.execute.driver import run_sweep
    from w2s_ray.prepare import plan_sweep
    from w2s_ray.report.results import open_results
    from w2s_ray.status.watch import watch

    __version__: str

_MODULES = {
    "Sweep": "w2s_ray.config",
    "Task": "w2s_ray.config",
    "load_sweep": "w2s_ray.config",
    "open_results": "w2s_ray.report.results",
    "plan_sweep": "w2s_ray.prepare",
    "run_sweep": "w2s_ray.execute.driver",
    "watch": "w2s_ray.status.watch",
}

__all__ = [
    "Sweep",
    "Task",
    "__version__",
    "load_sweep",
    "open_results",
    "plan_sweep",
    "run_sweep",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("w2s_ray")
    raise AttributeError(f"module 'w2s_ray' has no attribute {name!r}")
