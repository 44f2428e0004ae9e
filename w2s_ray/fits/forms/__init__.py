"""The forms of tasks in fits. A new one is a file beside these, and a line here."""

from collections.abc import Mapping

from w2s_ray.config import FitRecipe, FormName
from w2s_ray.fits.forms.answers import Answers
from w2s_ray.fits.forms.categories import Categories
from w2s_ray.fits.forms.choices import Choices
from w2s_ray.fits.forms.classes import Classes
from w2s_ray.fits.forms.features import Features
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.forms.pairs import Pairs
from w2s_ray.fits.forms.policies import Policies
from w2s_ray.fits.forms.prompts import Prompts
from w2s_ray.fits.forms.text import Text

FIT_FORMS: Mapping[FormName, FitForm] = {
    "classes": Classes(),
    "categories": Categories(),
    "pairs": Pairs(),
    "policies": Policies(),
    "answers": Answers(),
    "choices": Choices(),
    "text": Text(),
    "features": Features(),
}


def form_of(recipe: FitRecipe) -> FitForm:
    """The form of a fit; a model that is prompted has one of its own."""
    return FIT_FORMS[recipe.trained_form] if recipe.prompt is None else Prompts()
