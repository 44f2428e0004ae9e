"""The extractors of answers of the package. One more is a file in this folder and an import here.

The import registers the extractor for tasks and recipes; its `kind` selects it. Extractors of
plugins are registered by `w2s_ray.plugins`.
"""

from typing import TYPE_CHECKING

from w2s_ray.methods.extractors.absent import AbsentExtractor
from w2s_ray.methods.extractors.choice_letter import ChoiceLetter as ChoiceLetter
from w2s_ray.methods.extractors.exact import Exact as Exact
from w2s_ray.methods.extractors.extractor import Extractor as Extractor
from w2s_ray.methods.extractors.last_number import LastNumber as LastNumber
from w2s_ray.methods.extractors.regex import Regex as Regex
from w2s_ray.methods.kinds import open_union

BUILT_IN = (Exact, LastNumber, ChoiceLetter, Regex)
"""The package's extractors; the first is the default."""

if TYPE_CHECKING:
    AnyExtractor = Extractor
else:
    AnyExtractor = open_union(BUILT_IN, base=Extractor, absent=AbsentExtractor)


def is_default(extractor: Extractor) -> bool:
    """Whether the whole completion is the answer."""
    return isinstance(extractor, Exact)
