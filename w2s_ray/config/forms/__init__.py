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
from w2s_ray.config.forms.policies import Policies
from w2s_ray.config.forms.text import Text

FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        *(Classes(), Categories(), Pairs(), Policies(), Answers(), Choices()),
        *(Text(), Features()),
    )
}
TASK_FORMS: Mapping[str, Form] = {name: form for name, form in FORMS.items() if form.columns}
"""The forms that rows of a task can have."""

if TYPE_CHECKING:
    FormName = str
else:
    FormName = Literal[tuple(FORMS)]
"""The name of a form. The form decides the head and the loss of a model."""
