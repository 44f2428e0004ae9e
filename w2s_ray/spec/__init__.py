"""What a user declares: the sweep file, and the recipes that it is made into.

Owns frozen pydantic models and their errors. It reads nothing but the sweep file itself.
"""

from w2s_ray.spec.execution import Execution
from w2s_ray.spec.load import SweepError, load_sweep, parse_sweep
from w2s_ray.spec.recipe import PARTS, FitRecipe, ModelSource, Part, StudyRecipe
from w2s_ray.spec.settings import (
    ConfidenceLoss,
    ConfidenceReferenceLoss,
    EarlyStopping,
    FitSettings,
    FullTuning,
    LoraTuning,
    Loss,
    ProductLoss,
    Training,
    XentLoss,
)
from w2s_ray.spec.space import Distribution
from w2s_ray.spec.sweep import Columns, Method, Model, Pair, Search, Sweep, Task

__all__ = [
    "PARTS",
    "Columns",
    "ConfidenceLoss",
    "ConfidenceReferenceLoss",
    "Distribution",
    "EarlyStopping",
    "Execution",
    "FitRecipe",
    "FitSettings",
    "FullTuning",
    "LoraTuning",
    "Loss",
    "Method",
    "Model",
    "ModelSource",
    "Pair",
    "Part",
    "ProductLoss",
    "Search",
    "StudyRecipe",
    "Sweep",
    "SweepError",
    "Task",
    "Training",
    "XentLoss",
    "load_sweep",
    "parse_sweep",
]
