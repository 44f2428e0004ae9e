"""The form `pairs`: two texts, one of them the better."""

from w2s_ray.config.forms.form import ColumnSet, Form

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
