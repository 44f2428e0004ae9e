"""Checks that a sweep's settings are possible for the forms of its tasks.

Owns the call of these checks at planning time, before any row is read. The checks themselves, of
stages, losses, tuning, the search metric and corpora, are methods of the forms in `config/forms`.
"""

from __future__ import annotations

from collections.abc import Mapping

from w2s_ray.config import FORMS, FormName, Sweep
from w2s_ray.config.forms.form import check_tuning


def check_forms(sweep: Sweep, forms: Mapping[str, FormName]) -> None:
    """Refuse settings that are impossible for a task's form; `forms` maps task names to forms.

    Raises:
        InputError: names the task, the method or the model, and the remedy.
    """
    for model in sweep.models:
        if model.pretrain is not None:
            where = f"models.{model.label}.pretrain.training"
            check_tuning(model.pretrain.training.tuning.kind, where, rows="running text")
    for task in sweep.tasks:
        FORMS[forms[task.name]].check(sweep, task.name)
