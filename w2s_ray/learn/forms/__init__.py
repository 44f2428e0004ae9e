"""The forms of tasks in training. A new one is a file beside these, and a line here.

Owns the table of the models that the engines train, by the form's name. What trains without an
engine, the probe of `features`, is not in it.
"""

from collections.abc import Mapping

from w2s_ray.config import FormName
from w2s_ray.learn.forms.categories import SeveralClasses
from w2s_ray.learn.forms.classes import TwoClass
from w2s_ray.learn.forms.language import LanguageModel
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.forms.pairs import Pairwise

MODELS: Mapping[FormName, type[FormModel]] = {
    "classes": TwoClass,
    "categories": SeveralClasses,
    "pairs": Pairwise,
    "answers": LanguageModel,
    "choices": LanguageModel,
    "policies": LanguageModel,
    "text": LanguageModel,
}
