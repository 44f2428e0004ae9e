"""The form `pairs`: two texts, one of them the better."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from w2s_ray.config.forms.form import ColumnSet, Form
from w2s_ray.config.pair_models import Policy

if TYPE_CHECKING:
    from w2s_ray.config.settings import Training

_PROMPT = frozenset({"text"})


class Pairs(Form):
    """Two texts, one of them the better. Both may follow a prompt."""

    name = "pairs"
    columns = (
        ColumnSet(frozenset({"first", "second", "label"}), _PROMPT),
        ColumnSet(frozenset({"first", "second", "preferred"}), _PROMPT),
        ColumnSet(frozenset({"chosen", "rejected"}), _PROMPT),
    )
    columns_in_words = "first, second and label or preferred, or chosen and rejected"
    texts = 2

    def trained_as(self, training: Training) -> str:
        return "policies" if isinstance(training.pair_model, Policy) else self.name

    def mistake(self, given: Collection[str]) -> str | None:
        verdicts = [name for name in ("label", "preferred") if name in given]
        if {"chosen", "rejected"} <= set(given):
            more = sorted(set(given) - {"chosen", "rejected", "text"})
            return (
                "chosen and rejected are a pair whose better text is known; remove "
                f"{', '.join(more)}, or chosen and rejected"
            )
        if not {"first", "second"} <= set(given):
            return None
        if len(verdicts) > 1:
            return "label and preferred both say which text is better; remove one of them"
        if not verdicts:
            return (
                "first and second need label or preferred; if the same side is always better, "
                "write chosen and rejected in place of first and second"
            )
        return None
