"""The form `features`: features of an image, and one of several classes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from w2s_ray.config.forms.form import ColumnSet, Form
from w2s_ray.config.space import OneOf
from w2s_ray.config.stages import GenerativeStage, Stage
from w2s_ray.errors import InputError
from w2s_ray.methods.transforms import Simulated

if TYPE_CHECKING:
    from w2s_ray.config.declared import Method, Model
    from w2s_ray.config.sweep import Sweep


class Features(Form):
    """Features of an image and one of several classes, predicted by a linear probe."""

    name = "features"
    columns = (ColumnSet(frozenset({"category"}), frozenset({"image", "id"})),)
    columns_in_words = "category"
    labels_in_words = "several classes"
    has_several_classes = True
    has_texts = False
    not_estimated = (
        "probes on features are not estimated; they run no language model and cost little"
    )

    def mistake(self, given: Collection[str]) -> str | None:
        if "category" not in given:
            return None
        more = sorted(set(given) - {"category", "image", "id"})
        return (
            f"category without text declares a task of images or features, which has no "
            f"{', '.join(more)}; give text as well for texts of several classes, or remove the "
            "other columns"
        )

    def why_not(self, stage: Stage, task: str) -> str | None:
        if isinstance(stage, GenerativeStage):
            return f"which needs text, but task {task} has none"
        return super().why_not(stage, task)

    def check_method(self, name: str, method: Method, task: str) -> None:
        if "length" in _errors(method):
            raise InputError(
                f"methods.{name}.stages.simulated.errors is length, but task {task} has "
                "no text; choose another kind"
            )

    def check_model(self, sweep: Sweep, model: Model, task: str) -> None:
        workers = sweep.execution_of(model).workers
        if workers > 1:
            raise InputError(
                f"models.{model.label}.execution.workers is {workers}, but task {task} has "
                "features, whose probes run on one device; set engine: torch"
            )


def _errors(method: Method) -> Iterator[str]:
    """Kinds of errors of the method's simulated supervisor, those in its search included."""
    yield from (str(s.errors.kind) for s in method.stages if isinstance(s, Simulated))
    space = method.search.get("stages.simulated.errors")
    if isinstance(space, OneOf):
        yield from (str(kind) for kind in space.kinds())
