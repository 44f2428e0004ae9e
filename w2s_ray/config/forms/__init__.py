"""The forms of tasks: for each, its declaration. A new form is one file here and one line below."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from w2s_ray.config.forms.answers import Answers
from w2s_ray.config.forms.categories import Categories
from w2s_ray.config.forms.choices import Choices
from w2s_ray.config.forms.classes import Classes
from w2s_ray.config.forms.features import Features
from w2s_ray.config.forms.form import Form as Form
from w2s_ray.config.forms.pairs import Pairs
from w2s_ray.config.forms.text import Text

FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (Classes(), Categories(), Pairs(), Answers(), Choices(), Text(), Features())
}

if TYPE_CHECKING:
    FormName = str
else:
    FormName = Literal[tuple(FORMS)]
"""The name of a form. The form decides the head and the loss of a model."""
