"""The form `categories`: a text of one of several classes."""

from __future__ import annotations

from collections.abc import Collection

from w2s_ray.config.forms.classes import Classes
from w2s_ray.config.forms.form import ColumnSet
from w2s_ray.config.stages import Stage
from w2s_ray.methods.transforms import OnePerGroup


class Categories(Classes):
    """A text of one of two or more classes, as many as the data has.

    A label is a distribution over all classes. Losses and stages that are defined for two classes
    alone are refused.
    """

    name = "categories"
    columns = (ColumnSet(frozenset({"text", "category"})),)
    columns_in_words = "text and category"
    labels_in_words = "several classes"
    has_several_classes = True

    def mistake(self, given: Collection[str]) -> str | None:
        if not {"text", "category"} <= set(given):
            return None
        more = sorted(set(given) - {"text", "category"})
        return (
            "text and category declare texts of one of several classes, which have no "
            f"{', '.join(more)}; remove {', '.join(more)}, or category"
        )

    def why_not(self, stage: Stage, task: str) -> str | None:
        if isinstance(stage, OnePerGroup):
            return f"which labels rows as right or wrong, but task {task} has several classes"
        return super().why_not(stage, task)
