"""The forms of tasks as they are declared. A new one is a file beside these, and a line here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from w2s_ray.config.forms.answers import Answers
from w2s_ray.config.forms.classes import Classes
from w2s_ray.config.forms.features import Features
from w2s_ray.config.forms.form import Form as Form
from w2s_ray.config.forms.pairs import Pairs
from w2s_ray.config.forms.text import Text

FORMS: Mapping[str, Form] = {
    form.name: form for form in (Classes(), Pairs(), Answers(), Text(), Features())
}

if TYPE_CHECKING:
    FormName = str
else:
    FormName = Literal[tuple(FORMS)]
"""The name of a form: what a row is, and so which head and loss a model gets."""
