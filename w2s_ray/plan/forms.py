"""What a task's form rules out: stages, losses, tuning, a search's metric, corpora as tasks.

Owns where these checks are made: before any row is read, when the declarations say each task's
form. The checks themselves stand with their forms, in `config/forms`.
"""

from __future__ import annotations

from collections.abc import Mapping

from w2s_ray.config import FORMS, FormName, Sweep
from w2s_ray.config.forms.form import check_tuning


def check_forms(sweep: Sweep, forms: Mapping[str, FormName]) -> None:
    """Refuse what a task's rows can't be used for; `forms` has the form of each task.

    Raises:
        InputError: names the task, the method or the model, and the remedy.
    """
    for model in sweep.models:
        if model.pretrain is not None:
            where = f"models.{model.label}.pretrain.training"
            check_tuning(model.pretrain.training.tuning.kind, where, has="running text")
    for task in sweep.tasks:
        FORMS[forms[task.name]].check(sweep, task.name)
