"""The form `pairs`: two texts, one of them the better."""

from w2s_ray.config.forms.form import ColumnSet, Form
from w2s_ray.config.stages import PromptStage, Stage

_PROMPT = frozenset({"text"})


class Pairs(Form):
    """Two texts, one of them the better."""

    name = "pairs"
    columns = (
        ColumnSet(frozenset({"first", "second", "label"}), _PROMPT),
        ColumnSet(frozenset({"first", "second", "preferred"}), _PROMPT),
        ColumnSet(frozenset({"chosen", "rejected"}), _PROMPT),
    )
    columns_in_words = "first, second and label or preferred, or chosen and rejected"
    has_two_classes = True
    texts = 2

    def why_not(self, stage: Stage, task: str) -> str | None:
        if isinstance(stage, PromptStage):
            return f"which asks for one of two classes, and task {task} has pairs"
        return None
