"""The form `classes`: a text of one of two classes."""

from w2s_ray.config.forms.form import ColumnSet, Form
from w2s_ray.config.stages import Prompt, Stage


class Classes(Form):
    """A text of one of two classes. Every loss and every stage for labels can be used."""

    name = "classes"
    columns = (ColumnSet(frozenset({"text", "label"})),)
    columns_in_words = "text and label"

    def why_not(self, stage: Stage, task: str) -> str | None:
        return None if isinstance(stage, Prompt) else super().why_not(stage, task)
