"""One check: its outcome and its figures.

Owns the conversion of errors in a plugin's code to failed checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from w2s_ray.errors import InputError
from w2s_ray.plugins import Plugin
from w2s_ray.plugins.guard import guarded

Outcome = tuple[bool, str]
"""Whether a check is passed, and its figures in words."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check."""

    subject: str
    """What is checked, such as `loss generalized`."""
    name: str
    passed: bool
    figures: str


def checked(plugin: Plugin, subject: str, name: str, check: Callable[[], Outcome]) -> Check:
    """The outcome of `check`; an error in the plugin's code is a failure."""
    try:
        with guarded(plugin.source.path, code=plugin.source.path):
            passed, figures = check()
    except InputError as error:
        passed, figures = False, str(error)
    return Check(subject, name, passed, figures)
