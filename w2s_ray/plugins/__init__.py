"""Plugins: losses, transforms, extractors and tasks of a user's own file or package.

Owns their registration, the digest of their source, and their loading, here and in the workers. A
plugin is code that the user runs: only a sweep file that is planned or run, `w2s check`, and a run
that was planned with a plugin load one. Reading results loads none.
"""

from w2s_ray.plugins.load import Plugin, active_plugins, loaded, usable, usable_task
from w2s_ray.plugins.register import OwnTask
from w2s_ray.plugins.source import find_source

__all__ = [
    "OwnTask",
    "Plugin",
    "active_plugins",
    "find_source",
    "loaded",
    "usable",
    "usable_task",
]
