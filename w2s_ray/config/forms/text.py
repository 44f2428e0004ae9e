"""The form `text`: running text, which has no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from w2s_ray.config.forms.form import ColumnSet, Form
from w2s_ray.errors import InputError

if TYPE_CHECKING:
    from w2s_ray.config.sweep import Sweep


class Text(Form):
    """Running text: a corpus for pretraining, never a task."""

    name = "text"
    columns = (ColumnSet(frozenset({"text"})),)
    columns_in_words = "text alone"
    labels_in_words = "no labels"
    is_language = True
    has_halves = False
    has_weights = False

    def check(self, sweep: Sweep, task: str) -> NoReturn:
        raise InputError(
            f"task {task} is running text, which has no labels for a supervisor or a student; "
            "use it as the `corpus` of a model's `pretrain`"
        )
