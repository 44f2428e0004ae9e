"""The form `classes`: a text of one of two classes."""

from w2s_ray.config.forms.form import ColumnSet, Form


class Classes(Form):
    """A text of one of two classes. Nothing is refused: every stage and loss is made for it."""

    name = "classes"
    columns = (ColumnSet(frozenset({"text", "label"})),)
    columns_in_words = "text and label"
    has_two_classes = True
