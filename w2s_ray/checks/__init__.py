"""Checks of a plugin's losses, transforms, extractors and tasks, for `w2s check`.

Owns what each check computes and its limits. Losses run through the code that trains. It trains no
model and writes nothing.
"""

from w2s_ray.checks.check import Check
from w2s_ray.checks.plugin import check_plugin

__all__ = ["Check", "check_plugin"]
