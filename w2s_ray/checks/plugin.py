"""All checks of a plugin."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from w2s_ray.checks.check import Check, checked
from w2s_ray.checks.extractors import extractor_checks
from w2s_ray.checks.losses import ONE_VALUE, loss_checks
from w2s_ray.checks.tasks import task_checks
from w2s_ray.checks.transforms import transform_checks
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.extractors import Extractor
from w2s_ray.methods.kinds import kind_of
from w2s_ray.methods.losses import Loss
from w2s_ray.methods.transforms import Transform
from w2s_ray.plugins import Plugin


def check_plugin(plugin: Plugin) -> Iterator[Check]:
    """The checks of everything that the plugin has, with the default settings.

    Raises:
        InputError: a loss or transform has a setting without a default.
    """
    kinds = [_with_defaults(kind) for kind in plugin.kinds]
    for kind in kinds:
        if isinstance(kind, Loss):
            subject, checks = f"loss {kind_of(type(kind))}", loss_checks(kind)
        elif isinstance(kind, Extractor):
            subject, checks = f"extractor {kind_of(type(kind))}", extractor_checks(kind)
        else:
            assert isinstance(kind, Transform)
            subject, checks = f"transform {kind_of(type(kind))}", transform_checks(kind)
        for name, check in checks.items():
            found = checked(plugin, subject, name, check)
            yield found
            if name == ONE_VALUE and not found.passed:
                break  # the others assume it
    for task in plugin.tasks:
        for name, check in task_checks(task).items():
            yield checked(plugin, f"task {task.name}", name, check)


def _with_defaults(kind: type[Frozen]) -> Frozen:
    try:
        return kind.model_validate({})
    except ValidationError as error:
        missing = ", ".join(
            str(detail["loc"][0]) for detail in error.errors() if detail["type"] == "missing"
        )
        if not missing:
            raise
        raise InputError(
            f"{kind_of(kind)} has settings without a default: {missing}; give them defaults, which "
            "are checked"
        ) from None
